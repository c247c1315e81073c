"""Pair covariances of residues in the columns of a family's alignment.

C_ij(a, b) = f_ij(a, b) - f_i(a) f_j(b), for residues a, b of the 20 at columns i < j. Sequences
count alike; gaps are in the denominators of the frequencies and are no residue. Every entry is a
number of a *state*: state = 20 x column + residue.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from didi_core.evaluation.bootstrap import Interval
from didi_protein.families.intervals import normal_interval
from didi_protein.families.profile import GAP

NUM_RESIDUES = GAP
MIN_COVARIANCE = 0.01
"""Entries with less than this in nature are noise of its few thousand sequences."""
ROWS_AT_ONCE = 2_048
_STRIP_NUMBERS = 4_000_000  # 16 MB of a strip; narrow strips skip more of the pairs i > j
_FLAGS_AT_ONCE = 8_000_000  # 32 MB of what one block of entries counts

Rows = UInt8[ndarray, "sequences columns"]


@dataclass(frozen=True)
class PairEntries:
    """The entries (i, a; j, b), i < j, over which covariances are compared."""

    first: Int[ndarray, "entries"]
    """20 i + a."""
    second: Int[ndarray, "entries"]
    """20 j + b."""

    def __len__(self) -> int:
        return len(self.first)

    def blocks(self, num_sequences: int) -> Iterator[slice]:
        """Split the entries so that a flag for each sequence and entry of a block fits memory."""
        step = max(1, _FLAGS_AT_ONCE // max(1, num_sequences))
        yield from (slice(start, start + step) for start in range(0, len(self), step))


@dataclass(frozen=True)
class CovarianceFit:
    """A set's covariances against nature's."""

    correlation: Interval | None
    """Pearson, -1 to 1; None where the set has no variance."""
    slope: Interval | None
    """Of the regression of the set's on nature's; below 1: dependence is weakened."""
    resampled: Float[ndarray, "2 resamples"]
    """Correlation and slope of each resample, NaN where undefined."""


def one_hot(rows: Rows) -> Float[ndarray, "sequences states"]:
    """Return 1 where a sequence has a residue in a column, in float32; gaps have no state."""
    letters = np.eye(NUM_RESIDUES + 1, NUM_RESIDUES, dtype=np.float32)
    return letters[rows].reshape(len(rows), -1)


def site_frequencies(rows: Rows) -> Float[ndarray, "states"]:
    """Return f_i(a), in float64."""
    return resampled_frequencies(rows, np.ones((1, len(rows)), dtype=np.float32))[0]


def resampled_frequencies(
    rows: Rows, weights: Float[ndarray, "resamples sequences"]
) -> Float[ndarray, "resamples states"]:
    """Return f_i(a) of the set with each sequence counted `weights` times."""
    blocks = range(0, len(rows), ROWS_AT_ONCE)
    # Counts stay below 2^24 in a block, where float32 is exact.
    counts = sum(
        (
            weights[:, start : start + ROWS_AT_ONCE] @ one_hot(rows[start : start + ROWS_AT_ONCE])
        ).astype(np.float64)
        for start in blocks
    )
    return counts / weights.sum(axis=1, dtype=np.float64)[:, None]


def moment_strips(
    rows: Rows, weights: Float[ndarray, "sequences"] | None = None
) -> Iterator[tuple[int, Float[ndarray, "some states"]]]:
    """Count f_ij(a, b) for strips of states (i, a) against all that follow, i <= j.

    Yields:
        The first state of the strip, and the counts over n for its states [some] and all states
        from the strip's first on, in float32.
    """
    num_states = rows.shape[1] * NUM_RESIDUES
    width = max(1, min(rows.shape[1], _STRIP_NUMBERS // (num_states * NUM_RESIDUES)))
    total = len(rows) if weights is None else float(weights.sum())
    for column in range(0, rows.shape[1], width):
        start = column * NUM_RESIDUES
        size = min(width, rows.shape[1] - column) * NUM_RESIDUES
        counts = np.zeros((size, num_states - start), dtype=np.float32)
        for place in range(0, len(rows), ROWS_AT_ONCE):
            hot = one_hot(rows[place : place + ROWS_AT_ONCE, column:])
            left = hot[:, :size]
            if weights is not None:
                left = left * weights[place : place + ROWS_AT_ONCE, None]
            counts += left.T @ hot
        yield start, counts / np.float32(total)


def select_entries(rows: Rows, threshold: float = MIN_COVARIANCE) -> PairEntries:
    """Choose the entries with |C| above `threshold` in `rows`: once, on all of nature."""
    frequencies = site_frequencies(rows).astype(np.float32)
    first, second = [], []
    for start, moments in moment_strips(rows):
        covariances = moments - np.outer(
            frequencies[start : start + len(moments)], frequencies[start:]
        )
        left, right = np.nonzero(np.abs(covariances) > threshold)
        later = right // NUM_RESIDUES > left // NUM_RESIDUES  # columns i < j
        first.append(left[later] + start)
        second.append(right[later] + start)
    return PairEntries(np.concatenate(first), np.concatenate(second))


def pair_covariances(rows: Rows, entries: PairEntries) -> Float[ndarray, "entries"]:
    """Return C at `entries`, in float64."""
    weights = np.ones((1, len(rows)), dtype=np.float32)
    return np.concatenate([each[0] for each in _covariance_blocks(rows, entries, weights)] or [[]])


def _covariance_blocks(
    rows: Rows, entries: PairEntries, weights: Float[ndarray, "resamples sequences"]
) -> Iterator[Float[ndarray, "resamples some"]]:
    """Yield C at blocks of entries, for each resample."""
    frequencies = resampled_frequencies(rows, weights)
    total = weights.sum(axis=1, dtype=np.float64)[:, None]
    columns = np.ascontiguousarray(rows.T)
    for block in entries.blocks(len(rows)):
        first, second = entries.first[block], entries.second[block]
        # Which sequences have residue a in column i and residue b in column j: [some, sequences].
        both = _has(columns, first) & _has(columns, second)
        together = (weights @ both.astype(np.float32).T) / total
        yield together - frequencies[:, first] * frequencies[:, second]


def _has(columns: UInt8[ndarray, "columns sequences"], states: ndarray) -> ndarray:
    column, residue = np.divmod(states, NUM_RESIDUES)
    return columns[column] == residue[:, None].astype(np.uint8)


def fit_covariances(
    rows: Rows,
    entries: PairEntries,
    natural: Float[ndarray, "entries"],
    weights: Float[ndarray, "resamples sequences"],
) -> CovarianceFit:
    """Compare a set's covariances with nature's.

    Args:
        natural: C of nature at `entries`.
        weights: how often each resample of the bootstrap holds each sequence.
    """
    weights = np.concatenate([np.ones((1, len(rows)), dtype=np.float32), weights])
    sums = np.zeros((3, len(weights)))  # of y, y^2 and x y over entries, for each resample
    done = 0
    for block in _covariance_blocks(rows, entries, weights):
        x = natural[done : done + block.shape[1]]
        sums += np.stack([block.sum(axis=1), (block**2).sum(axis=1), block @ x])
        done += len(x)
    if not done:
        return CovarianceFit(None, None, np.full((2, len(weights) - 1), np.nan))
    mean_y, mean_yy, mean_xy = sums / done
    shared = mean_xy - natural.mean() * mean_y
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = shared / natural.var()
        correlation = shared / np.sqrt(natural.var() * np.maximum(mean_yy - mean_y**2, 0))
    return CovarianceFit(
        normal_interval(correlation[0], correlation[1:], "correlation"),
        normal_interval(slope[0], slope[1:]),
        np.stack([correlation[1:], slope[1:]]),
    )


def fit_sites(
    rows: Rows,
    natural: Float[ndarray, "states"],
    weights: Float[ndarray, "resamples sequences"],
) -> Interval | None:
    """Return the Pearson correlation of a set's f_i(a) with nature's, over all i and a."""
    weights = np.concatenate([np.ones((1, len(rows)), dtype=np.float32), weights])
    sites = resampled_frequencies(rows, weights)
    sites -= sites.mean(axis=1, keepdims=True)
    centred = natural - natural.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        correlations = (sites @ centred) / np.sqrt((sites**2).sum(axis=1) * (centred**2).sum())
    return normal_interval(correlations[0], correlations[1:], "correlation")
