"""From Gaussian to uniform-state diffusion: the schedule T that the argmax of Gaussian noise has.

Duo [1]_, section 3.1: for a one-hot vector x of K tokens and w_t = alpha~ x + sigma~ epsilon, with
alpha~^2 + sigma~^2 = 1, the token argmax(w_t) follows the uniform process with alpha = T(alpha~).
With gamma = -log SNR, so that alpha~ = sqrt(sigmoid(-gamma)), the true token is the largest with
probability

    I(gamma) = integral of N(z; exp(-gamma / 2), 1) Phi(z)^(K - 1) dz,    T = (K I - 1) / (K - 1).

All of it depends on K: the paper's ranges of gamma are those of its vocabularies. Here a range is
solved from the values of T at its ends.

.. [1] Sahoo et al. "The diffusion duality", arXiv 2506.10892.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

CURRICULUM_ENDS = (0.95, 0.05)
"""T at the ends of the Gaussian curriculum's times."""
DCD_ENDS = (0.9987, 0.0062)
"""T at the ends of discrete consistency distillation's times."""

_REACH, _GAP = 12.0, 0.025
"""Nodes of the trapezoid rule, in deviations: on this line its error is far below rounding for any
K that memory holds, because the integrand is analytic and vanishes at both ends."""
_GAMMA_BRACKET = (-20.0, 20.0)


def transformation(
    gamma: Float[Tensor, "*n"], num_tokens: int
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Return T and its derivative with respect to gamma, in float64.

    Args:
        gamma: -log of the signal-to-noise ratio.
        num_tokens: K, at least 2.
    """
    # alpha~ / sigma~, the true token's mean where every entry has deviation one.
    mean = (-gamma.double() / 2).exp()
    node = torch.arange(-_REACH, _REACH + _GAP / 2, _GAP, dtype=torch.float64, device=gamma.device)
    density = (-node.square() / 2).exp() / math.sqrt(2 * math.pi) * _GAP
    # N(z; mean, 1) is the density of node = z - mean; its slope in the mean is node times itself.
    # Phi(z)^(K - 1): the chance that none of the others is larger.
    others = ((num_tokens - 1) * torch.special.log_ndtr(node + mean.unsqueeze(-1))).exp()
    largest = others @ density
    slope = others @ (density * node)
    # dT/dgamma = K / (K - 1) dI/dmean dmean/dgamma, and dmean/dgamma = -mean / 2.
    scale = num_tokens / (num_tokens - 1)
    return (num_tokens * largest - 1) / (num_tokens - 1), -scale * slope * mean / 2


def gamma_of(alpha: float, num_tokens: int) -> float:
    """Find the gamma at which T equals `alpha`, in (0, 1), by bisection: T falls as gamma grows."""
    assert 0.0 < alpha < 1.0
    low, high = _GAMMA_BRACKET
    for _ in range(60):
        middle = (low + high) / 2
        value = float(transformation(torch.tensor(middle, dtype=torch.float64), num_tokens)[0])
        low, high = (middle, high) if value > alpha else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class GaussianSchedule:
    """alpha(t) = T(gamma(t)), gamma linear in t: a schedule for `UniformProcess`.

    Tokens that are the argmax of Gaussian noise at gamma(t) follow that process.
    """

    num_tokens: int
    gamma_min: float
    """At t = 0."""
    gamma_max: float
    """At t = 1."""

    @classmethod
    def between(cls, ends: tuple[float, float], num_tokens: int) -> "GaussianSchedule":
        """Return the schedule whose alpha falls from the first to the second of `ends`."""
        return cls(num_tokens, *(gamma_of(alpha, num_tokens) for alpha in ends))

    def gamma(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return self.gamma_min + (self.gamma_max - self.gamma_min) * t.double()

    def alpha(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return transformation(self.gamma(t), self.num_tokens)[0].to(t)

    def alpha_derivative(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        slope = transformation(self.gamma(t), self.num_tokens)[1]
        return ((self.gamma_max - self.gamma_min) * slope).to(t)

    def weight(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Return -alpha'(t) / (1 - alpha(t))."""
        alpha, slope = transformation(self.gamma(t), self.num_tokens)
        return (-(self.gamma_max - self.gamma_min) * slope / (1.0 - alpha)).to(t)
