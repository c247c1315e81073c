"""`headroom`, and `generate --grid best` by the curve that it leaves in the model's folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distill_fixtures import student_of
from esm_fixtures import reference_model, write_dplm_folder
from generate_fixtures import design, run_program, sequences, write_tiny_model
from scoring_fixtures import write_judge, write_uniform
from typer.testing import CliRunner

from didi_core.commands.headroom import estimate
from didi_core.commands.headroom import run as headroom_run
from didi_core.commands.headroom.estimate import estimated_line, teacher_line
from didi_core.commands.headroom.run import choose_sequences
from didi_core.data.corpus import Corpus
from didi_core.errors import UserError
from didi_core.evaluation.headroom import even_grid
from didi_core.evaluation.headroom_record import read_curve
from didi_core.models.folder import LoadedModel
from didi_protein.app import app
from didi_protein.headroom import HeadroomOptions, HeadroomResult, headroom
from didi_protein.models.load import BUNDLED_MODELS, open_model
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.residues import CANONICAL_RESIDUES


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty proteins of 20 to 60 residues."""
    path, generator = tmp_path_factory.mktemp("data") / "d.fasta", np.random.default_rng(0)
    letters = list(CANONICAL_RESIDUES)
    proteins = ["".join(generator.choice(letters, size=20 + number)) for number in range(40)]
    path.write_text("".join(f">{number}\n{each}\n" for number, each in enumerate(proteins)))
    return path


def measure(model: object, data: Path, **changes: Any) -> HeadroomResult:
    """`headroom` with small defaults."""
    asked: dict[str, Any] = {"num": 30, "quiet": True, **changes}
    return headroom(HeadroomOptions(model=str(model), data=str(data), **asked))


