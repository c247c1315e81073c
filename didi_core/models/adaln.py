"""The parts of a DiT block that carry the condition: norm, modulation, and the embedded time.

Peebles and Xie, "Scalable diffusion models with transformers" (arXiv 2212.09748), in the form of
SEDD (2310.16834) and MDLM (2406.07524): norms without bias, computed in float32; the condition is
the embedding of sigma = -log alpha, which networks that are not conditioned on time get as 0.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from didi_core.errors import UserError

NUM_FREQUENCIES = 256
"""Width of the sinusoidal features of sigma."""
LONGEST_PERIOD = 10_000.0
LOWEST_TRAINED_ALPHA = 1e-3
"""Published training stops at this alpha; below it a network never saw its time."""


class ScaleNorm(nn.Module):
    """Layer norm with a weight and no bias, in float32 or better, back in the input's dtype."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, hidden: Float[Tensor, "*n hidden"]) -> Float[Tensor, "*n hidden"]:
        wide = hidden if hidden.dtype == torch.float64 else hidden.float()
        normed = F.layer_norm(wide, self.weight.shape, self.weight.to(wide.dtype))
        return normed.to(hidden.dtype)


def modulate(
    hidden: Float[Tensor, "*n hidden"],
    shift: Float[Tensor, "*rows hidden"],
    scale: Float[Tensor, "*rows hidden"],
) -> Float[Tensor, "*n hidden"]:
    """Return hidden * (1 + scale) + shift, broadcast over the tokens that share a condition."""
    return torch.addcmul(shift, hidden, 1 + scale)


class SigmaEmbedding(nn.Module):
    """sigma of each row to a condition: sinusoids, Linear, SiLU, Linear, SiLU."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mlp_in = nn.Linear(NUM_FREQUENCIES, size)
        self.mlp_out = nn.Linear(size, size)

    def forward(self, sigma: Float[Tensor, "rows"]) -> Float[Tensor, "rows condition"]:
        features = sinusoids(sigma).to(self.mlp_in.weight.dtype)
        return F.silu(self.mlp_out(F.silu(self.mlp_in(features))))


def sinusoids(sigma: Float[Tensor, "rows"]) -> Float[Tensor, "rows frequencies"]:
    """Return cosines, then sines, of sigma; frequencies fall from 1 to near 1 / LONGEST_PERIOD."""
    half = NUM_FREQUENCIES // 2
    wide = sigma if sigma.dtype == torch.float64 else sigma.float()
    exponent = torch.arange(half, device=sigma.device, dtype=wide.dtype) / half
    angle = wide[:, None] * torch.exp(-math.log(LONGEST_PERIOD) * exponent)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def sigma_of_alpha(alpha: Float[Tensor, "rows"]) -> Float[Tensor, "rows"]:
    """Return -log alpha, the total noise by which the published networks know the time."""
    return -alpha.clamp_min(LOWEST_TRAINED_ALPHA).log()


def require_alpha(alpha: Float[Tensor, "rows"] | None) -> Float[Tensor, "rows"]:
    """Return `alpha` itself, of a network that is conditioned on time.

    Raises:
        UserError: it is None.
    """
    if alpha is None:
        raise UserError(
            "This network is conditioned on time, which this method or sampler does not "
            "tell it: use a network that is not (MDLM's), or a sampler made for it."
        )
    return alpha
