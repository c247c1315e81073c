"""ESMC through transformers: against the library's own forward pass, one sequence at a time."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from scoring_fixtures import random_sequences, randomise

from didi_core.errors import UserError
from didi_core.evaluation.pseudo import exact_pseudo_nll
from didi_protein.models import esmc
from didi_protein.models.judges import open_masked_scorer
from didi_protein.scoring.embedding import embed_sequences
from didi_protein.sequences.alphabet import CANONICAL_RESIDUES, PROTEIN

SEQUENCES = random_sequences(5, shortest=4, longest=30, seed=3)
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every tensor at random; queries and keys large, so that attention looks somewhere."""
    config = transformers.EsmcConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=66,
    )
    network = randomise(transformers.EsmcForMaskedLM(config), seed=5)
    with torch.no_grad():
        for layer in network.esmc.layers:
            for part in (layer.self_attn.q_norm, layer.self_attn.k_norm, layer.self_attn.o_proj):
                part.weight.mul_(4.0)
    place = tmp_path_factory.mktemp("esmc")
    network.save_pretrained(place)
    return place


def of_library(network, sequence):
    """Pseudo-NLL and mean hidden state by the library alone: one row, no padding, no mask."""
    tokenizer = transformers.EsmcTokenizer()
    tokens = tokenizer(sequence, return_tensors="pt")["input_ids"]
    letters, total = [tokenizer.convert_tokens_to_ids(each) for each in CANONICAL_RESIDUES], 0.0
    with torch.no_grad():
        for position, residue in enumerate(sequence, start=1):
            shown = tokens.clone()
            shown[0, position] = tokenizer.mask_token_id
            logits = network(input_ids=shown).logits[0, position, letters].double()
            total -= float(logits.log_softmax(-1)[CANONICAL_RESIDUES.index(residue)])
        hidden = network.esmc(input_ids=tokens).last_hidden_state[0, 1:-1]
    return total / len(sequence), hidden.mean(0).numpy()


def ours(scorer):
    ids = [[PROTEIN.id_of_token[letter] for letter in each] for each in SEQUENCES]
    nll = [exact_pseudo_nll(scorer.denoiser, PROTEIN, each, batch_tokens=500) for each in ids]
    return np.array(nll), embed_sequences(scorer, SEQUENCES)


def _swap_two_heads(network):
    weight = network.esmc.layers[0].self_attn.q_proj.weight
    with torch.no_grad():
        weight.copy_(weight.roll(8, dims=0))


def _exchange_query_and_key(network):
    attention = network.esmc.layers[1].self_attn
    attention.q_proj, attention.k_proj = attention.k_proj, attention.q_proj


def _skip_a_layer(network):
    network.esmc.layers = network.esmc.layers[:-1]


def test_pseudo_likelihood_and_embeddings_are_the_librarys(folder):
    library = transformers.EsmcForMaskedLM.from_pretrained(folder).eval()
    expected = [of_library(library, each) for each in SEQUENCES]
    nll, hidden = (np.array(each) for each in zip(*expected, strict=True))
    scorer = open_masked_scorer(str(folder))
    assert scorer.max_length == 64 and not scorer.predicts_visible
    found = ours(scorer)
    np.testing.assert_allclose(found[0], nll, rtol=TOLERANCE)
    np.testing.assert_allclose(found[1], hidden, rtol=TOLERANCE, atol=TOLERANCE)
    for damage in (_swap_two_heads, _exchange_query_and_key, _skip_a_layer):
        broken = open_masked_scorer(str(folder))
        damage(broken.denoiser.network)
        assert (np.abs(ours(broken)[0] - nll) / nll).max() > 100 * TOLERANCE, damage
    broken = open_masked_scorer(str(folder))
    plain = broken.denoiser.network.esmc.forward
    broken.denoiser.network.esmc.forward = lambda input_ids, attention_mask: plain(input_ids)  # noqa: ARG005
    assert np.abs(ours(broken)[1] - hidden).max() > 100 * TOLERANCE  # padding is read


def test_what_does_not_fit_is_refused(folder, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    left_out = weights.pop("esmc.layers.1.self_attn.q_norm.weight")
    save_file({**weights, "extra": left_out.clone()}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"--pseudo .*layers\.1\.self_attn\.q_norm.*, extra"):
        open_masked_scorer(str(tmp_path))
    with pytest.raises(UserError, match="didi-protein download biohub/ESMC-300M"):
        open_masked_scorer("esmc_300m", offline=True)
    monkeypatch.setattr(esmc, "transformers", SimpleNamespace(__version__="5.3.0"))
    with pytest.raises(UserError, match=r"--embedding .* pip install -U 'transformers>=5\.16'"):
        open_masked_scorer(str(folder), flag="--embedding")
