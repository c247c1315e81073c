"""Noise schedules: the probability alpha(t) that a token is kept, t from 0 (data) to 1 (noise)."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Schedule(Protocol):
    """alpha(t), its derivative, and omega(t) = -alpha'(t) / (1 - alpha(t))."""

    def alpha(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]: ...

    def alpha_derivative(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]: ...

    def weight(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]: ...


@dataclass(frozen=True)
class LogLinearSchedule:
    """alpha(t) = 1 - (1 - eps) t (MDLM, arXiv 2406.07524, appendix E.1).

    Published training uses eps = 1e-3; likelihood and sampling use eps = 0, because with eps the
    bound misses about 1e-3 of the likelihood.
    """

    eps: float = 0.0

    def alpha(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return 1.0 - (1.0 - self.eps) * t

    def alpha_derivative(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return (-(1.0 - self.eps)) * t.new_ones(()).expand_as(t)

    def weight(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Return omega(t) = -alpha'(t) / (1 - alpha(t)): the weight of a masked position's loss.

        Here it is 1 / t for every eps. Taken as the quotient it would be infinite in float32 for
        t below about 3e-8, which a long training meets.
        """
        return 1.0 / t
