"""ESMC through transformers: against the library's own forward pass, one sequence at a time.

And ESM++ (FastPLMs), its tensors under their exact names, against its equations written out here.
"""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from scoring_fixtures import random_sequences, randomise
from torch import Tensor
from torch.nn import functional as F

from didi_core.errors import UserError
from didi_core.evaluation.pseudo import exact_pseudo_nll
from didi_protein.models import esmc
from didi_protein.models.judges import open_masked_scorer
from didi_protein.models.load import open_model
from didi_protein.scoring.embedding import embed_sequences
from didi_protein.sequences.alphabet import CANONICAL_RESIDUES, PROTEIN

SEQUENCES = random_sequences(5, shortest=4, longest=30, seed=3)
TOLERANCE = 1e-5
WIDTH, HEADS, LAYERS, INNER, WORDS = 24, 3, 2, 256, 64
PLUS_CONFIG = {
    "architectures": ["ESMplusplusForMaskedLM"],
    "attn_backend": "sdpa",
    "auto_map": {"AutoModelForMaskedLM": "modeling_esm_plusplus.ESMplusplusForMaskedLM"},
    "dropout": 0.0,
    "hidden_size": WIDTH,
    "initializer_range": 0.02,
    "model_type": "ESMplusplus",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.47.1",
    "vocab_size": WORDS,
}
"""Of Synthyra/ESMplusplus_small, but for its sizes: the inner width is not stated."""


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


# ESM++.


def plus_weights(seed: int = 3) -> dict[str, Tensor]:
    shapes = {"embed.weight": (WORDS, WIDTH), "transformer.norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        block = {
            "attn.layernorm_qkv.0.weight": (WIDTH,),
            "attn.layernorm_qkv.0.bias": (WIDTH,),
            "attn.layernorm_qkv.1.weight": (3 * WIDTH, WIDTH),
            "attn.out_proj.weight": (WIDTH, WIDTH),
            "attn.q_ln.weight": (WIDTH,),
            "attn.k_ln.weight": (WIDTH,),
            "ffn.0.weight": (WIDTH,),
            "ffn.0.bias": (WIDTH,),
            "ffn.1.weight": (2 * INNER, WIDTH),
            "ffn.3.weight": (WIDTH, INNER),
        }
        shapes |= {f"transformer.blocks.{layer}.{name}": shape for name, shape in block.items()}
    for place, shape in (("0", (WIDTH, WIDTH)), ("2", (WIDTH,)), ("3", (WORDS, WIDTH))):
        shapes[f"sequence_head.{place}.weight"] = shape
        shapes[f"sequence_head.{place}.bias"] = shape[:1]
    drawn = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=drawn) * 0.3 for name, shape in shapes.items()}


def plus_logits(weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """ESM++'s equations for one sequence without padding: logits [length, 64]."""

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (WIDTH,), weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    def rotate(x: Tensor) -> Tensor:
        half = WIDTH // HEADS // 2
        angles = torch.arange(len(x))[:, None] * 10_000 ** (-torch.arange(half) / half)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        first, second = x.unflatten(-1, (HEADS, 2 * half)).split(half, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    hidden = weights["embed.weight"][tokens]
    shrink = math.sqrt(LAYERS / 36)
    for layer in range(LAYERS):
        at = f"transformer.blocks.{layer}."
        inputs = norm(hidden, f"{at}attn.layernorm_qkv.0")
        query, key, value = (inputs @ weights[f"{at}attn.layernorm_qkv.1.weight"].T).chunk(3, -1)
        query, key = rotate(norm(query, f"{at}attn.q_ln")), rotate(norm(key, f"{at}attn.k_ln"))
        scores = torch.einsum("ihd,jhd->hij", query, key) / math.sqrt(WIDTH // HEADS)
        read = torch.einsum("hij,jhd->ihd", scores.softmax(-1), value.unflatten(-1, (HEADS, -1)))
        hidden = hidden + read.flatten(1) @ weights[f"{at}attn.out_proj.weight"].T / shrink
        gate, up = (norm(hidden, f"{at}ffn.0") @ weights[f"{at}ffn.1.weight"].T).chunk(2, -1)
        hidden = hidden + (F.silu(gate) * up) @ weights[f"{at}ffn.3.weight"].T / shrink
    hidden = norm(hidden, "transformer.norm")
    hidden = hidden @ weights["sequence_head.0.weight"].T + weights["sequence_head.0.bias"]
    hidden = norm(F.gelu(hidden), "sequence_head.2")
    return hidden @ weights["sequence_head.3.weight"].T + weights["sequence_head.3.bias"]


def write_plus(folder: Path, weights: dict[str, Tensor], **changes: object) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**PLUS_CONFIG, **changes}))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_esm_plus_plus_is_its_equations(tmp_path):
    weights = plus_weights()
    tokens = torch.tensor([0, 5, 32, 12, 7, 7, 20, 2, 1, 1])
    scorer = open_masked_scorer(str(write_plus(tmp_path / "m", weights)))
    assert scorer.max_length == 2046
    with torch.no_grad():
        hidden = scorer.denoiser.trunk(tokens[None], torch.tensor([8]))[0, :8]
        found, expected = scorer.denoiser.head(hidden), plus_logits(weights, tokens[:8])
    scale = expected.abs().max()
    assert (found - expected).abs().max() < TOLERANCE * scale
    first = "transformer.blocks.0.attn.layernorm_qkv.1.weight"
    for name in ("transformer.blocks.1.ffn.1.weight", first):
        swapped = {**weights, name: weights[name].roll(WIDTH, dims=0)}
        assert (plus_logits(swapped, tokens[:8]) - expected).abs().max() > 100 * TOLERANCE * scale


def test_another_esm_plus_plus_is_refused(tmp_path):
    weights = plus_weights()
    lost = weights.pop("transformer.blocks.1.attn.q_ln.weight")
    folder = write_plus(tmp_path / "lost", {**weights, "transformer.blocks.1.extra": lost})
    with pytest.raises(UserError, match=r"layers\.1\.self_attn\.q_norm\.weight.*blocks\.1\.extra"):
        open_masked_scorer(str(folder))
    with pytest.raises(UserError, match=r"ESMplusplus.*neither drawn from nor trained"):
        open_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": "24", "num_attention_heads": 0}, "positive hidden_size, num_attention_h"),
        ({"num_attention_heads": 5}, "no ESMC: .*24.*5"),
        ({"vocab_size": 33}, "another vocabulary: vocab_size in config.json is 33"),
        ({"num_hidden_layers": 3}, r"layers\.2\."),
    ],
)
def test_another_config_of_esm_plus_plus_is_refused(tmp_path, changes, message):
    folder = write_plus(tmp_path / "m", plus_weights(), **changes)
    with pytest.raises(UserError, match=f"--pseudo .*{message}"):
        open_masked_scorer(str(folder))
