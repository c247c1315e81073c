"""ESM-2 through fair-esm: a checkpoint in its form, against its own loader and network."""

import argparse
import sys
import types

import numpy as np
import pytest
import torch
from esm.pretrained import load_model_and_alphabet_core
from scoring_fixtures import random_sequences, randomise
from transformers import EsmConfig, EsmForMaskedLM

from didi_core.errors import UserError
from didi_core.evaluation.pseudo import exact_pseudo_nll, one_pass_pseudo_nll
from didi_protein.models.esm2 import PUBLISHED, is_esm2_name, load_esm2, weights_path
from didi_protein.models.judges import open_masked_scorer
from didi_protein.scoring.scorers import PseudoScorer
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.fasta import ProteinRecord
from didi_protein.sequences.residues import CANONICAL_RESIDUES

NAME = "esm2_t6_8M_UR50D"
SEQUENCES = random_sequences(5, shortest=4, longest=30, seed=3)
LAYERS, WIDTH, HEADS = 3, 24, 4
TOLERANCE = 1e-5


def published_form(network, token_dropout=True) -> dict:
    """A checkpoint as fair-esm publishes them: a Namespace, and names with the encoder's prefix."""
    shape = argparse.Namespace(
        encoder_layers=LAYERS,
        encoder_embed_dim=WIDTH,
        encoder_attention_heads=HEADS,
        token_dropout=token_dropout,
    )
    state = {
        f"encoder.{'' if name.startswith('lm_head') else 'sentence_encoder.'}{name}": tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith("contact_head")
    }
    return {"cfg": {"model": shape}, "model": state}


@pytest.fixture(scope="module")
def checkpoint():
    import esm

    network = esm.ESM2(num_layers=LAYERS, embed_dim=WIDTH, attention_heads=HEADS)
    randomise(network, seed=5)
    # So that attention looks at some places more than others: else its mistakes would not show.
    with torch.no_grad():
        for layer in network.layers:
            for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.out_proj):
                part.weight.mul_(4.0)
    return published_form(network)


