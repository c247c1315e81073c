"""Bootstrap intervals and entropies: exact on toys, honest coverage on draws."""

import math

import numpy as np
import pytest

from didi_core.evaluation.bootstrap import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
)
from didi_core.evaluation.entropy import pooled_kmer_entropy, unigram_entropy


def test_equal_values_have_no_width_and_one_value_is_its_own_interval():
    assert bootstrap_mean([0.25] * 9) == Interval(0.25, 0.25, 0.25)
    assert bootstrap_mean([7.0]) == Interval(7.0, 7.0, 7.0)
    assert bootstrap_difference([3.0, 3.0], [1.0]) == Interval(2.0, 2.0, 2.0)


def test_the_same_seed_gives_the_same_interval_and_chunks_do_not_matter(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    once = bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) == once
    assert bootstrap_mean(values, seed=4) != once
    monkeypatch.setattr("didi_core.evaluation.bootstrap._INDICES_AT_ONCE", 64 * 50)
    chunked = bootstrap_mean(values, seed=3)
    assert chunked.mean == once.mean
    assert chunked.low == pytest.approx(once.low, abs=0.05)


def test_two_values_resample_to_the_three_means_of_their_enumeration():
    # Means of two draws from {0, 1}: 0, 1/2, 1 with probability 1/4, 1/2, 1/4.
    wide = bootstrap_mean([0.0, 1.0], level=0.95)
    assert (wide.mean, wide.low, wide.high) == (0.5, 0.0, 1.0)
    narrow = bootstrap_mean([0.0, 1.0], level=0.4)  # tails of 0.3 hold more than the outer quarters
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_width_is_that_of_the_normal_approximation():
    values = np.random.default_rng(1).normal(loc=5, size=400)
    interval = bootstrap_mean(values)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert interval.mean == pytest.approx(values.mean())
    assert interval.high - interval.mean == pytest.approx(half, rel=0.1)
    assert interval.mean - interval.low == pytest.approx(half, rel=0.1)


def test_a_ratio_weighs_by_its_denominators():
    interval = bootstrap_ratio([10.0, 0.0], [1.0, 9.0])
    assert interval.mean == 1.0
    assert (interval.low, interval.high) == (0.0, 10.0)


def test_independent_samples_are_resampled_apart():
    values = np.random.default_rng(2).normal(size=200)
    paired_would_be_zero = bootstrap_difference(values, values)
    assert paired_would_be_zero.mean == 0.0
    expected = 1.96 * values.std() * math.sqrt(2 / len(values))
    assert paired_would_be_zero.high == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [[1.0]]])
def test_values_that_have_no_mean_are_refused(values):
    with pytest.raises(ValueError, match=r"one value or more|not finite"):
        bootstrap_mean(values)


def test_exponential_of_an_interval():
    found = Interval(0.0, -math.inf, math.log(2)).exp()
    assert (found.mean, found.low, found.high) == (1.0, 0.0, pytest.approx(2.0))


def test_unigram_entropy_by_hand():
    assert unigram_entropy([5, 5, 5]) == 0.0
    assert unigram_entropy([1, 2, 3, 4]) == pytest.approx(math.log(4))
    assert unigram_entropy([0, 0, 0, 9]) == pytest.approx(
        -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    )
    with pytest.raises(ValueError, match="empty"):
        unigram_entropy([])


def test_pooled_kmer_entropy_by_hand():
    # Overlapping 2-mers: 01, 10 and 01, 11; the last sequence is too short for any.
    entropy = pooled_kmer_entropy([[0, 1, 0], [0, 1, 1], [1]], k=2, vocabulary_size=2)
    assert entropy.mean == pytest.approx(0.5 * math.log(2) + 2 * 0.25 * math.log(4))
    assert entropy.low <= entropy.mean <= entropy.high
    with pytest.raises(ValueError, match="3 tokens long or longer"):
        pooled_kmer_entropy([[0, 1]], k=3, vocabulary_size=2)
    with pytest.raises(ValueError, match="64 bits"):
        pooled_kmer_entropy([[0, 1, 2]], k=20, vocabulary_size=20)


def test_pooled_kmer_entropy_sees_copies_that_unigram_entropy_misses():
    generator = np.random.default_rng(0)
    varied = [generator.integers(20, size=60) for _ in range(50)]
    copies = [varied[0]] * 50
    assert pooled_kmer_entropy(varied, 3, 20).mean > pooled_kmer_entropy(copies, 3, 20).mean + 2


def test_pooled_kmer_interval_lies_around_its_estimate():
    generator = np.random.default_rng(0)
    sets = [[generator.integers(4, size=40) for _ in range(60)] for _ in range(200)]
    means = [pooled_kmer_entropy(each, 2, 4).mean for each in sets]
    interval = pooled_kmer_entropy(sets[0], 2, 4)
    spread = interval.high - interval.low
    assert interval.low < interval.mean < interval.high
    # Width of the truth: 2 x 1.96 standard deviations of the estimate over fresh sets. The plug-in
    # estimate is second order at the uniform law, so the first-order width is an upper bound there.
    assert spread < 0.05
    assert np.std(means) < spread
