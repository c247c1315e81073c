"""`score --fold` with a model that draws its structures, and with two models."""

from dataclasses import replace

import numpy as np
import pytest
from folding_fixtures import fold_sequences, write_esmfold2, write_folding_model
from scoring_fixtures import quick_scores

from didi_core.errors import UserError
from didi_protein.folding import esmfold2, scorer
from didi_protein.folding.fold import FoldRequest
from didi_protein.folding.memory import fold_or_shrink
from didi_protein.folding.network import open_folding_model
from didi_protein.score import score
from didi_protein.scoring.folding import folding_models
from didi_protein.scoring.table import read_scores
from didi_protein.sequences.fasta import ProteinRecord, write_fasta
from didi_protein.similarity.tm_score import Trace, tm_score

SEQUENCES = [*fold_sequences(3, 6, 16), "GA"]
CONFIDENCE = ["mean_plddt", "mean_plddt_all_atom", "ptm", "mean_pae"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """An ESMFold and an ESMFold2."""
    place = tmp_path_factory.mktemp("models")
    return write_folding_model(place / "one"), write_esmfold2(place / "two")


@pytest.fixture
def options(models, tmp_path):
    path = tmp_path / "designs.fasta"
    write_fasta(path, [ProteinRecord(f"d{i}", each) for i, each in enumerate(SEQUENCES)])
    asked = {"fold": str(models[1]), "fold_recycles": 0, "fold_samples": 2}
    return quick_scores(path, tmp_path / "scores.csv", tm_pairs=0, **asked)


@pytest.fixture
def folded(monkeypatch):
    """Sequences that an ESMFold2 folded since it was cleared."""
    found, fold = [], esmfold2.EsmFold2.fold_batch
    monkeypatch.setattr(
        esmfold2.EsmFold2,
        "fold_batch",
        lambda self, sequences, size: found.extend(sequences) or fold(self, sequences, size),
    )
    return found


def test_rows_files_and_summary_say_what_was_drawn_and_resume_repeats_nothing(
    options, models, tmp_path, folded
):
    asked = replace(options, pdb_dir=tmp_path / "pdb")
    first = score(asked)
    rows = first.table
    assert rows["fold_model"].tolist() == [str(models[1])] * 4
    assert rows[CONFIDENCE].notna().all(axis=None) and rows["mean_plddt"].between(1, 100).all()
    assert sorted(path.name for path in asked.pdb_dir.iterdir()) == [f"d{i}.pdb" for i in range(4)]
    fold = first.summary["fold"]
    expected = {"recycles": 0, "samples": 2, "seed": 0, "sampling_steps": 4, "precision": "float32"}
    assert {name: fold[name] for name in expected} == expected and "pTM" in fold["sample_taken"]
    folded.clear()
    before = asked.out.read_bytes()
    score(replace(asked, resume=True, fold_pairs=100, fold_chunk_size=4))
    assert folded == [] and asked.out.read_bytes() == before
    # Other batches, another order, and other records beside it change nothing.
    write_fasta(tmp_path / "some.fasta", [ProteinRecord("x", each) for each in SEQUENCES[2:0:-1]])
    some = score(replace(options, inputs=[str(tmp_path / "some.fasta")], out=tmp_path / "some.csv"))
    np.testing.assert_allclose(some.table[CONFIDENCE], rows[CONFIDENCE][2:0:-1], atol=1e-3)
    np.testing.assert_allclose(some.table["ptm"], rows["ptm"][2:0:-1], atol=1e-5)
    folded.clear()
    changed = score(replace(asked, resume=True, fold_seed=1))
    assert (changed.table["ptm"] != rows["ptm"]).all() and len(folded) == len(SEQUENCES)


def test_a_design_that_never_fits_is_a_row_and_the_others_are_folded(options, monkeypatch):
    run = esmfold2.run_trunk

    def limited(network, features, draws, recycles):
        if any(each["res_type"].shape[1] == len(SEQUENCES[0]) for each in features):
            raise MemoryError("no room")
        return run(network, features, draws, recycles)

    monkeypatch.setattr(esmfold2, "run_trunk", limited)
    rows = score(options).table
    lacking = [len(each) == len(SEQUENCES[0]) for each in SEQUENCES]
    assert (rows["status"] == "oom").tolist() == lacking
    assert rows["ptm"].isna().tolist() == rows["fold_model"].isna().tolist() == lacking


def test_two_models_give_both_plddts_and_how_alike_their_structures_are(
    options, models, folded, monkeypatch
):
    one = replace(options, fold=str(models[0]), fold_samples=None)
    first = score(one).table
    # What the first model found alone is not computed again for a second one that is added.
    monkeypatch.setattr(scorer.FoldScorer, "score", None)
    asked = replace(options, fold=",".join(map(str, models)), resume=True)
    result = score(asked)
    rows = read_scores(asked.out)
    assert rows[CONFIDENCE].values.tolist() == first[CONFIDENCE].values.tolist()
    assert rows["fold_model"].tolist() == [str(models[0])] * len(SEQUENCES)
    assert rows["mean_plddt_two"].dtype == "float64"
    request = FoldRequest(recycles=0, samples=2)
    ours, theirs = (
        fold_or_shrink(open_folding_model(str(each), request=request), SEQUENCES) for each in models
    )
    expected = [each.mean_plddt for each in theirs]
    np.testing.assert_allclose(rows["mean_plddt_two"], expected, atol=1e-3)
    assert rows["fold_agreement_tm"].isna().tolist() == [len(each) < 3 for each in SEQUENCES]
    for sequence, tm, *folds in zip(
        SEQUENCES, rows["fold_agreement_tm"], ours, theirs, strict=True
    ):
        traces = [Trace(each.alphas.double().numpy(), sequence) for each in folds]
        assert len(sequence) < 3 or tm == pytest.approx(tm_score(*traces), abs=1e-5)
    summary = result.summary
    assert summary["fold"]["second"]["samples"] == 2 and "samples" not in summary["fold"]
    assert summary["set"]["fold_agreement_tm"]["n"] == len(SEQUENCES) - 1
    folded.clear()
    score(asked)
    assert folded == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": "{one}"}, "--fold-samples 2"),
        ({"fold": "{one}", "fold_samples": None, "fold_seed": 3}, "--fold-seed 3"),
        ({"fold": "none", "fold_samples": None, "fold_recycles": None, "fold_seed": 3}, "-seed 3"),
        ({"fold_samples": 0}, "--fold-samples 0 must be 1 or more"),
        ({"fold_precision": "fp16"}, "--fold-precision fp16"),
        ({"fold": "{one},{one}"}, "two that differ"),
        ({"fold": "{one},{two},esmfold"}, "two that differ"),
        ({"fold": "{one},"}, "two that differ"),
    ],
)
def test_bad_usage_is_refused(options, models, changes, message):
    if "fold" in changes:
        changes = changes | {"fold": changes["fold"].format(one=models[0], two=models[1])}
    with pytest.raises(UserError) as caught:
        score(replace(options, **changes))
    assert message in str(caught.value)
    assert not options.out.exists()


def test_without_the_aligner_a_second_model_is_refused(options, models, monkeypatch):
    monkeypatch.setattr("didi_protein.similarity.tm_score.is_available", lambda: False)
    with pytest.raises(UserError, match=r"tmtools.*didi-protein\[metrics\]"):
        score(replace(options, fold=",".join(map(str, models))))


def test_a_folder_with_a_comma_is_one_model(tmp_path):
    folder = tmp_path / "a,b"
    assert folding_models(str(folder)) == [str(tmp_path / "a"), "b"]
    folder.mkdir()
    assert folding_models(str(folder)) == [str(folder)]
