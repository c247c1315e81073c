"""`--start`: what changes and what never does, identities, and what is refused."""

import json
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from doc_commands import ROOT, commands_of, files_of
from generate_fixtures import LIMIT, design, designs, sequences

from didi_core.cli.run import run_program
from didi_core.errors import UserError
from didi_core.sampling.registry import SAMPLERS
from didi_protein.app import app
from didi_protein.generate import GenerateOptions, generate
from didi_protein.generating.options import GenerateResult
from didi_protein.generating.redesign import IdentityRange, nearest
from didi_protein.generating.redesign_request import read_redesign
from didi_protein.merge import MergeOptions, merge
from didi_protein.score import ScoreOptions, score
from didi_protein.sequences.fasta import read_records
from didi_protein.sequences.positions import parse_positions

PARENTS = {
    "one": "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQA",
    "two": "GGCCWWYYHHKKLLMMNNPPQQRRSSTTVVAADDEEFFII",
    "three": "ACDEFGHIKLMNPQRSTVWYC",
}
MASKED = [
    "ancestral", "apart", "momentum", "first-hitting", "dplm", "remdm", "saber", "greedy-tail",
]  # fmt: skip


@pytest.fixture
def parents(tmp_path: Path) -> Path:
    path = tmp_path / "parents.fasta"
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in PARENTS.items()))
    return path


def redesign(model: Path, out: Path, parents: Path, **changes: Any) -> GenerateResult:
    defaults = {"length": None, "num": 6, "start": parents, "batch_tokens": 512}
    return design(model, out, **{**defaults, **changes})


def changed(parent: str, sequence: str) -> set[int]:
    """The positions, from 0, at which a design differs from its parent."""
    assert len(parent) == len(sequence)
    return {i for i, pair in enumerate(zip(parent, sequence, strict=True)) if pair[0] != pair[1]}


def changes_of(result: GenerateResult) -> list[tuple[str, set[int]]]:
    """Of each design its parent's name and where it differs; what headers say is checked."""
    found = []
    for record in designs(result):
        parent = PARENTS[record.header["parent"]]
        places = changed(parent, record.sequence)
        stated = float(record.header["parent_identity"])
        assert stated == pytest.approx(1 - len(places) / len(parent), abs=1e-4)
        found.append((record.header["parent"], places))
    return found


@pytest.mark.parametrize("sampler", MASKED)
def test_vary_never_touches_another_position(
    model: Path, tmp_path: Path, parents: Path, sampler: str
) -> None:
    result = redesign(
        model, tmp_path / "d.fasta", parents, sampler=sampler, vary="2,5-9,20", num=12
    )
    found = changes_of(result)
    assert [name for name, _ in found] == [name for name in PARENTS for _ in range(12)]
    assert all(places <= {1, 4, 5, 6, 7, 8, 19} for _, places in found)
    assert set().union(*(places for _, places in found)) == {1, 4, 5, 6, 7, 8, 19}


@pytest.mark.parametrize("sampler", MASKED)
def test_mutate_changes_exactly_the_share_and_nothing_kept(
    model: Path, tmp_path: Path, parents: Path, sampler: str
) -> None:
    asked: dict[str, Any] = {"mutate": "30%", "keep": "C", "sampler": sampler}
    found = changes_of(redesign(model, tmp_path / "d.fasta", parents, **asked))
    free = {name: len(each) - each.count("C") for name, each in PARENTS.items()}
    for name, places in found:
        assert len(places) == nearest(0.3 * free[name])
        assert not {PARENTS[name][place] for place in places} & {"C"}
    drawn = [frozenset(places) for name, places in found if name == "two"]
    assert len(set(drawn)) > 1, "each design has positions of its own"


def test_every_sampler_of_masked_models_is_tried() -> None:
    """Those that need a file beside the model obey in models/test_noise.py of the core."""
    own = {each.name for each in SAMPLERS.values() if "absorbing" in each.processes}
    assert own - set(MASKED) == {name for name in own if SAMPLERS[name].needs}


@pytest.mark.parametrize(("share", "number"), [("10%", 3), ("0.5", 17), ("100%", 34), ("1%", 1)])
def test_the_share_is_rounded_and_never_none(
    model: Path, tmp_path: Path, parents: Path, share: str, number: int
) -> None:
    found = changes_of(redesign(model, tmp_path / "d.fasta", parents, mutate=share, num=2))
    assert [len(places) for name, places in found if name == "one"] == [number] * 2


