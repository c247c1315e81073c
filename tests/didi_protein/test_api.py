"""`didi_protein.load`, `score_sequences`, `distill_model`: the verbs' own results and refusals."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import didi_protein
from didi_core.errors import UserError
from didi_protein import ProteinModel, ProteinRecord
from didi_protein.generate import GenerateOptions, generate
from didi_protein.scan import ScanOptions, scan
from didi_protein.score import ScoreOptions, score
from didi_protein.sequences.fasta import read_records

DESIGN = "VQLERSNEPLGLTICVGEAGGGIFVAEIISPGSGCQKLHPGDQILQVNGINTRRITFRQAVDIIRTSSHKVTFLI"


@pytest.fixture(scope="module")
def student() -> ProteinModel:
    return didi_protein.load("tiny-student", device="cpu", offline=True)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files of a test are made; all of them must be gone at its end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


def test_sample_gives_what_generate_writes(student: ProteinModel, tmp_path: Path) -> None:
    out = tmp_path / "d.fasta"
    generate(GenerateOptions(model="tiny-student", num=3, length="70-82", steps=4, seed=5, out=out))
    designs = student.sample(3, length="70-82", steps=4, seed=5)
    assert designs == read_records([out])
    assert all(isinstance(each, ProteinRecord) for each in designs)
    assert designs[0].header["model"] == "tiny-student" and designs[0].header["seed"] == "5"
    kept = student.sample(3, [72, 75], steps=4, out=tmp_path / "kept.fasta")
    assert [len(each.sequence) for each in kept] == [72, 75, 72]
    assert read_records([tmp_path / "kept.fasta"]) == kept


def test_sequences_and_numbers_stand_for_files_and_texts(student: ProteinModel) -> None:
    variants = student.sample(2, start=[DESIGN], vary=[3, 5], steps=2, bias={"C": -50})
    assert len(variants) == 2
    for each in variants:
        assert each.sequence[:2] == DESIGN[:2] and each.sequence[3] == DESIGN[3]
        assert each.sequence[5:] == DESIGN[5:]
        assert each.header["parent"] == "sequence_1"
    templates = [f"{DESIGN[:5]}{'_' * 70}", f"{'_' * 70}{DESIGN[-5:]}"]
    kept = student.sample(1, template=templates, steps=2)
    assert kept[0].sequence.startswith(DESIGN[:5]) and kept[1].sequence.endswith(DESIGN[-5:])


def test_designs_that_fail_are_left_out_with_a_warning(student: ProteinModel) -> None:
    with pytest.warns(UserWarning, match="1 of 2 designs failed"):
        made = student.sample(
            2, template=f"{DESIGN[:-1]}_", exclude="ACDEFGHKLMNPQRSTVWY", unique=True, steps=1
        )
    assert [each.sequence for each in made] == [DESIGN]


def test_scores_are_those_of_the_verb(tmp_path: Path, student: ProteinModel) -> None:
    fasta = tmp_path / "d.fasta"
    designs = student.sample(2, length=75, steps=4, out=fasta)
    options = {"family": None, "reference": None, "quiet": True, "pseudo": "none"}
    by_verb = score(
        ScoreOptions(inputs=[str(fasta)], out=tmp_path / "s.csv", **options)  # type: ignore[arg-type]
    )
    assert by_verb is not None
    pd.testing.assert_frame_equal(
        didi_protein.score_sequences(designs, pseudo="none"), by_verb.table
    )
    pd.testing.assert_frame_equal(
        didi_protein.score_sequences(str(fasta), pseudo="none"), by_verb.table
    )
    second = by_verb.table[by_verb.table["id"] == designs[1].id]
    again = didi_protein.score_sequences(second, pseudo="none")
    assert again["judge_perplexity"].tolist() == by_verb.table["judge_perplexity"].tolist()[1:]
    assert again["model"].tolist() == ["tiny-student"]


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        (DESIGN, ["sequence_1"]),
        ([DESIGN, "MKTAY"], ["sequence_1", "sequence_2"]),
        ({"my design": DESIGN, "007": "MKT"}, ["my_design", "007"]),
        (pd.Series([DESIGN]), ["sequence_1"]),
        (pd.DataFrame({"id": ["x", "x"], "sequence": ["MKT", "MKV"]}), ["x", "x#2"]),
        (pd.DataFrame({"sequence": ["MKT"]}, index=["row"]), ["row"]),
        ([ProteinRecord("a", "MKT"), "some.fasta", "MKV"], ["a", "of_file", "sequence_3"]),
        (Path("some.fasta"), ["of_file"]),
    ],
)
def test_sequences_come_in_many_forms(
    given: Any, ids: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("some.fasta").write_text(">of_file\nMKTAY\n")
    table = didi_protein.score_sequences(given, judge="none", pseudo="none", training="none")
    assert table["id"].tolist() == ids and set(table["status"]) == {"ok"}


def test_a_sequence_that_cannot_be_scored_is_a_row() -> None:
    table = didi_protein.score_sequences({"bad": "MK1", "good": "MKT"}, judge="none", pseudo="none")
    assert table["status"].tolist() == ["invalid", "ok"]


def test_a_model_scores_and_scans_without_being_opened_again(
    student: ProteinModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fasta, out = tmp_path / "d.fasta", tmp_path / "scan.csv"
    didi_protein.write_fasta(fasta, [ProteinRecord("sequence_1", DESIGN)])
    options = {"judge": "none", "training": "none"}
    expected = didi_protein.score_sequences(DESIGN, pseudo="tiny-student", **options)
    scan(ScanOptions(inputs=[str(fasta)], model="tiny-student", out=out, positions="3,5"))
    monkeypatch.setattr("didi_protein.models.judges.open_model", None)
    pd.testing.assert_frame_equal(student.score(DESIGN, **options), expected)
    table = student.scan(DESIGN, positions=[3, 5], out=tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == out.read_text()
    assert table["position"].unique().tolist() == [3, 5] and len(table) == 38
    assert table["score"].dtype == float and set(table["wild_type"]) == {DESIGN[2], DESIGN[4]}


def test_an_autoregressive_model_scores_as_a_judge() -> None:
    judge = didi_protein.load("tiny-judge", device="cpu")
    table = judge.score(DESIGN, pseudo="none")
    assert table["judge_perplexity"][0] > 1
    with pytest.raises(UserError, match="--model tiny-judge"):
        judge.scan(DESIGN)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda model: model.sample(3), "--length"),
        (lambda model: model.sample(0, length=75, steps=4), "--num 0"),
        (lambda model: model.sample(1, length=75, steps="4"), "--steps '4'"),
        (lambda model: model.sample(1, length=75, steps=4, sampler="none"), "none"),
        (lambda model: model.scan(DESIGN, positions=[99]), "--positions 99"),
        (lambda model: model.scan([]), "no sequence"),
        (lambda _: didi_protein.score_sequences("missing.fasta"), "missing.fasta"),
        (lambda _: didi_protein.score_sequences([7]), "INPUT 7"),
        (lambda _: didi_protein.score_sequences(7), "INPUT 7"),
        (lambda _: didi_protein.score_sequences(pd.DataFrame({"id": [1]})), "sequence"),
        (lambda _: didi_protein.score_sequences("MKT", reference=["MKT", "a.fasta"]), "a.fasta"),
        (lambda _: didi_protein.load("no-such-model", offline=True), "no-such-model"),
        (lambda _: didi_protein.load("tiny", device="tpu"), "--device tpu"),
        (lambda _: didi_protein.distill_model("tiny", "s", stepps=3), "stepps="),
        (lambda _: didi_protein.distill_model("tiny", "s", steps="x"), "steps=x"),
        (lambda _: didi_protein.distill_model("tiny", "s"), "data="),
        (lambda _: didi_protein.distill_model("tiny", "s", method="dmm"), "dmmd"),
        (lambda _: didi_protein.distill_model("tiny", "s", data=["MK"], resume=True), "resume"),
    ],
)
def test_what_a_command_refuses_is_an_exception_with_its_sentence(
    student: ProteinModel, call: Any, named: str
) -> None:
    with pytest.raises(didi_protein.UserError) as error:
        call(student)
    assert named in str(error.value)


def test_an_output_that_exists_is_refused(student: ProteinModel, tmp_path: Path) -> None:
    out = str(tmp_path / "d.fasta")
    student.sample(1, length=75, steps=1, out=out)
    with pytest.raises(UserError, match="exists"):
        student.sample(1, length=75, steps=1, out=out)
    assert len(student.sample(2, length=75, steps=1, out=out, overwrite=True)) == 2


def test_distill_model_gives_the_student(student: ProteinModel, tmp_path: Path) -> None:
    few = {"steps": 2, "tokens_per_batch": 512, "device": "cpu", "verdict": False}
    designs = [each.sequence for each in student.sample(4, length=75, steps=2)]
    mine = didi_protein.distill_model(
        "tiny",
        tmp_path / "mine",
        data=designs,
        method={"name": "dmmd", "student": {"lr": 1e-4, "betas": [0.9, 0.98]}},
        **few,
    )
    settings = (tmp_path / "mine" / "run.json").read_text()
    assert mine.folder == tmp_path / "mine" and '"lr": 0.0001' in settings and "0.98" in settings
    assert len(mine.sample(1, length=75, steps=2)[0].sequence) == 75
    pool = {"reference": "pool", "pool_size": 4, "pool_steps": 2, "pool_length": 75}
    assert didi_protein.distill_model("tiny", str(tmp_path / "2024_11"), **pool, **few).folder


ORDERS = [
    "import didi_protein.score, didi_protein.distill; import didi_protein as d",
    "import didi_protein as d; d.score_sequences, d.distill_model, d.load; "
    "import didi_protein.score, didi_protein.distill",
    "from didi_protein import score_sequences, distill_model; import didi_protein as d; "
    "from didi_protein import score, distill",
]


@pytest.mark.parametrize("order", ORDERS)
def test_score_and_distill_stay_modules(order: str) -> None:
    check = (
        "import types; assert isinstance(d.score, types.ModuleType), d.score; "
        "assert isinstance(d.distill, types.ModuleType); "
        "assert callable(d.score_sequences) and callable(d.distill_model) and callable(d.load)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{order}; {check}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_names_that_are_not_there_are_missing_attributes() -> None:
    assert {*didi_protein.__all__} <= {*dir(didi_protein)}
    assert all(getattr(didi_protein, name) is not None for name in didi_protein.__all__)
    assert not hasattr(didi_protein, "score_sequence")
