"""Which lengths a model was trained on: a few ranges, read off the histogram of training lengths.

A length counts where at least one training sequence in 1,000 has a length within a tenth of it;
lengths that count form one range as long as each is within a tenth of the one before, or next to
it. So a family is a range, a gap between two families parts them, and a stray sequence is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

SHORTER, LONGER = 9, 11
"""In tenths of a length: what is near it. Whole numbers, so that the ends are exact."""
RARE = 1_000
"""Of so many training sequences at least one must have a length near one that counts."""
TRAINED_LENGTHS = "trained_lengths"
"""Under "didi" in `config.json`: shortest and longest of each range."""
MOST_RANGES = 4
"""Where there are more, as of a few dozen proteins, the narrowest gaps between them are closed."""


@dataclass(frozen=True)
class LengthRanges:
    """Lengths in tokens, framing left out: shortest and longest of each range, in order."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, lengths: Sequence[int] | np.ndarray) -> "LengthRanges":
        """Return the ranges that hold nearly all of `lengths`, by the rule of this module."""
        values, counts = np.unique(np.asarray(lengths, dtype=np.int64), return_counts=True)
        before = np.concatenate([[0], np.cumsum(counts)])
        first = np.searchsorted(10 * values, SHORTER * values, "left")
        last = np.searchsorted(10 * values, LONGER * values, "right")
        near = before[last] - before[first]
        return cls(_joined(values[near * RARE >= counts.sum()].tolist()))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "LengthRanges | None":
        """Return what `config.json` says; None where it says nothing, or nothing of this form."""
        own = config.get("didi")
        stored = own.get(TRAINED_LENGTHS) if isinstance(own, dict) else None
        try:
            ranges = tuple((int(low), int(high)) for low, high in stored or ())
        except (TypeError, ValueError):
            return None
        return cls(ranges) if ranges else None

    def as_json(self) -> list[list[int]]:
        return [list(each) for each in self.ranges]

    def knows(self, length: int) -> bool:
        """Return whether `length` is in a range, or within a tenth of its ends."""
        return any(SHORTER * low <= 10 * length <= LONGER * high for low, high in self.ranges)

    def __str__(self) -> str:
        """Say the ranges in words.

        >>> str(LengthRanges(((64, 82), (120, 120), (162, 202))))
        '64 to 82, 120 and 162 to 202'
        """
        texts = [f"{low}" if low == high else f"{low} to {high}" for low, high in self.ranges]
        return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def _joined(values: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Part ascending lengths at the gaps between them, at the widest where there are many."""
    gaps = [
        (after / one, place)
        for place, (one, after) in enumerate(pairwise(values), start=1)
        if after > one + 1 and 10 * after > LONGER * one
    ]
    cuts = sorted(place for _, place in sorted(gaps, reverse=True)[: MOST_RANGES - 1])
    starts, ends = [0, *cuts], [*cuts, len(values)]
    return tuple((values[a], values[b - 1]) for a, b in zip(starts, ends, strict=True))
