"""Opening judges and masked models, and what is said of those that cannot be opened."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scoring_fixtures import random_sequences, write_judge, write_masked

from didi_core.errors import UserError
from didi_core.evaluation.pseudo import exact_pseudo_nll
from didi_protein.models.judges import open_judge, open_masked_scorer
from didi_protein.scoring.properties import repeated_word_share
from didi_protein.scoring.set_measures import measure_reference_rows, measure_set, shuffle_residues
from didi_protein.sequences.alphabet import PROTEIN, encode


@pytest.fixture(scope="module")
def judge_folder(tmp_path_factory):
    return write_judge(tmp_path_factory.mktemp("models") / "judge")


def test_a_judge_reads_residues_as_tokens_and_scores_them(judge_folder):
    judge = open_judge(str(judge_folder))
    assert judge.max_length == 64
    assert judge.bos_id == PROTEIN.bos_id
    assert judge.num_parameters == sum(p.numel() for p in judge.model.parameters())
    ids = encode("MKTAY")[:-1]  # without <eos>
    logits = judge.model(torch.tensor([ids[:-1]])).logits[0].double().log_softmax(-1)
    expected = -logits[torch.arange(5), ids[1:]].mean().item()
    assert judge.nll(["MKTAY"])[0] == pytest.approx(expected, rel=1e-5)


def test_the_residue_order_of_the_vocabulary_file_is_followed(judge_folder, tmp_path):
    shutil.copytree(judge_folder, tmp_path / "swapped")
    tokens = (judge_folder / "vocab.txt").read_text().splitlines()
    leucine, alanine = tokens.index("L"), tokens.index("A")
    tokens[leucine], tokens[alanine] = "A", "L"
    (tmp_path / "swapped" / "vocab.txt").write_text("\n".join(tokens))
    one, other = open_judge(str(judge_folder)), open_judge(str(tmp_path / "swapped"))
    assert one.nll(["MALK"])[0] == pytest.approx(other.nll(["MLAK"])[0], rel=1e-6)
    assert one.nll(["MALK"])[0] != pytest.approx(other.nll(["MALK"])[0], rel=1e-3)


def _without_weights(folder):
    (folder / "model.safetensors").unlink()


def _without_a_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _with_a_stranger(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file(
        tensors | {"stranger": torch.zeros(2)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def _with_nan(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] = math.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _without_vocabulary(folder):
    (folder / "vocab.txt").unlink()


def _with_word_pieces(folder):
    text = (folder / "vocab.txt").read_text()
    (folder / "vocab.txt").write_text(text.replace("\nW\n", "\nWW\n"))


def _with_own_code(folder):
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}
    config["model_type"] = "evil"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(folder / 'was_run')!r}, 'w')")


def _with_a_broken_config(folder):
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_weights, "has no weights"),
        (_without_a_tensor, "missing_keys: model.norm.weight"),
        (_with_a_stranger, "unexpected_keys: stranger"),
        (_with_nan, "not finite: model.norm.weight"),
        (_without_vocabulary, "no vocab.txt"),
        (_with_word_pieces, "no single token for W"),
        (_with_own_code, "no causal language model we can open"),
        (_with_a_broken_config, "no causal language model we can open"),
    ],
)
def test_a_judge_that_does_not_fit_is_refused_with_the_reason(
    judge_folder, tmp_path, damage, message
):
    folder = tmp_path / "damaged"
    shutil.copytree(judge_folder, folder)
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        open_judge(str(folder))
    assert str(folder) in str(caught.value)
    assert not (folder / "was_run").exists()


def test_an_unknown_judge_without_network_names_the_download_command():
    with pytest.raises(UserError, match="didi-protein download some/judge"):
        open_judge("some/judge", offline=True)


def test_fingerprints_tell_weights_apart(tmp_path):
    one = open_judge(str(write_judge(tmp_path / "one", seed=0)))
    two = open_judge(str(write_judge(tmp_path / "two", seed=1)))
    again = open_judge(str(write_judge(tmp_path / "again", seed=0)))
    assert one.fingerprint == again.fingerprint != two.fingerprint


def test_a_model_folder_gives_pseudo_perplexity(tmp_path):
    scorer = open_masked_scorer(str(write_masked(tmp_path / "masked")))
    assert scorer.max_length == 64
    ids = [PROTEIN.id_of_token[letter] for letter in "MKTAY"]
    assert 0 < exact_pseudo_nll(scorer.denoiser, scorer.vocabulary, ids) < 20


def test_set_measures_by_hand(judge_folder):
    judge = open_judge(str(judge_folder))
    natural = random_sequences(6, 40, 60, seed=1)
    designs = [natural[0], natural[0], natural[1], *random_sequences(2, 50, 60, seed=2)]
    measures = measure_set(
        designs, judge=judge, reference=natural, training=natural[1:], num_calls=[8, 8, 8, 4, 4]
    )
    figures = measures.figures
    assert figures["n"] == 5
    assert figures["precision"]["mean"] == pytest.approx(3 / 5)
    assert figures["recall"] == {"mean": pytest.approx(2 / 6), "n": 6} | {
        key: figures["recall"][key] for key in ("low", "high")
    }
    assert figures["copies"]["mean"] == pytest.approx(1 / 5)
    assert figures["distinct_fraction"] == pytest.approx(4 / 5)
    assert figures["num_clusters"] == figures["num_clusters_95"] == 4
    assert figures["rep_2"]["mean"] == pytest.approx(
        np.mean([repeated_word_share(each, 2) for each in designs])
    )
    assert figures["mean_nfe"] == pytest.approx(6.4)
    assert figures["judge_nll"]["mean"] == pytest.approx(judge.nll(designs).mean())
    assert figures["judge_perplexity"]["mean"] == pytest.approx(
        math.exp(figures["judge_nll"]["mean"])
    )
    assert sum(figures["residue_composition"].values()) == pytest.approx(1)
    assert measures.copied.tolist() == [False, False, True, False, False]


def test_recall_may_ask_for_other_sequences_than_precision(judge_folder):  # noqa: ARG001
    natural, held_out = random_sequences(3, 40, 60, seed=1), random_sequences(4, 40, 60, seed=5)
    figures = measure_set([*natural, held_out[0]], reference=natural, held_out=held_out).figures
    assert figures["precision"]["mean"] == pytest.approx(3 / 4)
    assert figures["recall"]["mean"] == pytest.approx(1 / 4)
    assert figures["judge_nll"] is None


def test_an_empty_set_has_no_figures():
    figures = measure_set([]).figures
    assert figures.pop("n") == 0
    assert figures.pop("residue_composition") == {}
    assert set(figures.values()) == {None}


def test_reference_rows_frame_the_scale(judge_folder):
    judge = open_judge(str(judge_folder))
    held_out, training = random_sequences(9, seed=1), [*random_sequences(7, seed=2), "A" * 65]
    rows = measure_reference_rows(judge, held_out, training, max_sequences=8)
    by_length = rows.pop("by_length")
    assert list(rows) == ["natural_held_out", "natural_training", "residue_shuffled"]
    assert [row["n"] for row in rows.values()] == [8, 7, 8]  # 65 residues are too many to read
    composition = "residue_composition"
    assert rows["residue_shuffled"][composition] == rows["natural_held_out"][composition]
    again = measure_reference_rows(judge, held_out, training, max_sequences=8)
    assert rows | {"by_length": by_length} == again
    alone = measure_reference_rows(judge, None, training)
    assert list(alone) == ["natural_training", "by_length"]


def test_shuffling_keeps_residues_and_is_seeded():
    (shuffled,) = shuffle_residues(["ACDEFGHIKLMNPQRSTVWY"], seed=1)
    assert shuffled != "ACDEFGHIKLMNPQRSTVWY"
    assert sorted(shuffled) == sorted("ACDEFGHIKLMNPQRSTVWY")
    assert shuffle_residues(["ACDEFGHIKLMNPQRSTVWY"], seed=1) == [shuffled]
