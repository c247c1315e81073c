"""Random numbers keyed by (seed, stream, record, position, step), and exact categorical draws.

A draw never depends on the batch it is made in: each uniform is a hash of its key. The hash is a
chain of SplitMix64 finalisers [1]_, computed in wrapping 64-bit integer arithmetic, so that every
device gives the same bits.

.. [1] Steele, Lea, Flood. "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

import enum

import torch
from jaxtyping import Float, Int
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed integer
_MULTIPLIER_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = -7723592293110705685  # 0x94D049BB133111EB
_BLOCK = 1 << 24
"""Most values that are in float64 at once in a draw: 128 MiB a tensor. With 50,000 tokens the rows
of a training step would take tens of gigabytes."""


class Stream(enum.IntEnum):
    """What a uniform is used for. Different uses of one key must not share bits."""

    REVEAL = 1
    TOKEN = 2
    LENGTH = 3
    TIME = 4
    CORRUPT = 5
    ORDER = 6
    CANDIDATE = 7
    NOISE = 8
    REDRAW = 9
    DATA = 10
    PRIOR = 11
    MUTATION = 12
    COMPLETION = 13


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Shift logically: torch's `>>` on int64 copies the sign bit."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _mix(value: Tensor) -> Tensor:
    # SplitMix64's finaliser: each bit of the value comes to flip each bit of the result.
    value = (value ^ _shift_right(value, 30)) * _MULTIPLIER_1
    value = (value ^ _shift_right(value, 27)) * _MULTIPLIER_2
    return value ^ _shift_right(value, 31)


def keyed_hash(
    seed: int, stream: Stream, *keys: Int[Tensor, "..."] | int, device: torch.device | str = "cpu"
) -> Int[Tensor, "..."]:
    """Hash the seed, the stream and the keys, which broadcast against each other, to 64 bits."""
    state = _mix(torch.tensor(seed, device=device) * _GOLDEN + int(stream))
    for key in keys:
        state = _mix(state + (torch.as_tensor(key, device=device) + 1) * _GOLDEN)
    return state


def keyed_uniform(
    seed: int, stream: Stream, *keys: Int[Tensor, "..."] | int, device: torch.device | str = "cpu"
) -> Float[Tensor, "..."]:
    """Return float64 uniforms in the open interval (0, 1), one for each combination of keys.

    Args:
        seed: the user's seed.
        stream: what the numbers are for.
        keys: integers or int64 tensors (record, position, step, ...) that broadcast.
    """
    bits = _shift_right(keyed_hash(seed, stream, *keys, device=device), 12)
    # 52 bits, each cell's middle: neither 0 nor 1, whose logarithms the draws could not take.
    return (bits.double() + 0.5) * 2.0**-52


def keyed_generator(seed: int, stream: Stream, *keys: int) -> torch.Generator:
    """Seed a CPU generator by the key, for training, where the batch is part of the design."""
    value = int(keyed_hash(seed, stream, *keys))
    return torch.Generator().manual_seed(value & (2**63 - 1))


def draw_categorical(
    log_probs: Float[Tensor, "n k"], uniform: Float[Tensor, "n"]
) -> Int[Tensor, "n"]:
    """Draw exactly, by the inverse cumulative distribution, in float64.

    Float32 Gumbel noise lowers the effective temperature (arXiv 2409.02908), so it is not used
    unless a paper is to be reproduced (`draw_gumbel_float32`).

    Args:
        log_probs: normalised or not; -inf entries are never drawn.
        uniform: float64 in (0, 1), one a row.
    """
    rows = max(1, _BLOCK // log_probs.shape[-1])
    if len(log_probs) > rows:
        blocks = zip(log_probs.split(rows), uniform.split(rows), strict=True)
        return torch.cat([draw_categorical(*block) for block in blocks])
    wide = log_probs.double()
    cumulative = (wide - wide.amax(-1, keepdim=True)).exp().cumsum(-1)
    threshold = uniform.double().unsqueeze(-1) * cumulative[..., -1:]
    # The first index whose cumulative mass reaches the threshold has positive probability.
    index = torch.searchsorted(cumulative, threshold).squeeze(-1)
    return index.clamp_max(log_probs.shape[-1] - 1)


def draw_gumbel_float32(
    log_probs: Float[Tensor, "n k"], uniform: Float[Tensor, "n k"]
) -> Int[Tensor, "n"]:
    """Draw by arg-max of log-probabilities plus Gumbel noise in float32, as the papers' code."""
    noise = -(-(uniform.float() + 1e-10).log() + 1e-10).log()
    return (log_probs.float() + noise).argmax(-1)
