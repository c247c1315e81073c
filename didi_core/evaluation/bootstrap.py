"""Percentile bootstrap intervals [1]_ of means, of ratios of sums, and of differences of means.

.. [1] Efron, Tibshirani. "An Introduction to the Bootstrap", 1993, chapter 13.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

NUM_RESAMPLES = 2_000
LEVEL = 0.95
ENOUGH_RECORDS = 30
"""Below this, resampling sees too little of the spread: intervals come out much too narrow [1]_."""
_INDICES_AT_ONCE = 4_000_000  # bounds memory: 32 MB of row numbers


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval."""

    mean: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)

    def exp(self) -> "Interval":
        """Put the estimate and its ends on the exponential scale: a perplexity from nats."""
        return Interval(*(float(np.exp(end)) for end in (self.mean, self.low, self.high)))


def percentile_interval(
    estimate: float, resampled: Sequence[float] | NDArray[np.float64], level: float = LEVEL
) -> Interval:
    """Return the estimate, with the ends of the middle `level` of its resamples."""
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(float(estimate), float(low), float(high))


def warnings_of_few(num_records: int, what: str) -> list[str]:
    """Say what to print beside intervals from few records; nothing where there are enough.

    Args:
        what: the records, in the plural: "designs", "samples a set".

    >>> warnings_of_few(6, "designs")
    ['Only 6 designs: intervals from fewer than 30 are too narrow, and differences show nothing.']
    >>> warnings_of_few(30, "designs")
    []
    """
    if num_records >= ENOUGH_RECORDS:
        return []
    return [
        f"Only {num_records} {what}: intervals from fewer than {ENOUGH_RECORDS} are too narrow, "
        "and differences show nothing."
    ]


def bootstrap_mean(
    values: ArrayLike, seed: int = 0, num_resamples: int = NUM_RESAMPLES, level: float = LEVEL
) -> Interval:
    """Estimate the mean of `values` [n], resampled with replacement.

    A share is the mean of zeros and ones. Where all values agree the interval has no width: it
    then says nothing of what a larger sample would show.

    Raises:
        ValueError: there are no values, or one is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    return bootstrap_ratio(values, np.ones_like(values), seed, num_resamples, level)


def bootstrap_ratio(
    numerators: ArrayLike,
    denominators: ArrayLike,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Estimate the sum of `numerators` [n] over that of `denominators` [n], resampled in pairs.

    With counts as denominators this is a mean per token whose sampling unit is the sequence.
    """
    pairs = np.stack([_checked(numerators), _checked(denominators)], axis=-1)
    sums = np.concatenate(list(_resampled_means(pairs, seed, num_resamples)))
    estimate = pairs[:, 0].mean() / pairs[:, 1].mean()
    return percentile_interval(estimate, sums[:, 0] / sums[:, 1], level)


def bootstrap_difference(
    first: ArrayLike,
    second: ArrayLike,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Estimate mean of `first` [n] less mean of `second` [m]: independent, each resampled alone."""
    one, two = _checked(first)[:, None], _checked(second)[:, None]
    # Two streams of one seed: the same stream twice would correlate samples of equal size.
    seeds = np.random.SeedSequence(seed).spawn(2)
    means = [
        np.concatenate(list(_resampled_means(values, stream, num_resamples)))[:, 0]
        for values, stream in zip((one, two), seeds, strict=True)
    ]
    return percentile_interval(float(one.mean() - two.mean()), means[0] - means[1], level)


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"a bootstrap needs one value or more in a row, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{(~np.isfinite(array)).sum()} of {len(array)} values are not finite")
    return array


def _resampled_means(
    rows: NDArray[np.float64], seed: int | np.random.SeedSequence, num_resamples: int
) -> Iterator[NDArray[np.float64]]:
    """Yield column means [chunk, columns] of resampled `rows` [n, columns], in chunks."""
    generator = np.random.default_rng(seed)
    chunk = max(1, _INDICES_AT_ONCE // len(rows))
    for start in range(0, num_resamples, chunk):
        shape = (min(chunk, num_resamples - start), len(rows))
        yield rows[generator.integers(len(rows), size=shape)].mean(axis=1)