def test_positions_are_drawn_alike_and_by_seed_and_record(
    model: Path, tmp_path: Path, parents: Path
) -> None:
    asked: dict[str, Any] = {"start": parents, "mutate": "20%", "keep": "1-4", "num": 400}
    options = GenerateOptions(model=str(model), out=tmp_path / "d.fasta", **asked)
    plan = read_redesign(options, LIMIT)
    assert plan is not None
    variants = plan.variants(400, seed=0)[:400]
    counts = [sum(each.pattern[place] == "_" for each in variants) for place in range(34)]
    # 6 of 30: four standard deviations of a binomial with p = 1/5.
    assert counts[:4] == [0] * 4
    assert all(abs(count - 80) < 4 * (400 * 0.2 * 0.8) ** 0.5 for count in counts[4:])
    assert [each.pattern for each in plan.variants(10, seed=0)[:10]] == [
        each.pattern for each in variants[:10]
    ]
    assert plan.variants(400, seed=1)[0].pattern != variants[0].pattern


def test_keep_takes_letters_or_positions(model: Path, tmp_path: Path, parents: Path) -> None:
    all_but = changes_of(redesign(model, tmp_path / "a.fasta", parents, mutate="1.0", keep="c, W"))
    assert all(
        places == {i for i, each in enumerate(PARENTS[name]) if each not in "CW"}
        for name, places in all_but
    )
    by_place = redesign(model, tmp_path / "b.fasta", parents, mutate="100%", keep="1,3-20")
    assert all(not places & {0, *range(2, 20)} for _, places in changes_of(by_place))


def test_identity_draws_how_many_change(model: Path, tmp_path: Path, parents: Path) -> None:
    found = changes_of(redesign(model, tmp_path / "a.fasta", parents, identity="0.6-0.8", num=90))
    for name, parent in PARENTS.items():
        numbers = {len(places) for own, places in found if own == name}
        assert numbers == set(IdentityRange(0.6, 0.8).changes(len(parent)))
    within = redesign(
        model, tmp_path / "b.fasta", parents, identity="75%-85%", mutate="20%", keep="A"
    )
    assert all(0.72 < 1 - len(places) / len(PARENTS[n]) < 0.88 for n, places in changes_of(within))


def test_vary_redraws_what_is_outside_the_identity(
    model: Path, tmp_path: Path, parents: Path
) -> None:
    asked: dict[str, Any] = {"vary": "1-20", "num": 30}
    plain = redesign(model, tmp_path / "a.fasta", parents, **asked)
    identities = sorted(1 - len(places) / len(PARENTS[name]) for name, places in changes_of(plain))
    middle = round(identities[45], 4)
    narrow = redesign(model, tmp_path / "b.fasta", parents, **asked, identity=f"{middle}-1")
    assert narrow.redraws > 0
    found = [1 - len(places) / len(PARENTS[name]) for name, places in changes_of(narrow)]
    assert found and min(found) >= middle - 1e-3
    assert narrow.num_designs + len(narrow.failed) == 90
    assert narrow.failed and {each.tries for each in narrow.failed} == {5}
    assert all(f"outside {middle:g}-1" in each.reason for each in narrow.failed)


def test_unique_is_against_the_parents_too(model: Path, tmp_path: Path) -> None:
    start = tmp_path / "p.fasta"
    start.write_text(">p\nMKTAYIAKQRQISF\n")
    plain = redesign(model, tmp_path / "a.fasta", start, vary="3", num=40)
    assert "MKTAYIAKQRQISF" in sequences(plain)
    unique = redesign(model, tmp_path / "b.fasta", start, vary="3", num=40, unique=True)
    made = sequences(unique)
    warning = json.loads(unique.summary.read_text())["warnings"][-1]
    assert "--unique --num 40: --vary 3" in warning and "19 different designs" in warning
    assert len(set(made)) == len(made) <= 19
    assert "MKTAYIAKQRQISF" not in made
    assert unique.failed and {each.tries for each in unique.failed} == {5}
    assert {"the same as another", "the same as parent p"} >= {e.reason for e in unique.failed}


