"""Ranges of training lengths: the rule by hand, its ends exactly, and folders that say nothing."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didi_core.data.length_ranges import MOST_RANGES, LengthRanges

TWO = LengthRanges(((60, 80), (160, 200)))


@pytest.mark.parametrize(
    ("lengths", "ranges"),
    [
        ([50] * 999 + [120], ((50, 50), (120, 120))),  # one in 1,000 counts
        ([50] * 1000 + [120], ((50, 50),)),  # one in 1,001 is a stray
        ([50] * 1998 + [110, 121], ((50, 50), (110, 121))),  # two near each other are no strays
        ([50] * 1998 + [110, 123], ((50, 50),)),
        ([100, 110], ((100, 110),)),  # a tenth more is near
        ([100, 111], ((100, 100), (111, 111))),
        ([3, 4, 5, 7], ((3, 5), (7, 7))),  # the next number is near, however short
        ([10, 20, 22, 40, 90, 200, 210], ((10, 10), (20, 40), (90, 90), (200, 210))),
    ],
)
def test_ranges_by_hand(lengths: list[int], ranges: tuple[tuple[int, int], ...]) -> None:
    assert LengthRanges.of(lengths).ranges == ranges


@given(st.lists(st.integers(1, 2_000), min_size=1, max_size=200))
def test_of_few_sequences_every_length_is_known(lengths: list[int]) -> None:
    found = LengthRanges.of(lengths)
    assert 1 <= len(found.ranges) <= MOST_RANGES and all(map(found.knows, lengths))
    assert found.ranges[0][0] == min(lengths) and found.ranges[-1][1] == max(lengths)
    assert all(b < a for (_, b), (a, _) in pairwise(found.ranges))


def test_a_length_within_a_tenth_of_a_range_is_known() -> None:
    known = [each for each in range(1, 400) if TWO.knows(each)]
    assert known == [*range(54, 89), *range(144, 221)]


@pytest.mark.parametrize("own", [None, "x", {}, {"trained_lengths": 3}, {"trained_lengths": []}])
def test_a_folder_that_does_not_say(own: object) -> None:
    assert LengthRanges.from_config({"didi": own}) is None


def test_a_folder_that_says() -> None:
    assert LengthRanges.from_config({"didi": {"trained_lengths": TWO.as_json()}}) == TWO
    assert LengthRanges.from_config({}) is None
