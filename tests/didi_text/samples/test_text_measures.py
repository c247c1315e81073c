"""Variety of samples, by hand."""

import math

import numpy as np
import pytest

from didi_text.samples.measures import (
    distinct,
    ngrams,
    repetition,
    variety,
)


def test_entropy_is_the_mean_over_samples() -> None:
    found = variety([[1, 1, 2, 2], [3, 3, 3, 3], [1, 2, 3, 4]])
    expected = (math.log(2) + 0 + math.log(4)) / 3
    assert found.entropy.mean == pytest.approx(expected)
    assert found.entropy.low <= expected <= found.entropy.high


def test_distinct_is_pooled_over_the_set() -> None:
    samples = [np.array([1, 2, 3]), np.array([1, 2])]
    assert distinct(samples, 1) == pytest.approx(3 / 5)
    assert distinct(samples, 2) == pytest.approx(2 / 3)
    assert math.isnan(distinct(samples, 4))


def test_repetition_is_within_a_sample() -> None:
    assert repetition(np.array([1, 2, 3, 4, 1, 2, 3, 4])) == pytest.approx(1 - 4 / 5)
    assert repetition(np.array([1, 2, 3, 4, 5])) == 0
    assert variety([[1, 2, 3, 4], [1, 2, 3, 4]]).repetition.mean == 0


def test_duplicates_and_short_samples() -> None:
    found = variety([[1, 2, 3, 4], [], [1, 2, 3, 4], [7]])
    assert found.duplicates == pytest.approx(1 / 4)
    assert found.distinct["distinct_1"] == pytest.approx(5 / 9)
    assert ngrams(np.array([1]), 2).shape == (0, 2)
    with pytest.raises(ValueError, match="one value or more"):
        variety([[], []])