def test_excluded_residues_are_not_written_and_parents_keep_theirs(
    model: Path, tmp_path: Path, parents: Path
) -> None:
    made = redesign(model, tmp_path / "a.fasta", parents, mutate="50%", exclude="CAKL", top_p=0.8)
    for record in designs(made):
        parent = PARENTS[record.header["parent"]]
        places = changed(parent, record.sequence)
        assert len(places) == nearest(0.5 * len(parent))
        assert not {record.sequence[place] for place in places} & set("CAKL")


def test_a_residue_alone_in_what_is_kept_may_be_all_that_is_written(
    model: Path, tmp_path: Path, parents: Path
) -> None:
    own = {"exclude": "CDEFGHKLMNPQRSTVWYA", "mutate": "50%"}
    parents.write_text(">one\nMKTAIIAKQRQ\n")
    with pytest.raises(UserError, match="a I could change to in parent one"):
        redesign(model, tmp_path / "a.fasta", parents, **{**own, "keep": "5"})
    made = redesign(model, tmp_path / "a.fasta", parents, **{**own, "keep": "5,6"})
    assert all(each.sequence[4:6] == "II" for each in designs(made))


@pytest.mark.parametrize("switch", ["overwrite", "resume"])
def test_parents_are_never_replaced_by_their_variants(
    model: Path, parents: Path, switch: str
) -> None:
    before = parents.read_bytes()
    with pytest.raises(UserError, match=r"would replace .*parents\.fasta, which is read"):
        redesign(model, parents, parents, mutate="20%", **{switch: True})
    assert parents.read_bytes() == before


def test_batches_shards_and_resume_change_nothing(
    model: Path, tmp_path: Path, parents: Path
) -> None:
    asked: dict[str, Any] = {"mutate": "40%", "keep": "C", "num": 9, "batch_tokens": 192}
    whole = redesign(model, tmp_path / "whole.fasta", parents, **asked)
    other = redesign(model, tmp_path / "other.fasta", parents, **{**asked, "batch_tokens": 8192})
    assert sequences(other) == sequences(whole)
    for part in (1, 2):
        out = tmp_path / f"part{part}.fasta"
        redesign(model, out, parents, **asked, shard=f"{part}/2")
        summary = json.loads(out.with_suffix(".generate.json").read_text())
        assert f"--start {parents} --mutate 40% --keep C" in summary["shard"]["command"]
    shards = [tmp_path / "part1.fasta", tmp_path / "part2.fasta"]
    merge(MergeOptions(shards=shards, out=tmp_path / "merged.fasta"))
    assert (tmp_path / "merged.fasta").read_bytes() == whole.fasta.read_bytes()
    again = redesign(model, tmp_path / "whole.fasta", parents, **asked, resume=True)
    assert again.num_designs == 27
    for change in ({"mutate": "39%"}, {"keep": "CW"}, {"identity": "0.5-0.7"}):
        with pytest.raises(UserError, match=next(iter(change))):
            redesign(model, tmp_path / "whole.fasta", parents, **{**asked, **change}, resume=True)
    parents.write_text(parents.read_text().replace("MKTAY", "MKTAW"))
    with pytest.raises(UserError, match="parents"):
        redesign(model, tmp_path / "whole.fasta", parents, **asked, resume=True)


def test_a_second_round_gives_no_id_again(model: Path, tmp_path: Path, parents: Path) -> None:
    first = redesign(model, tmp_path / "a.fasta", parents, mutate="20%", num=2)
    second = redesign(model, tmp_path / "b.fasta", first.fasta, mutate="20%", num=1)
    assert [record.id for record in designs(second)] == [f"design_{n:06d}" for n in range(7, 13)]
    assert [record.header["parent"] for record in designs(second)] == [
        record.id for record in designs(first)
    ]


def test_gaps_and_lower_case_are_read_as_residues(model: Path, tmp_path: Path) -> None:
    start = tmp_path / "p.fasta"
    start.write_text(">p\nmkt-AYI.AKQ*\n")
    made = redesign(model, tmp_path / "a.fasta", start, vary="4", num=3)
    assert {each[:3] + each[4:] for each in sequences(made)} == {"MKTYIAKQ"}