@pytest.fixture(scope="module")
def measured(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose folder has its curve, and names an exponent."""
    folder = write_tiny_model(tmp_path_factory.mktemp("model") / "m", seed=4)
    config = json.loads((folder / "config.json").read_text())
    config["didi"]["reveal_exponent"] = 2.0
    (folder / "config.json").write_text(json.dumps(config))
    measure(folder, data)
    return folder


# Measuring.


def test_it_writes_table_curve_and_figure(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    model = write_tiny_model(tmp_path / "m")
    out, plot = tmp_path / "h.json", tmp_path / "h.png"
    asked = ("--data", data, "--out", out, "--plot", plot, "--num", "20")
    done = run_program("headroom", model, *asked)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if " to " in line]
    assert [row[0] for row in rows if row[0].isdigit()] == ["1", "2", "4", "8", "16", "32"]
    assert "bear" in done.stdout and "--grid best" in done.stdout.splitlines()[-1]
    assert plot.read_bytes().startswith(b"\x89PNG")
    record = json.loads(out.read_text())
    assert record == json.loads((model / "headroom.json").read_text())
    assert record["measured"]["num_sequences"] == 20
    assert len(record["masked"]) == len(record["nats"]) == len(record["standard_error"]) == 16
    loss = {each["calls"]: each for each in record["losses"]}
    assert loss[1]["even"] == loss[1]["late"] == loss[1]["best"]
    for each in loss.values():
        assert len(each["grid"]) == each["calls"] + 1
        assert each["best"]["mean"] <= min(each["even"]["mean"], each["late"]["mean"]) + 1e-9
    for place in ({"out": out}, {"plot": plot}):
        with pytest.raises(UserError, match="--overwrite"):
            measure(model, data, **place)


def test_the_sentences_are_of_the_numbers_as_json_is(measured: Path, data: Path) -> None:
    result = measure(measured, data)
    fewest = next((each for each in result.losses if each.best.mean < 0.05), result.losses[-1])
    assert f"{fewest.best.mean:.3f}" in result.sentences[0]
    assert f" {fewest.calls} call" in result.sentences[0]
    for each in result.losses[2:4]:
        assert f"{each.best.mean:.3f} at {each.calls} calls" in result.sentences[1]
    asked = ["headroom", str(measured), "--data", str(data), "--num", "30", "--json"]
    assert json.loads(CliRunner().invoke(app, asked).stdout) == result.record


@pytest.mark.parametrize("change", [{"seed": 1}, {"num": 25}, {"precision": "bf16"}], ids=str)
def test_every_setting_changes_the_curve(
    data: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    model = write_tiny_model(tmp_path / "m")
    usual, changed = measure(model, data).record, measure(model, data, **change).record
    assert usual["nats"] != changed["nats"]
    assert measure(model, data, batch_tokens=300).record["nats"] == pytest.approx(
        usual["nats"], abs=1e-5
    )


def test_a_curve_of_the_same_weights_is_kept_and_one_of_others_replaced(
    data: Path, tmp_path: Path
) -> None:
    model = write_tiny_model(tmp_path / "m")
    path = measure(model, data).kept
    assert path == model / "headroom.json"
    first = path.read_text()
    kept = measure(model, data, seed=1)
    assert path.read_text() == first and kept.kept == path and "kept" in kept.sentences[-1]
    measure(model, data, seed=1, overwrite=True)
    assert json.loads(path.read_text())["measured"]["seed"] == 1
    write_tiny_model(model, seed=7)
    measure(model, data)
    assert json.loads(path.read_text())["weights"] != json.loads(first)["weights"]


def test_a_bundled_folder_is_not_written_to(data: Path) -> None:
    shipped = BUNDLED_MODELS.folder("tiny") / "headroom.json"
    before = shipped.read_bytes()
    result = measure("tiny", data, num=15, overwrite=True)
    assert result.kept == shipped and shipped.read_bytes() == before
    assert "bundled" in result.sentences[-1] and "Only 15 sequences" in result.sentences[-2]


def test_of_too_few_residues_nothing_is_said_nor_kept(measured: Path, data: Path) -> None:
    before = (measured / "headroom.json").read_bytes()
    result = measure(measured, data, num=2, overwrite=True)
    assert result.kept is None and (measured / "headroom.json").read_bytes() == before
    (sentence,) = result.sentences
    assert "too few to say" in sentence and "2 sequences" in sentence


def test_a_choice_is_by_the_seed_and_of_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus.from_ids([[number] * 9 for number in range(50)])
    chosen = choose_sequences(corpus, 20, longest=3, seed=1)
    assert chosen == choose_sequences(corpus, 20, longest=3, seed=1)
    assert chosen != choose_sequences(corpus, 20, longest=3, seed=2)
    assert len({tuple(each) for each in chosen}) == 20 and {len(each) for each in chosen} == {3}
    assert len(choose_sequences(corpus, 99, longest=3, seed=1)) == 50
    monkeypatch.setattr(headroom_run, "MOST_RECORDS", 20)
    assert choose_sequences(corpus, 99, 1, seed=1) == [[number] for number in range(0, 50, 3)]


def test_a_folder_that_cannot_be_written_keeps_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tiny_model(tmp_path / "m")
    (model / "headroom.json").mkdir()  # stands in for a folder without leave to write
    monkeypatch.chdir(tmp_path)
    result = measure(model, data)
    assert result.kept is None and "not kept" in result.sentences[-1]


def test_dplm_s_folder_is_measured(data: Path, tmp_path: Path) -> None:
    folder = write_dplm_folder(tmp_path / "dplm", reference_model(token_dropout=False))
    result = measure(folder, data, num=10)
    assert result.kept == folder / "headroom.json"
    assert np.isfinite(result.record["nats"]).all()


def test_models_of_other_kinds_are_refused(data: Path, tmp_path: Path) -> None:
    for write, words in ((write_uniform, "uniform-state"), (write_judge, "autoregressive")):
        folder = write(tmp_path / words)
        with pytest.raises(UserError, match=words):
            measure(folder, data)
        assert not (folder / "headroom.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num": 0}, "--num 0"),
        ({"seed": -1}, "--seed -1"),
        ({"batch_tokens": 0}, "--batch-tokens 0"),
        ({"out": Path("h.csv")}, "--out h.csv"),
        ({"plot": Path("h.gif")}, "--plot h.gif"),
        ({"device": "tpu9"}, "tpu9"),
        ({"precision": "fp8"}, "fp8"),
        ({"data": "nowhere.fasta"}, "nowhere.fasta"),
        ({"model": "nowhere/m/x"}, "MODEL nowhere/m/x"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_makes_no_sense_is_refused(
    model: Path, data: Path, change: dict[str, Any], message: str
) -> None:
    asked: dict[str, Any] = {"model": str(model), "data": str(data), **change}
    with pytest.raises(UserError, match=message):
        headroom(HeadroomOptions(**asked))
    assert not (model / "headroom.json").exists()


# `--grid best`.


@pytest.mark.parametrize("sampler", ["ancestral", "greedy-tail", "apart"])
def test_the_best_grid_is_the_curve_s_own(measured: Path, tmp_path: Path, sampler: str) -> None:
    stored = read_curve(measured)
    assert stored is not None
    best = design(measured, tmp_path / "b.fasta", grid="best", steps=6, sampler=sampler)
    again = design(measured, tmp_path / "c.fasta", grid="best", steps=6, sampler=sampler)
    exact = design(measured, tmp_path / "e.fasta", steps=6, sampler=sampler)
    settings = json.loads(best.summary.read_text())["settings"]
    assert settings["kept"] == list(stored.curve.best_grid(6))
    assert (settings["grid"], settings["reveal_exponent"]) == ("best", 1.0)
    assert sequences(best) == sequences(again) != sequences(exact)
    assert " grid=best " in best.fasta.read_text() and "grid=" not in exact.fasta.read_text()
    assert "kept" not in json.loads(exact.summary.read_text())["settings"]
    assert json.loads(exact.summary.read_text())["settings"]["reveal_exponent"] == 2.0


def test_without_a_curve_of_these_weights_there_is_no_best_grid(
    measured: Path, tmp_path: Path
) -> None:
    bare = write_tiny_model(tmp_path / "bare")
    with pytest.raises(UserError, match=r"no headroom\.json.*`headroom .* --data FILE`"):
        design(bare, tmp_path / "d.fasta", grid="best")
    (bare / "headroom.json").write_text((measured / "headroom.json").read_text())
    with pytest.raises(UserError, match=r"of other weights.*headroom"):
        design(bare, tmp_path / "d.fasta", grid="best")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampler": "remdm"}, "--sampler remdm"),
        ({"sampler": "saber"}, "--sampler saber"),
        ({"sampler": "dplm"}, "--sampler dplm"),
        ({"sampler": "first-hitting"}, "--sampler first-hitting"),
        ({"reveal_exponent": 2.0}, "--reveal-exponent and --grid best"),
        ({"steps": 257}, "--steps 257"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_reveals_on_no_grid_is_refused(
    measured: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        design(measured, tmp_path / "d.fasta", grid="best", **change)
    assert not list(tmp_path.iterdir())


def test_a_uniform_model_has_no_best_grid(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="uniform-state"):
        design(write_uniform(tmp_path / "u"), tmp_path / "d.fasta", grid="best")


# The line of other commands.


def opened(folder: Path) -> LoadedModel:
    return open_model(folder)


def test_the_line_is_of_the_stored_curve_or_an_estimate(measured: Path, teacher: Path) -> None:
    stored = read_curve(measured)
    assert stored is not None
    line = teacher_line(opened(measured), None, "nothing", "residue", calls=(3,))
    assert line is not None and f"{stored.curve.loss(even_grid(3)):.3f} in 3 calls" in line
    ids = PROTEIN.generable_ids
    corpus = Corpus.from_ids([[*ids, *ids[:number]] for number in range(10)])
    line = teacher_line(opened(teacher), lambda: corpus, "FILE", "residue")
    assert line is not None and "10 sequences of FILE" in line
    assert teacher_line(opened(teacher), None, "nothing", "residue") is None


def test_distill_ends_with_the_teacher_s_line(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = student_of(teacher, tmp_path / "s", {"name": "dmmd"})
    printed = capsys.readouterr().err.splitlines()
    (line,) = [each for each in printed if each.startswith(f"Headroom of {teacher}: ")]
    assert "of the pool" in line
    assert not (student / "headroom.json").exists()


def test_an_estimate_that_would_take_long_or_has_no_tokens_is_left_out(
    teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = opened(teacher).denoiser
    ids = PROTEIN.generable_ids

    def line(*sequences: Sequence[int]) -> str | None:
        corpus = Corpus.from_ids(sequences)
        return estimated_line(
            "m", network, PROTEIN, corpus, longest=100, source="FILE", unit="residue"
        )

    assert line(ids, ids) is not None
    with monkeypatch.context() as patch:
        patch.setattr(estimate, "SHARES", (1e-9, 1.0))
        assert line(ids, ids) is None
    monkeypatch.setitem(estimate.MOST_WORK, "cpu", 1e6)
    assert line(ids, ids) is None
