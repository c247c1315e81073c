"""Variety of samples: unigram entropy of each, distinct n-grams of the set, repetition within.

A generative perplexity means nothing without these: text that repeats itself is easy to predict.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from didi_core.evaluation.bootstrap import Interval, bootstrap_mean
from didi_core.evaluation.entropy import Ids, unigram_entropy
from didi_core.evaluation.ratio import PooledKmerEntropy

REPETITION_N = 4
BIGRAMS = PooledKmerEntropy(2, 2**20)
"""Diversity of a set beside its unigram entropy; no tokenizer has as many tokens."""


@dataclass(frozen=True)
class Variety:
    """How varied a set of samples is."""

    entropy: Interval
    """Mean over samples of the entropy of a sample's tokens, in nats, as published for MDLM and
    later work; samples without a token are left out."""
    entropies: list[float | None]
    """Of each sample, in input order; None where it holds no token."""
    distinct: dict[str, float]
    """distinct_n: different n-grams over all n-grams, pooled over the set; it falls with the
    number of samples, so that only sets of one size compare."""
    repetition: Interval
    """Mean over samples of the share of 4-grams that stood in the same sample before, 0 to 1;
    samples with fewer than 4 tokens are left out."""
    duplicates: float
    """Share of samples that equal an earlier one."""


def variety(samples: Sequence[Ids], seed: int = 0) -> Variety:
    """Measure token ids of samples.

    Raises:
        ValueError: no sample is long enough for a measure.
    """
    arrays = [np.asarray(sample, dtype=np.int64) for sample in samples]
    entropies = [unigram_entropy(array) if len(array) else None for array in arrays]
    repeats = [repetition(array) for array in arrays if len(array) >= REPETITION_N]
    return Variety(
        entropy=bootstrap_mean([each for each in entropies if each is not None], seed),
        entropies=entropies,
        distinct={f"distinct_{n}": distinct(arrays, n) for n in (1, 2, 3, 4)},
        repetition=bootstrap_mean(repeats, seed),
        duplicates=1 - len({array.tobytes() for array in arrays}) / len(arrays),
    )


def distinct(samples: Sequence[NDArray[np.int64]], n: int) -> float:
    """Different n-grams of all samples over their number (Li et al., arXiv 1510.03055).

    >>> distinct([np.array([1, 2, 1, 2]), np.array([1, 2])], 2)
    0.5
    """
    grams = np.concatenate([ngrams(sample, n) for sample in samples])
    return len(np.unique(grams, axis=0)) / len(grams) if len(grams) else float("nan")


def repetition(sample: NDArray[np.int64], n: int = REPETITION_N) -> float:
    """Share of a sample's n-grams that stood in it before (Welleck et al., arXiv 1908.04319).

    >>> repetition(np.array([1, 2, 3, 1, 2]), n=2)
    0.25
    """
    grams = ngrams(sample, n)
    return 1 - len(np.unique(grams, axis=0)) / len(grams)


def ngrams(sample: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """All overlapping n-grams [length - n + 1, n]; none of a shorter sample."""
    if len(sample) < n:
        return np.empty((0, n), dtype=np.int64)
    return np.lib.stride_tricks.sliding_window_view(sample, n)