BAD: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({}, ("--start", "--mutate", "--vary")),
    ({"keep": "C"}, ("--start", "--mutate", "--vary")),
    ({"mutate": "20%", "vary": "3"}, ("--mutate and --vary",)),
    ({"mutate": "0"}, ("--mutate 0", "20%")),
    ({"mutate": "0%"}, ("--mutate 0%",)),
    ({"mutate": "101%"}, ("--mutate 101%", "at most 100%")),
    ({"mutate": "20"}, ("--mutate 20", "20%")),
    ({"mutate": "-5%"}, ("--mutate -5%", "no share")),
    ({"mutate": "nan"}, ("--mutate nan", "no share")),
    ({"mutate": ""}, ("--mutate", "no share")),
    ({"vary": "3,21-25"}, ("--vary", "22-25", "three", "21 residues")),
    ({"vary": "0"}, ("--vary 0", "counted from 1")),
    ({"vary": "9-3"}, ("--vary 9-3", "3-9")),
    ({"vary": "all"}, ("--vary all", "12,15,40-50")),
    ({"vary": "3", "keep": "2-4"}, ("--vary and --keep", "position 3", "one")),
    ({"vary": "3", "keep": "C"}, ("--vary and --keep", "position 3", "two")),
    ({"mutate": "20%", "keep": "30"}, ("--keep", "30", "three", "21 residues")),
    ({"mutate": "20%", "keep": "X"}, ("--keep X", "X is no residue")),
    ({"mutate": "20%", "keep": "C57"}, ("--keep C57", "'C57'")),
    ({"mutate": "20%", "keep": ","}, ("--keep ,", "empty")),
    ({"mutate": "20%", "keep": "ACDEFGHIKLMNPQRSTVWY"}, ("--keep", "nothing", "one")),
    ({"identity": "0.7"}, ("--identity 0.7", "0.6-0.8")),
    ({"identity": "0.8-0.6"}, ("--identity 0.8-0.6", "0.6-0.8")),
    ({"identity": "0.8-1.2"}, ("--identity 0.8-1.2", "at most 100%")),
    ({"identity": "1-1"}, ("--identity 1-1", "parent itself")),
    ({"identity": "a-b"}, ("--identity a-b", "no share")),
    ({"identity": "0.1-0.2", "keep": "1-21"}, ("--identity", "one")),
    ({"identity": "0.99-1"}, ("--identity 0.99-1", "one")),
    ({"identity": "0.5-0.6", "vary": "3-5"}, ("--identity 0.5-0.6", "one", "3 may change")),
    ({"identity": "0.5-0.6", "mutate": "20%"}, ("--mutate", "one", "--identity 0.5-0.6")),
    ({"mutate": "20%", "length": "30"}, ("--length and --start",)),
    ({"mutate": "20%", "template": "__K"}, ("--template and --start",)),
    ({"mutate": "20%", "exclude": "CDEFGHIKLMNPQRSTVWY"}, ("--exclude", "A could change")),
    ({"mutate": "20%", "start": "missing.fasta"}, ("--start missing.fasta",)),
    ({"mutate": "20%", "start": "-"}, ("--start -",)),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "names"), BAD, ids=lambda each: str(each)[:60])
