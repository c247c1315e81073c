"""Entropy of token ids, in nats: of one sequence's tokens, and of the k-mers of a whole set.

The entropy of single tokens is no guard against a model that repeats itself: ten copied sequences
pass it. Pooled k-mers of a set do notice.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from didi_core.evaluation.bootstrap import Interval, bootstrap_ratio

Ids = Sequence[int] | NDArray[np.integer]
"""Token ids of one sequence."""


def unigram_entropy(ids: Ids) -> float:
    """Return the entropy of one sequence's tokens, in nats: 0 (one only) to ln(distinct tokens).

    Raises:
        ValueError: the sequence is empty.
    """
    if not len(ids):
        raise ValueError("an empty sequence has no entropy")
    return _entropy_of_counts(np.unique(np.asarray(ids), return_counts=True)[1])


def pooled_kmer_entropy(
    sequences: Sequence[Ids], k: int, vocabulary_size: int, seed: int = 0
) -> Interval:
    """Estimate the entropy of all overlapping k-mers of a set, pooled, in nats, with its interval.

    Sequences shorter than `k` hold no k-mer. The plug-in estimate grows with the size of the set,
    so only sets of like size and lengths compare. Resampled sets hold fewer distinct k-mers, which
    would push a plain bootstrap below the estimate; here the entropy is resampled to first order
    instead: as the sum over sequences of -log p(k-mer), p being the pooled frequencies, over the
    number of k-mers. (Terms from p itself cancel, because frequencies sum to one.)

    Raises:
        ValueError: no sequence holds a k-mer.
    """
    surprise, counts = kmer_surprise(sequences, k, vocabulary_size)
    holds_kmers = counts > 0
    return bootstrap_ratio(surprise[holds_kmers], counts[holds_kmers], seed)


def kmer_surprise(
    sequences: Sequence[Ids], k: int, vocabulary_size: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what each sequence adds to the entropy of the pooled k-mers.

    Returns:
        For each sequence the sum over its k-mers of -log p(k-mer), p being the pooled frequencies,
        and the number of its k-mers. The entropy is the sum of the first over that of the second.

    Raises:
        ValueError: no sequence holds a k-mer.
    """
    codes = [kmer_codes(np.asarray(each), k, vocabulary_size) for each in sequences]
    counts = np.array([len(each) for each in codes])
    if not counts.sum():
        raise ValueError(f"no sequence is {k} tokens long or longer")
    _, inverse, occurrences = np.unique(
        np.concatenate(codes), return_inverse=True, return_counts=True
    )
    # -log p of every k-mer where it stands, p being its share of all.
    surprise = -np.log(occurrences / counts.sum())[inverse]
    owner = np.repeat(np.arange(len(codes)), counts)
    sums = np.bincount(owner, weights=surprise, minlength=len(codes)).astype(np.float64)
    return sums, counts


def kmer_codes(ids: NDArray[np.int64], k: int, vocabulary_size: int) -> NDArray[np.int64]:
    """Write each overlapping k-mer [length - k + 1] as one number, in base `vocabulary_size`."""
    if vocabulary_size**k > np.iinfo(np.int64).max:
        raise ValueError(f"{k}-mers over {vocabulary_size} tokens do not fit into 64 bits")
    count = max(0, len(ids) - k + 1)
    codes = np.zeros(count, dtype=np.int64)
    for offset in range(k):
        codes = codes * vocabulary_size + ids[offset : offset + count].astype(np.int64)
    return codes


def _entropy_of_counts(counts: NDArray[np.int64]) -> float:
    shares = counts / counts.sum()
    # The sum of a single certain outcome is -0.0: show it as 0.
    return abs(float(-(shares * np.log(shares)).sum()))
