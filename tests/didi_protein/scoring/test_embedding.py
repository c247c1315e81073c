"""`score --embedding`: a set held against nature in the hidden states of a masked model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scoring_fixtures import quick_scores, random_sequences, write_masked

from didi_core.data.batches import pad_batch
from didi_core.errors import UserError
from didi_core.evaluation.point_sets import compare_point_sets
from didi_protein.models.judges import open_masked_scorer
from didi_protein.report import write_report
from didi_protein.score import score
from didi_protein.scoring.embedding import (
    FIGURES,
    draw_sets,
    embed_sequences,
    measure_embedding,
)
from didi_protein.sequences.alphabet import PROTEIN, encode
from didi_protein.sequences.fasta import ProteinRecord, write_fasta

DESIGNS = random_sequences(10, 20, 60, seed=1)
NATURAL = random_sequences(24, 20, 60, seed=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_masked(tmp_path_factory.mktemp("models") / "masked"))


@pytest.fixture(scope="module")
def model(folder):
    return open_masked_scorer(folder)


def test_an_embedding_is_the_mean_over_residues_whatever_the_batch(model):
    together = embed_sequences(model, DESIGNS)
    alone = embed_sequences(model, DESIGNS, batch_tokens=1)
    assert together.shape == (10, 16) and together.dtype == np.float64
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)
    batch = pad_batch([encode(DESIGNS[3])], PROTEIN)
    with torch.no_grad():
        hidden = model.denoiser.trunk(batch.tokens, batch.lengths)[0, 1 : 1 + len(DESIGNS[3])]
    np.testing.assert_allclose(alone[3], hidden.mean(0), rtol=1e-5, atol=1e-6)


def test_four_sets_of_one_size_are_drawn_of_what_the_model_reads(model):
    unread = ["A" * 65, "MKX"]
    sets = draw_sets(model, [*DESIGNS, "A" * 65], [*NATURAL, NATURAL[0], *unread], seed=3)
    assert {len(each) for each in sets.values()} == {10}
    assert sorted(sets["designs"]) == sorted(DESIGNS)
    assert {*map(sorted_letters, sets["residue_shuffled"])} == {*map(sorted_letters, DESIGNS)}
    halves = [*sets["reference"], *sets["natural_held_out"]]
    assert len(set(halves)) == 20 and set(halves) <= set(NATURAL)
    assert len(draw_sets(model, DESIGNS, NATURAL[:15], seed=3)["reference"]) == 7


def sorted_letters(sequence):
    return "".join(sorted(sequence))


def test_figures_are_those_of_the_embedded_sets(model):
    found = measure_embedding(model, DESIGNS, NATURAL, seed=3)
    sets = draw_sets(model, DESIGNS, NATURAL, seed=3)
    against = embed_sequences(model, sets["reference"])
    rows = {"designs": found.figures, **found.rows}
    assert set(rows) == {"designs", "natural_held_out", "residue_shuffled"}
    for name, figures in rows.items():
        expected = compare_point_sets(embed_sequences(model, sets[name]), against, seed=3)
        assert list(figures) == list(FIGURES) and figures["fbd"]["n"] == 10
        for key, theirs in FIGURES.items():
            assert figures[key]["mean"] == pytest.approx(getattr(expected, theirs).mean, rel=1e-5)
    assert "10 sequences a side are few for 16 dimensions" in found.warnings[0]
    few = measure_embedding(model, DESIGNS, NATURAL[:11])
    assert few.record is None and set(few.figures.values()) == {None}
    assert "there are 5 a side" in few.warnings[0]


def test_hidden_states_that_are_not_finite_measure_nothing(folder):
    broken = open_masked_scorer(folder)
    broken.denoiser.embedding.weight.data.fill_(torch.nan)
    found = measure_embedding(broken, DESIGNS, NATURAL)
    assert found.record is None and "not finite" in found.warnings[0]


@pytest.fixture(scope="module")
def options(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("score")
    for name, sequences in (("designs", DESIGNS), ("natural", NATURAL)):
        records = [ProteinRecord(f"{name}_{i}", each) for i, each in enumerate(sequences)]
        write_fasta(place / f"{name}.fasta", records)
    more = {"reference": place / "natural.fasta", "embedding": folder, "training": Path("none")}
    return quick_scores(place / "designs.fasta", place / "scores.csv", **more)


def test_the_summary_and_the_page_hold_the_figures_beside_nature_and_shuffles(options, model):
    summary = score(options).summary
    found = measure_embedding(model, DESIGNS, NATURAL)
    assert summary["embedding"] == found.record
    assert {name: summary["set"][name] for name in FIGURES} == found.figures
    assert (
        summary["reference_rows"]["natural_held_out"] == {"n": 10} | found.rows["natural_held_out"]
    )
    assert set(FIGURES) <= set(summary["definitions"])
    page = options.out.with_suffix(".html")
    write_report([options.out], page)
    text = page.read_text()
    assert f"{summary['set']['fbd']['mean']:.2f}" in text
    assert f"{found.rows['residue_shuffled']['mmd']['mean']:.2f}" in text


def test_no_embedding_and_a_shard_have_no_figures(options, tmp_path):
    for changes in ({"embedding": "none"}, {"shard": "1/2"}):
        summary = score(replace(options, out=tmp_path / "other.csv", overwrite=True, **changes))
        assert summary.summary["embedding"] is None and summary.summary["set"]["fbd"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": None}, "give some, --reference F.fasta"),
        ({"embedding": "tiny-judge"}, "--embedding tiny-judge is autoregressive"),
        ({"embedding": "esm2_t6_8M_UR50D"}, "--embedding esm2_t6_8M_UR50D"),
        ({"embedding": "/no/such/model"}, "--embedding /no/such/model"),
        ({"embedding": "/no/such/model", "shard": "1/2"}, "--embedding /no/such/model"),
    ],
)
def test_what_cannot_embed_is_refused_by_its_flag(options, tmp_path, monkeypatch, changes, message):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    asked = replace(options, out=tmp_path / "other.csv", offline=True, **changes)
    with pytest.raises(UserError) as caught:
        score(asked)
    assert message in str(caught.value) and not asked.out.exists()