@pytest.fixture
def stored(checkpoint, tmp_path, monkeypatch):
    """The checkpoint where torch hub keeps it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    path = weights_path(NAME)
    path.parent.mkdir(parents=True)
    torch.save(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def reference(checkpoint):
    """fair-esm's network, filled by fair-esm's own loader, and its alphabet."""
    regression = {
        "contact_head.regression.weight": torch.zeros(1, LAYERS * HEADS),
        "contact_head.regression.bias": torch.zeros(1),
    }
    content = {**checkpoint, "model": dict(checkpoint["model"])}
    network, alphabet = load_model_and_alphabet_core(NAME, content, {"model": regression})
    return network.eval(), alphabet


def pseudo_nll(network, alphabet, sequence: str, masked: bool) -> float:
    """By fair-esm alone: its batch converter, one row, no padding, one position at a time."""
    _, _, tokens = alphabet.get_batch_converter()([("", sequence)])
    letters = [alphabet.get_idx(residue) for residue in CANONICAL_RESIDUES]
    total = 0.0
    for position in range(1, len(sequence) + 1):
        shown = tokens.clone()
        if masked:
            shown[0, position] = alphabet.mask_idx
        with torch.no_grad():
            logits = network(shown)["logits"][0, position, letters].double()
        rank = CANONICAL_RESIDUES.index(sequence[position - 1])
        total -= float(logits.log_softmax(-1)[rank])
    return total / len(sequence)


def ids_of(sequence: str) -> list[int]:
    return [PROTEIN.id_of_token[letter] for letter in sequence]


def ours(denoiser, batch_tokens=8192) -> np.ndarray:
    return np.array(
        [exact_pseudo_nll(denoiser, PROTEIN, ids_of(each), batch_tokens) for each in SEQUENCES]
    )


def test_where_fair_esms_file_is_not_here_the_hugging_face_copy_serves(tmp_path, monkeypatch):
    """A random ESM-2 as transformers saves it, in the cache under the hub's id."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit = "0" * 40
    place = tmp_path / "models--facebook--esm2_t6_8M_UR50D"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    config = EsmConfig(
        **{"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS},
        **{"intermediate_size": 4 * WIDTH, "vocab_size": 33, "mask_token_id": 32},
        **{"pad_token_id": 1, "position_embedding_type": "rotary", "token_dropout": True},
        emb_layer_norm_before=False,
    )
    EsmForMaskedLM(config).save_pretrained(place / "snapshots" / commit)
    scorer = open_masked_scorer(NAME, offline=True)
    assert scorer.name == NAME and scorer.predicts_visible
    assert 0 < exact_pseudo_nll(scorer.denoiser, scorer.vocabulary, ids_of("MKTAY")) < 20


def test_exact_and_one_pass_are_fair_esms(stored, reference):  # noqa: ARG001
    denoiser = load_esm2(NAME)
    expected = np.array([pseudo_nll(*reference, each, masked=True) for each in SEQUENCES])
    np.testing.assert_allclose(ours(denoiser), expected, rtol=TOLERANCE)
    one_pass = one_pass_pseudo_nll(denoiser, PROTEIN, [ids_of(each) for each in SEQUENCES])
    seen = np.array([pseudo_nll(*reference, each, masked=False) for each in SEQUENCES])
    np.testing.assert_allclose(one_pass, seen, rtol=TOLERANCE)
    assert (np.abs(seen - expected) / expected).max() > 100 * TOLERANCE


def _drop_token_dropout(network):
    network.token_dropout = False


def _skip_a_layer(network):
    network.num_layers -= 1
    network.layers = network.layers[:-1]


def _swap_two_heads(network):
    size = WIDTH // HEADS
    order = torch.arange(WIDTH)
    order[:size], order[size : 2 * size] = torch.arange(size, 2 * size), torch.arange(size)
    attention = network.layers[0].self_attn
    with torch.no_grad():  # in the queries alone: in all three it would change nothing
        attention.q_proj.weight.copy_(attention.q_proj.weight[order])
        attention.q_proj.bias.copy_(attention.q_proj.bias[order])


def _exchange_query_and_key(network):
    attention = network.layers[1].self_attn
    attention.q_proj, attention.k_proj = attention.k_proj, attention.q_proj


def _forget_the_final_norm(network):
    network.emb_layer_norm_after = torch.nn.Identity()


@pytest.mark.parametrize(
    "damage",
    [
        _drop_token_dropout,
        _skip_a_layer,
        _swap_two_heads,
        _exchange_query_and_key,
        _forget_the_final_norm,
    ],
)
def test_the_comparison_notices_a_wrong_network(stored, reference, damage):  # noqa: ARG001
    denoiser = load_esm2(NAME)
    right = ours(denoiser)
    damage(denoiser.network)
    assert (np.abs(ours(denoiser) - right) / right).max() > 100 * TOLERANCE


def test_batch_size_and_padding_change_nothing(stored):  # noqa: ARG001
    denoiser = load_esm2(NAME).double()
    together, alone = ours(denoiser), ours(denoiser, batch_tokens=1)
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    ids = [ids_of(each) for each in SEQUENCES]
    batched = one_pass_pseudo_nll(denoiser, PROTEIN, ids)
    singly = [one_pass_pseudo_nll(denoiser, PROTEIN, [each])[0] for each in ids]
    np.testing.assert_allclose(batched, singly, rtol=1e-12)
    tokens = torch.tensor([PROTEIN.frame(ids[0])])
    longer = torch.nn.functional.pad(tokens, (0, 40), value=PROTEIN.pad_id)
    lengths = torch.tensor([tokens.shape[1]])
    with torch.no_grad():
        narrow, wide = denoiser.trunk(tokens, lengths), denoiser.trunk(longer, lengths)
    torch.testing.assert_close(wide[:, : tokens.shape[1]], narrow, rtol=1e-12, atol=1e-12)
    # Padding that is not told apart would show.
    as_residues = longer.masked_fill(longer == PROTEIN.pad_id, ids[0][0])
    with torch.no_grad():
        shown = denoiser.trunk(as_residues, lengths)[:, : tokens.shape[1]]
    assert (shown - narrow).abs().max() > 1e-3


def test_both_columns_stand_beside_each_other(stored, reference):  # noqa: ARG001
    records = [ProteinRecord(str(place), each) for place, each in enumerate(SEQUENCES)]
    rows = PseudoScorer(open_masked_scorer(NAME), 256, "float32").score(records)
    for row, sequence in zip(rows, SEQUENCES, strict=True):
        exact = np.exp(pseudo_nll(*reference, sequence, masked=True))
        one_pass = np.exp(pseudo_nll(*reference, sequence, masked=False))
        assert row["pseudo_perplexity"] == pytest.approx(exact, rel=2e-5)
        assert row["pseudo_perplexity_one_pass"] == pytest.approx(one_pass, rel=2e-5)


def test_weights_stored_in_half_precision_are_computed_in_float32(stored, checkpoint):
    halved = {name: tensor.half() for name, tensor in checkpoint["model"].items()}
    torch.save({**checkpoint, "model": halved}, stored)
    network = load_esm2(NAME).network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_every_published_size_has_a_name_and_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in PUBLISHED:
        assert is_esm2_name(name)
        with pytest.raises(UserError, match=f"run `didi-protein download {name}`"):
            load_esm2(name)
    with pytest.raises(UserError, match=r"no ESM-2 of that name; .*esm2_t6_8M_UR50D"):
        load_esm2("esm2_t7_9M_UR50D")


def test_a_checkpoint_that_runs_code_is_refused_and_not_run(stored, tmp_path):
    witness = tmp_path / "was_run"

    class Evil:
        def __reduce__(self):
            return open, (str(witness), "w")

    torch.save({"cfg": {"model": Evil()}, "model": {}}, stored)
    with pytest.raises(UserError, match=r"needs (io|_io|builtins)\.open to be read"):
        load_esm2(NAME)
    assert not witness.exists()


def test_the_newer_package_of_the_same_name_is_told_apart(stored, monkeypatch):  # noqa: ARG001
    newer = types.ModuleType("esm")
    newer.__version__, newer.__file__ = "3.2.0", "/env/esm/__init__.py"
    monkeypatch.setitem(sys.modules, "esm", newer)
    with pytest.raises(UserError, match=r"/env/esm/__init__\.py is not fair-esm") as caught:
        load_esm2(NAME)
    assert "pip uninstall --yes esm fair-esm" in str(caught.value)
    monkeypatch.setitem(sys.modules, "esm", None)
    with pytest.raises(UserError, match="pip install fair-esm"):
        load_esm2(NAME)


def test_files_that_do_not_fit_are_refused(stored):
    content = torch.load(stored, weights_only=False)
    del content["model"]["encoder.lm_head.bias"]
    for wrong, told in (
        (content, r"missing or unexpected lm_head\.bias"),
        ({"something": 1}, "no checkpoint of ESM-2"),
    ):
        torch.save(wrong, stored)
        with pytest.raises(UserError, match=told):
            open_masked_scorer(NAME)
