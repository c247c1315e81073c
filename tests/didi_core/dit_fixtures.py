"""Tiny DiT weights in which every tensor is random, and the published layout written out plainly.

`plain_logits` follows the papers (adaLN: arXiv 2212.09748; layout: 2310.16834 and 2406.07524) one
row, one position and one head at a time, in float64. Weights come from NumPy's frozen legacy
generator, so that numbers computed elsewhere from the same seed stay comparable.
"""

import math

import numpy as np
import torch
from torch import Tensor

from didi_core.data.vocabulary import Vocabulary
from didi_core.models.dit import DitDenoiser, DitSettings
from didi_core.models.dit_names import from_published

LAYERS, HIDDEN, HEADS, CONDITION, VOCABULARY = 3, 16, 2, 12, 15
MASK = VOCABULARY - 1
SETTINGS = DitSettings(VOCABULARY, LAYERS, HIDDEN, HEADS, MASK, CONDITION, max_tokens=64)
WORDS = Vocabulary(
    tokens=(*(f"w{index}" for index in range(VOCABULARY - 1)), "<mask>"),
    mask_id=MASK,
    pad_id=MASK - 1,
    generable_ids=tuple(range(VOCABULARY - 1)),
)
"""As with GPT-2: every id but the mask may be generated, and padding has an ordinary id."""


