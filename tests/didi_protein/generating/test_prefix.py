"""`generate --prefix`: ids of each run's own, and what other verbs say of ids that files share."""

import json
from pathlib import Path

import pandas as pd
import pytest
from generate_fixtures import design, designs, sequences

from didi_core.errors import UserError
from didi_protein.filter import FilterOptions, filter_designs
from didi_protein.merge import MergeOptions, merge
from didi_protein.order import OrderOptions, order
from didi_protein.report import write_report
from didi_protein.score import ScoreOptions, score
from didi_protein.sequences.design_ids import check_prefix, shared_ids
from didi_protein.sequences.fasta import read_records


@pytest.fixture(scope="module")
def runs(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """FASTA of two runs that number their designs alike, and their tables."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        made = design(model, folder / f"run{seed}.fasta", num=5, seed=seed)
        table(made.fasta)
    return [folder / "run1.fasta", folder / "run2.fasta"]


def table(*inputs: Path, out: Path | None = None) -> Path:
    """Score files, by their properties alone."""
    out = out or inputs[0].with_suffix(".csv")
    options = ScoreOptions(
        inputs=list(map(str, inputs)), out=out, judge="none", pseudo="none", quiet=True
    )
    score(options)
    return out


def test_ids_begin_with_the_prefix_and_nothing_else_changes(model: Path, tmp_path: Path) -> None:
    plain = design(model, tmp_path / "plain.fasta")
    named = design(model, tmp_path / "named.fasta", prefix="round-2.b")
    assert [each.id for each in designs(named)] == [f"round-2.b_{n:06d}" for n in range(1, 13)]
    assert sequences(named) == sequences(plain)
    text = plain.fasta.read_text().replace(">design_", ">round-2.b_")
    assert named.fasta.read_text() == text
    settings = [json.loads(each.summary.read_text())["settings"] for each in (plain, named)]
    assert settings[1] == {**settings[0], "prefix": "round-2.b"}


def test_a_run_is_continued_with_its_own_prefix_alone(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.fasta"
    design(model, out, prefix="kin")
    before = out.read_bytes()
    design(model, out, prefix="kin", resume=True)
    assert out.read_bytes() == before
    for other in ({"prefix": "pdz"}, {}):
        with pytest.raises(UserError, match="prefix was kin"):
            design(model, out, resume=True, **other)


def test_shards_keep_the_prefix(model: Path, tmp_path: Path) -> None:
    parts = [tmp_path / f"part.{n}.fasta" for n in (1, 2)]
    for number, part in enumerate(parts, start=1):
        design(model, part, prefix="kin", shard=f"{number}/2")
    whole = design(model, tmp_path / "whole.fasta", prefix="kin")
    merge(MergeOptions(shards=parts, out=tmp_path / "merged.fasta"))
    assert (tmp_path / "merged.fasta").read_bytes() == whole.fasta.read_bytes()


@pytest.mark.parametrize(
    ("prefix", "parent", "first"),
    [
        ("design", "design_000041", "design_000042"),
        ("round2", "design_000041", "round2_000001"),
        ("round2", "round2_000041", "round2_000042"),
        ("a.b", "aXb_000041", "a.b_000001"),
        ("design", "round2_000041", "design_000001"),
    ],
)
def test_numbers_go_on_after_parents_of_the_same_prefix(
    model: Path, tmp_path: Path, prefix: str, parent: str, first: str
) -> None:
    (tmp_path / "parents.fasta").write_text(f">{parent}\nMKTAYIAKQRQISFVK\n")
    start = {"start": tmp_path / "parents.fasta", "mutate": "20%", "length": None}
    made = design(model, tmp_path / "d.fasta", num=2, prefix=prefix, **start)
    assert designs(made)[0].id == first


@pytest.mark.parametrize(
    "prefix", ["", "a b", "a/b", ">a", "a=b", "-a", ".a", "a#2", "a\n", "é", "x" * 41]
)
def test_a_prefix_that_cannot_be_one_is_refused_with_its_flag(prefix: str) -> None:
    with pytest.raises(UserError, match="--prefix"):
        check_prefix(prefix)


def test_a_bad_prefix_is_refused_before_the_model_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--prefix 'a/b'"):
        design(Path("no-such-model"), tmp_path / "d.fasta", prefix="a/b")


def test_shared_ids_are_those_of_different_files() -> None:
    assert shared_ids([("a", ["x", "x"]), ("b", ["y"])]) is None
    found = shared_ids([("a", ["x", "y"]), ("b", ["z", "y"]), ("c", ["x"])])
    assert found is not None
    assert (found.first, found.second, found.ids) == ("a", "b", ("y", "x"))


# What other verbs say of files that share ids: which, and what mends it.

NAMED = ("run1", "run2", "design_000001", "generate --prefix")


def test_score_says_which_ids_files_share(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = table(*runs, out=tmp_path / "s.csv")
    said = capsys.readouterr().err
    assert all(each in said for each in (*NAMED, "and 2 more"))
    ids = pd.read_csv(out)["id"].tolist()
    assert ids[4:6] == ["design_000005", "design_000001#2"]


def test_report_says_which_ids_tables_share(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = [each.with_suffix(".csv") for each in runs]
    write_report(tables, tmp_path / "named.html")
    said = capsys.readouterr().err
    assert all(each in said for each in NAMED)
    write_report([runs[0].parent], tmp_path / "folder.html")
    assert "--prefix" not in capsys.readouterr().err


def test_order_names_both_flags(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        order(OrderOptions(inputs=list(map(str, runs)), out=tmp_path / "o.csv"))
    assert all(each in str(error.value) for each in (*NAMED, "--prefix-files"))


@pytest.mark.parametrize("suffix", [".fasta", ".csv"])
def test_merge_of_several_runs_names_the_ids(runs: list[Path], tmp_path: Path, suffix: str) -> None:
    files = [each.with_suffix(suffix) for each in runs]
    with pytest.raises(UserError) as error:
        merge(MergeOptions(shards=files, out=tmp_path / f"m{suffix}"))
    assert all(each in str(error.value) for each in (*NAMED, "--shard"))


def test_merge_of_shards_of_two_requests_names_the_ids(model: Path, tmp_path: Path) -> None:
    parts = [tmp_path / "part.1.fasta", tmp_path / "part.2.fasta"]
    design(model, parts[0], shard="1/2", seed=1)
    design(model, parts[1], shard="2/2", seed=1, prefix="kin")
    with pytest.raises(UserError, match="differ in prefix"):
        merge(MergeOptions(shards=parts, out=tmp_path / "m.fasta"))


def test_filter_of_tables_put_together_names_the_ids(runs: list[Path], tmp_path: Path) -> None:
    tables = [pd.read_csv(each.with_suffix(".csv"), dtype=str) for each in runs]
    pd.concat(tables).to_csv(tmp_path / "both.csv", index=False)
    with pytest.raises(UserError) as error:
        filter_designs(FilterOptions(table=tmp_path / "both.csv", out=tmp_path / "f.fasta"))
    assert all(each in str(error.value) for each in ("both.csv", "design_000001", "--prefix"))


def test_files_of_runs_with_prefixes_go_together(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [
        design(model, tmp_path / f"{name}.fasta", num=2, seed=number, prefix=name).fasta
        for number, name in enumerate(("kin", "pdz"))
    ]
    scored = pd.read_csv(table(*made))
    assert scored["id"].tolist() == ["kin_000001", "kin_000002", "pdz_000001", "pdz_000002"]
    assert "share ids" not in capsys.readouterr().err
    assert len(read_records(made)) == 4
