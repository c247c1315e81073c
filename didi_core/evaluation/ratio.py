"""A figure of a set of sequences as a ratio of sums over its records, and its bootstrap [1]_.

Means are such ratios (all denominators 1), means a token (denominators the lengths), and, to first
order, pooled k-mer entropies (`entropy.kmer_surprise`). Because a resample is a count of each
record, figures of several sets whose records belong together are resampled together.

.. [1] Efron, Tibshirani. "An Introduction to the Bootstrap", 1993, chapters 6 and 10.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from didi_core.evaluation.entropy import Ids, kmer_surprise, unigram_entropy

NUM_RESAMPLES = 1_000
_COUNTS_AT_ONCE = 4_000_000  # bounds memory: 32 MB of counts


@dataclass(frozen=True)
class Ratio:
    """Sum of `numerators` over sum of `denominators`; entry i belongs to record i."""

    numerators: Float[np.ndarray, "record"]
    denominators: Float[np.ndarray, "record"]

    @classmethod
    def mean_of(cls, values: Sequence[float] | np.ndarray) -> "Ratio":
        """Make the plain mean of one value a record."""
        array = np.asarray(values, dtype=np.float64)
        return cls(array, np.ones_like(array))

    def __len__(self) -> int:
        return len(self.numerators)

    @property
    def value(self) -> float:
        return float(self.numerators.sum() / self.denominators.sum())

    def resampled(
        self, counts: Int[np.ndarray, "resample record"]
    ) -> Float[np.ndarray, "resample"]:
        """Return the figure of each resample, given how often it holds each record."""
        return (counts @ self.numerators) / (counts @ self.denominators)


def resample_counts(
    num_records: int, seed: int | Sequence[int], num_resamples: int = NUM_RESAMPLES
) -> Iterator[Int[np.ndarray, "resample record"]]:
    """Count how often each resample holds each record, in chunks; equal for equal arguments."""
    generator = np.random.default_rng(seed)
    chunk = max(1, _COUNTS_AT_ONCE // num_records)
    for start in range(0, num_resamples, chunk):
        size = min(chunk, num_resamples - start)
        drawn = generator.integers(num_records, size=(size, num_records))
        # Each resample counts in its own stretch of one long histogram.
        offsets = np.arange(size)[:, None] * num_records
        flat = np.bincount((drawn + offsets).ravel(), minlength=size * num_records)
        yield flat.reshape(size, num_records)


@dataclass(frozen=True)
class PooledKmerEntropy:
    """Diversity of a set: entropy of all its overlapping k-mers, pooled, in nats."""

    k: int
    vocabulary_size: int

    @property
    def label(self) -> str:
        return f"pooled {self.k}-mer entropy (nats)"

    def __call__(self, sequences: Sequence[Ids]) -> Ratio:
        surprise, counts = kmer_surprise(sequences, self.k, self.vocabulary_size)
        return Ratio(surprise, counts.astype(np.float64))

    def where_known(self, sequences: Sequence[Sequence[int]]) -> Ratio | None:
        """Measure a set; None where no sequence is as long as a k-mer."""
        return self(sequences) if max(map(len, sequences), default=0) >= self.k else None


@dataclass(frozen=True)
class MeanUnigramEntropy:
    """Diversity as text papers state it: mean over sequences of the entropy of their tokens."""

    label: str = "mean unigram entropy (nats)"

    def __call__(self, sequences: Sequence[Ids]) -> Ratio:
        return Ratio.mean_of([unigram_entropy(each) for each in sequences])
