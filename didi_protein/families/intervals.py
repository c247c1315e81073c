"""Bootstrap intervals of statistics that depend on the size of the set.

A resample of n sequences holds about 0.63 n distinct ones, so that what noise lowers (a correlation
of covariances, a precision of contacts) comes out lower in every resample than in the set: the
percentiles would not hold the estimate. Only their spread is used, about the estimate: it says
where other sets *of the same size* would lie.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import ArrayLike

from didi_core.evaluation.bootstrap import Interval

_HALF_WIDTH = 1.959964  # of 95% of a normal law, in standard deviations
_NEAREST_ONE = 1 - 1e-12  # the inverse hyperbolic tangent is infinite at 1


def bootstrap_weights(
    num_sequences: int, num_resamples: int, seed: int
) -> Float[ndarray, "resamples sequences"]:
    """Draw how often each resample holds each sequence, in float32."""
    even = np.full(num_sequences, 1 / num_sequences)
    drawn = np.random.default_rng(seed).multinomial(num_sequences, even, size=num_resamples)
    return drawn.astype(np.float32)


def mean_interval(
    values: Float[ndarray, "sequences"],
    weights: Float[ndarray, "resamples sequences"],
    scale: Literal["plain", "correlation", "share"] = "share",
) -> Interval | None:
    """Return the mean of a value a sequence has, with the interval of its resamples."""
    return normal_interval(float(values.mean()), resampled_means(values, weights), scale)


def resampled_means(
    values: Float[ndarray, "sequences"], weights: Float[ndarray, "resamples sequences"]
) -> Float[ndarray, "resamples"]:
    """Return the mean of a value a sequence has, of each resample."""
    return (weights @ values) / weights.sum(axis=1)


def normal_interval(
    estimate: float,
    resampled: ArrayLike,
    scale: Literal["plain", "correlation", "share"] = "plain",
) -> Interval | None:
    """Return the estimate, 1.96 standard deviations of its resamples to either side.

    Args:
        scale: a correlation is transformed by Fisher's z; a share is cut at 0 and 1.

    Returns:
        None where the estimate, or half of the resamples, is undefined (NaN).
    """
    values = np.asarray(resampled, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if not np.isfinite(estimate) or len(finite) < max(2, len(values) / 2):
        return None
    if scale == "correlation":
        middle, spread = _fisher_z(estimate), _fisher_z(finite).std(ddof=1)
        ends = np.tanh([middle - _HALF_WIDTH * spread, middle + _HALF_WIDTH * spread])
    else:
        half = _HALF_WIDTH * finite.std(ddof=1)
        ends = np.array([estimate - half, estimate + half])
    if scale == "share":
        ends = ends.clip(0, 1)
    return Interval(float(estimate), float(ends[0]), float(ends[1]))


def _fisher_z(correlation: ArrayLike) -> ndarray | np.float64:
    return np.arctanh(np.clip(correlation, -_NEAREST_ONE, _NEAREST_ONE))