def test_what_makes_no_sense_is_refused_in_one_sentence(
    model: Path, tmp_path: Path, parents: Path, asked: dict[str, Any], names: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as refused:
        redesign(model, tmp_path / "d.fasta", parents, **asked)
    message = str(refused.value)
    assert all(name in message for name in names), message
    assert "\n" not in message
    assert not (tmp_path / "d.fasta").exists()


@pytest.mark.parametrize(
    "asked", [{"mutate": "20%"}, {"vary": "3"}, {"keep": "C"}, {"identity": "0.6-0.8"}], ids=str
)
def test_flags_of_start_need_it(model: Path, tmp_path: Path, asked: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"--{next(iter(asked))}: needs --start"):
        design(model, tmp_path / "d.fasta", **asked)


@pytest.mark.parametrize(
    ("sequence", "names"),
    [
        ("MKXAY", ("p", "non-standard residue X at position 3")),
        ("MK*AY", ("p", "stop sign at position 3")),
        ("---", ("p", "empty")),
        ("A" * (LIMIT + 1), ("p", f"{LIMIT + 1} residues", f"limit of {LIMIT}")),
    ],
    ids=["X", "stop", "empty", "long"],
)
def test_parents_that_are_no_proteins_are_refused(
    model: Path, tmp_path: Path, sequence: str, names: tuple[str, ...]
) -> None:
    start = tmp_path / "p.fasta"
    start.write_text(f">ok\nMKTAYIA\n>p\n{sequence}\n")
    with pytest.raises(UserError) as refused:
        redesign(model, tmp_path / "d.fasta", start, mutate="20%")
    assert all(name in str(refused.value) for name in ("--start", *names))


def test_parents_outside_what_the_model_knows_are_warned_of(
    tmp_path: Path, parents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {"start": parents, "mutate": "20%", "num": 1, "steps": 4, "quiet": True}
    out = tmp_path / "d.fasta"
    made = generate(GenerateOptions(model="tiny-student", out=out, **asked))
    assert made is not None and made.num_designs == 3
    assert f"--start {parents}: 3 of 3 designs" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"--start .*parent one\): --model tiny-judge is autoreg"):
        del asked["steps"]
        generate(GenerateOptions(model="tiny-judge", out=tmp_path / "e.fasta", **asked))


@pytest.mark.parametrize(
    ("low", "high", "length", "numbers"),
    [
        (0.6, 0.8, 10, [2, 3, 4]),
        (0.6, 0.8, 7, [2]),
        (0.9, 0.9, 10, [1]),
        (0.9, 0.9, 12, [1]),
        (0.0, 1.0, 3, [0, 1, 2, 3]),
        (0.7, 0.7, 10, [3]),
    ],
)
def test_a_range_of_identities_is_numbers_of_changes(
    low: float, high: float, length: int, numbers: list[int]
) -> None:
    assert list(IdentityRange(low, high).changes(length)) == numbers


def test_a_share_may_be_a_number(model: Path, tmp_path: Path, parents: Path) -> None:
    asked: dict[str, Any] = {"num": 2, "keep": "3,5-7", "identity": "0.7-0.9"}
    number = redesign(model, tmp_path / "a.fasta", parents, mutate=0.25, **asked)
    text = redesign(model, tmp_path / "b.fasta", parents, mutate=" 25 %", **asked)
    assert sequences(number) == sequences(text)


def test_the_commands_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in files_of("redesign.md").items():
        (tmp_path / name).write_text(content)
    (parent,) = read_records([tmp_path / "psd95.fasta"])
    page = (ROOT / "docs" / "redesign.md").read_text(encoding="utf-8")
    for asked in commands_of(page):
        program, *arguments = shlex.split(asked)
        assert program == "didi-protein"
        if "best.fasta" in arguments:  # which filter writes
            best = Path("variants.fasta").read_text().split(">")[1:6]
            Path("best.fasta").write_text("".join(f">{each}" for each in best))
        assert run_program(partial(app, arguments, standalone_mode=False)) == 0
    variants, loop, second = (
        read_records([tmp_path / f"{name}.fasta"]) for name in ("variants", "loop", "round2")
    )
    assert variants[0].title in page
    assert {len(changed(parent.sequence, each.sequence)) for each in variants} == {15}  # of 77
    assert all(each.sequence[10:14] == "GLGF" for each in variants + second)
    varied = set(parse_positions("19-24,62", "--vary"))
    assert all(changed(parent.sequence, each.sequence) <= varied for each in loop)
    assert parent.sequence not in {each.sequence for each in loop}
    assert {each.header["parent"] for each in second} == {each.id for each in variants[:5]}
    assert not {each.id for each in second} & {each.id for each in variants}


def test_parents_are_columns_of_the_table(model: Path, tmp_path: Path, parents: Path) -> None:
    made = redesign(model, tmp_path / "d.fasta", parents, mutate="25%", num=2)
    out = tmp_path / "scores.csv"
    score(ScoreOptions(inputs=[made.fasta], out=out, judge="none", pseudo="none", training="none"))
    table = pd.read_csv(out, dtype=str)
    assert list(table["parent"]) == [each.header["parent"] for each in designs(made)]
    assert list(table["parent_identity"]) == [e.header["parent_identity"] for e in designs(made)]
