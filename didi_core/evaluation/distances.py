"""Distance between two sets of sequences by their k-mers: the Jensen-Shannon divergence [1]_.

Estimated from counts it is biased upwards: two samples of one law are not at distance zero. The
bias depends on the sizes of the sets and on the law, so a distance is only to be read at equal size
beside that of data to other data (`kmer_distance`), never alone.

.. [1] Lin. "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory, 1991.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didi_core.evaluation.bootstrap import Interval, percentile_interval
from didi_core.evaluation.entropy import Ids, kmer_codes
from didi_core.evaluation.ratio import NUM_RESAMPLES, Ratio, resample_counts

Sequences = Sequence[Ids]


@dataclass(frozen=True)
class KmerDistance:
    """A set against data, with what data against data gives at the same size."""

    k: int
    num_sequences: int
    """Sequences of each set; larger sets are cut to their first so many."""
    distance: Interval
    """Set against data, in nats: 0 to ln 2."""
    natural_versus_natural: Interval
    """The same of data against other data: the finite-sample floor."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "k": self.k,
            "n": self.num_sequences,
            "distance": self.distance.as_dict(),
            "natural_versus_natural": self.natural_versus_natural.as_dict(),
        }


def kmer_distance(
    sequences: Sequences,
    data: Sequences,
    other_data: Sequences,
    k: int,
    vocabulary_size: int,
    seed: int = 0,
) -> KmerDistance:
    """Measure the divergence of `sequences` and of `other_data` from `data`, at equal size.

    Args:
        data: sequences of the law to be met.
        other_data: further ones, none of them in `data`.

    Raises:
        ValueError: a set holds no k-mer.
    """
    size = min(len(sequences), len(data), len(other_data))
    cut, against, other = sequences[:size], data[:size], other_data[:size]
    return KmerDistance(
        k,
        size,
        kmer_jensen_shannon(cut, against, k, vocabulary_size, seed),
        kmer_jensen_shannon(other, against, k, vocabulary_size, seed),
    )


def kmer_jensen_shannon(
    first: Sequences, second: Sequences, k: int, vocabulary_size: int, seed: int = 0
) -> Interval:
    """Estimate the Jensen-Shannon divergence of two sets' pooled k-mers by plug-in, in nats.

    The interval is of the spread between sets of these sizes: it does not take the bias away, and
    near zero its end may lie below.
    Resampled sets hold fewer distinct k-mers, so the divergence is resampled to first order: as
    half the mean of log p/m over the k-mers of the first set plus half that of log q/m over those
    of the second, with m = (p + q) / 2 kept (the terms from p, q and m themselves cancel).

    Raises:
        ValueError: a set holds no k-mer.
    """
    codes = [
        [kmer_codes(np.asarray(each), k, vocabulary_size) for each in part]
        for part in (first, second)
    ]
    halves = _halves(codes[0], codes[1], k)
    replicates = []
    for place, half in enumerate(halves):
        counts = resample_counts(len(half), 2 * seed + place, NUM_RESAMPLES)
        replicates.append(np.concatenate([half.resampled(chunk) for chunk in counts]))
    value = 0.5 * sum(half.value for half in halves)
    return percentile_interval(value, 0.5 * (replicates[0] + replicates[1]))


def _halves(
    first: list[NDArray[np.int64]], second: list[NDArray[np.int64]], k: int
) -> tuple[Ratio, Ratio]:
    """Return means of log p/m over the first set's k-mers, and of log q/m over the second's."""
    pooled = [np.concatenate(part) for part in (first, second)]
    if not (len(pooled[0]) and len(pooled[1])):
        raise ValueError(f"no sequence of a set is {k} tokens long or longer")
    kinds, inverse = np.unique(np.concatenate(pooled), return_inverse=True)
    split = inverse[: len(pooled[0])], inverse[len(pooled[0]) :]
    shares = [np.bincount(part, minlength=len(kinds)) / len(part) for part in split]
    # p and q over the kinds of k-mers that either set holds, and m = (p + q) / 2.
    middle = 0.5 * (shares[0] + shares[1])
    left, right = (
        _per_record(np.log(share[part] / middle[part]), codes)
        for share, part, codes in zip(shares, split, (first, second), strict=True)
    )
    return left, right


def _per_record(values: NDArray[np.float64], codes: list[NDArray[np.int64]]) -> Ratio:
    """Sum a value a k-mer over each record's k-mers; records without one are left out."""
    counts = np.array([len(each) for each in codes])
    owner = np.repeat(np.arange(len(codes)), counts)
    sums = np.bincount(owner, weights=values, minlength=len(codes))
    return Ratio(sums[counts > 0], counts[counts > 0].astype(np.float64))
