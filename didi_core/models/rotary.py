"""Rotary position embedding (RoFormer, arXiv 2104.09864), halves convention of ESM-2 and MDLM."""

import torch
from jaxtyping import Float
from torch import Tensor


def inverse_frequencies(head_dim: int, base: float = 10_000.0) -> Float[Tensor, "half"]:
    """Return the radians a position by which each pair of channels turns, in float32 on the CPU."""
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float32)
    return 1.0 / (base ** (exponent / head_dim))


class RotaryCache:
    """Cosines and sines in float32, computed once for the widest input seen on each device."""

    def __init__(self, head_dim: int, base: float = 10_000.0) -> None:
        self.head_dim = head_dim
        self.base = base
        self._table: tuple[Tensor, Tensor] | None = None

    def table(
        self, width: int, device: torch.device
    ) -> tuple[Float[Tensor, "width head_dim"], Float[Tensor, "width head_dim"]]:
        cached = self._table
        if cached is None or cached[0].shape[0] < width or cached[0].device != device:
            cached = self._table = self._compute(width, device)
        return cached[0][:width], cached[1][:width]

    def _compute(self, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
        inverse_frequency = inverse_frequencies(self.head_dim, self.base).to(device)
        position = torch.arange(width, device=device, dtype=torch.float32)
        angle = position[:, None] * inverse_frequency
        angle = torch.cat([angle, angle], dim=-1)
        return angle.cos(), angle.sin()


def rotate(
    states: Float[Tensor, "*n head_dim"],
    cosine: Float[Tensor, "*places head_dim"],
    sine: Float[Tensor, "*places head_dim"],
) -> Float[Tensor, "*n head_dim"]:
    """Rotate queries or keys, in float32 or better, back in their own dtype.

    Args:
        states: [batch, heads, width, head_dim], or packed [tokens, heads, head_dim].
        cosine: of all rows alike, or where rows stand at positions of their own with axes before
            that broadcast against those of the states; so the sine.
    """
    half = states.shape[-1] // 2
    wide = states if states.dtype == torch.float64 else states.float()
    # Channels i and i + half are a point (x, y): x cos - y sin, and y cos + x sin.
    turned = torch.cat([-wide[..., half:], wide[..., :half]], dim=-1)
    return (wide * cosine + turned * sine).to(states.dtype)