def published_shapes(
    layers: int = LAYERS, hidden: int = HIDDEN, condition: int = CONDITION, words: int = VOCABULARY
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published network's parameters, in its own order."""
    shapes: dict[str, tuple[int, ...]] = {"vocab_embed.embedding": (words, hidden)}

    def linear(name: str, size_out: int, size_in: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (size_out, size_in)
        if bias:
            shapes[f"{name}.bias"] = (size_out,)

    linear("sigma_map.mlp.0", condition, 256)
    linear("sigma_map.mlp.2", condition, condition)
    for layer in range(layers):
        block = f"blocks.{layer}"
        shapes[f"{block}.norm1.weight"] = (hidden,)
        linear(f"{block}.attn_qkv", 3 * hidden, hidden, bias=False)
        linear(f"{block}.attn_out", hidden, hidden, bias=False)
        shapes[f"{block}.norm2.weight"] = (hidden,)
        linear(f"{block}.mlp.0", 4 * hidden, hidden)
        linear(f"{block}.mlp.2", hidden, 4 * hidden)
        linear(f"{block}.adaLN_modulation", 6 * hidden, condition)
    shapes["output_layer.norm_final.weight"] = (hidden,)
    linear("output_layer.linear", words, hidden)
    linear("output_layer.adaLN_modulation", 2 * hidden, condition)
    return shapes


def discriminator_shapes(
    hidden: int = HIDDEN, words: int = VOCABULARY
) -> dict[str, tuple[int, ...]]:
    """DiDi-Instruct's: the output layer replaced by a head under the older spectral norm."""
    whole = published_shapes(words=words)
    shapes = {n: s for n, s in whole.items() if not n.startswith("output_layer")}
    for index, size_out in ((0, hidden), (2, 1)):
        part = f"output_layer.main.{index}"
        shapes[f"{part}.bias"] = (size_out,)
        shapes[f"{part}.weight_orig"] = (size_out, hidden)
        shapes[f"{part}.weight_u"] = (size_out,)
        shapes[f"{part}.weight_v"] = (hidden,)
    return shapes


def draw(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Float32 tensors, all random: norms around one, everything else around zero."""
    source = np.random.RandomState(seed)
    return {
        name: torch.from_numpy(0.4 * source.standard_normal(shape) + ("norm" in name)).float()
        for name, shape in shapes.items()
    }


def published_weights(seed: int = 0) -> dict[str, Tensor]:
    return draw(published_shapes(), seed)


def tiny_dit(seed: int = 0, settings: DitSettings = SETTINGS) -> DitDenoiser:
    return from_published(published_weights(seed), settings, "fixture").eval()


def token_rows(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Rows of lengths 7, 4, 6 and 1, padded; about a third masked."""
    source = np.random.RandomState(seed)
    lengths = torch.tensor([7, 4, 6, 1])
    tokens = torch.from_numpy(source.randint(0, VOCABULARY - 1, (4, 7)))
    tokens[torch.from_numpy(source.uniform(size=(4, 7)) < 0.35)] = MASK
    tokens[torch.arange(7) >= lengths[:, None]] = WORDS.pad_id
    return tokens, lengths


def real_logits(
    denoiser: DitDenoiser, tokens: Tensor, lengths: Tensor, alpha: Tensor | None = None
) -> Tensor:
    """Of every real position, from one padded batch."""
    at = torch.arange(tokens.shape[1]) < lengths[:, None]
    with torch.no_grad():
        return denoiser.logits_at(tokens, lengths, at, alpha=alpha)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def plain_logits(
    weights: dict[str, Tensor], tokens: Tensor, lengths: Tensor, sigma: list[float]
) -> Tensor:
    """Logits of every real position."""
    wide = {name: tensor.double() for name, tensor in weights.items()}
    rows = zip(tokens, lengths.tolist(), sigma, strict=True)
    return torch.cat([_plain_row(wide, row[:length], s) for row, length, s in rows])


def plain_causal_logits(weights: dict[str, Tensor], row: Tensor, heads: int = HEADS) -> Tensor:
    """Logits of every position of the autoregressive network, which has no condition."""
    wide = {name: tensor.double() for name, tensor in weights.items()}
    stream = torch.stack([wide["vocab_embed.embedding"][token] for token in row])
    for layer in range(LAYERS):
        stream = _plain_block(wide, f"blocks.{layer}", stream, None, heads)
    final = _normal(stream) * wide["output_layer.norm_final.weight"]
    return _affine(wide, "output_layer.linear", final)


def _plain_row(weights: dict[str, Tensor], row: Tensor, sigma: float) -> Tensor:
    condition = _plain_condition(weights, sigma)
    stream = torch.stack([weights["vocab_embed.embedding"][token] for token in row])
    layers = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    for layer in range(layers):
        stream = _plain_block(weights, f"blocks.{layer}", stream, condition)
    shift, scale = _affine(weights, "output_layer.adaLN_modulation", condition).chunk(2)
    final = _normal(stream) * weights["output_layer.norm_final.weight"] * (1 + scale) + shift
    return _affine(weights, "output_layer.linear", final)


def _plain_condition(weights: dict[str, Tensor], sigma: float) -> Tensor:
    waves = [sigma * 10_000.0 ** (-index / 128) for index in range(128)]
    features = [math.cos(wave) for wave in waves] + [math.sin(wave) for wave in waves]
    inner = _silu(_affine(weights, "sigma_map.mlp.0", torch.tensor(features).double()))
    return _silu(_affine(weights, "sigma_map.mlp.2", inner))


def _plain_block(
    weights: dict[str, Tensor],
    block: str,
    stream: Tensor,
    condition: Tensor | None,
    heads: int = HEADS,
) -> Tensor:
    """One block; without a condition it is the autoregressive network's: under a causal mask."""
    causal = condition is None
    parts = (
        (0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
        if condition is None
        else _affine(weights, f"{block}.adaLN_modulation", condition).chunk(6)
    )
    normed = _normal(stream) * weights[f"{block}.norm1.weight"] * (1 + parts[1]) + parts[0]
    projected = normed @ weights[f"{block}.attn_qkv.weight"].T
    per_head = HIDDEN // heads
    mixed = torch.empty_like(stream)
    for head in range(heads):
        here = slice(head * per_head, (head + 1) * per_head)
        query, key, value = (part[:, here] for part in projected.chunk(3, dim=1))
        scores = _turned(query) @ _turned(key).conj().T
        later = torch.ones_like(scores.real).triu(1).bool() & causal
        shares = (scores.real / per_head**0.5).masked_fill(later, -math.inf).softmax(-1)
        mixed[:, here] = shares @ value
    stream = stream + parts[2] * (mixed @ weights[f"{block}.attn_out.weight"].T)
    normed = _normal(stream) * weights[f"{block}.norm2.weight"] * (1 + parts[4]) + parts[3]
    inner = _affine(weights, f"{block}.mlp.0", normed)
    gelu = inner / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
    return stream + parts[5] * _affine(weights, f"{block}.mlp.2", gelu)


def _turned(states: Tensor) -> Tensor:
    """Channel i and channel i + half as one complex number, turned by position * frequency."""
    half = states.shape[1] // 2
    paired = torch.complex(states[:, :half], states[:, half:])
    frequency = 10_000.0 ** (-torch.arange(half).double() / half)
    angle = torch.arange(len(states)).double()[:, None] * frequency
    return paired * torch.polar(torch.ones_like(angle), angle)


def _normal(stream: Tensor) -> Tensor:
    centred = stream - stream.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()


def _affine(weights: dict[str, Tensor], name: str, states: Tensor) -> Tensor:
    return states @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _silu(states: Tensor) -> Tensor:
    return states / (1 + (-states).exp())
