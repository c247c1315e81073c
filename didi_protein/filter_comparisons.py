"""The filters that compare designs with better ones: their answer depends on what is left."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from didi_protein.filter_criteria import Rejection

Neighbours = Mapping[str, Mapping[str, float]]
"""Sequence -> sequences alike, with the identity of each pair, 0 to 1."""


@dataclass(frozen=True)
class Duplicate:
    """Rejects all but the best of equal sequences."""

    name: str = "duplicate"
    column: str = "sequence"
    threshold: str = "is unique"
    compares: bool = True

    def reject(self, designs: pd.DataFrame) -> dict[int, Rejection]:
        best: dict[str, int] = {}
        rejected = {}
        for place, sequence in designs["sequence"].items():
            if (first := best.setdefault(sequence, place)) != place:
                twin = designs["id"][first]
                reason = f"same sequence as {twin}"
                rejected[place] = Rejection(self.name, self.column, twin, self.threshold, reason)
        return rejected


@dataclass(frozen=True)
class OnePer:
    """Rejects all but the best of each value of a column, such as a cluster, and empty ones."""

    column: str
    name: str = "--one-per"
    threshold: str = "best of each"
    compares: bool = True

    def reject(self, designs: pd.DataFrame) -> dict[int, Rejection]:
        best: dict[object, int] = {}
        rejected = {}
        for place, value in designs[self.column].items():
            if pd.isna(value):
                rejected[place] = self._rejection(None, f"{self.column} is empty")
            elif (first := best.setdefault(value, place)) != place:
                reason = f"{designs['id'][first]} is better in {self.column} {value}"
                rejected[place] = self._rejection(value, reason)
        return rejected

    def _rejection(self, value: object, reason: str) -> Rejection:
        return Rejection(self.name, self.column, value, self.threshold, reason)


@dataclass(frozen=True)
class Similar:
    """Rejects designs more alike to a better one that is kept than a bound.

    Greedy, from the best down: a design is compared with those kept so far only.
    """

    bound: float
    neighbours: Neighbours = field(repr=False)
    name: str = "--max-similarity"
    column: str = "sequence"
    compares: bool = True

    @property
    def threshold(self) -> str:
        return f"identity <= {self.bound:g}"

    def reject(self, designs: pd.DataFrame) -> dict[int, Rejection]:
        kept: dict[str, str] = {}
        rejected = {}
        for place, sequence in designs["sequence"].items():
            nearest, identity = self._nearest(sequence, kept)
            if nearest is None:
                kept[sequence] = designs["id"][place]
                continue
            reason = f"{identity:.1%} identical to {kept[nearest]}"
            rejected[place] = Rejection(self.name, self.column, identity, self.threshold, reason)
        return rejected

    def _nearest(self, sequence: str, kept: Mapping[str, str]) -> tuple[str | None, float]:
        """The most similar of the kept sequences above the bound, and its identity."""
        alike = {sequence: 1.0, **self.neighbours.get(sequence, {})}
        close = {
            other: each for other, each in alike.items() if other in kept and each > self.bound
        }
        nearest = max(close, key=lambda other: close[other], default=None)
        return nearest, 0.0 if nearest is None else close[nearest]


@dataclass(frozen=True)
class Top:
    """Rejects what ranks below a number of designs."""

    count: int
    order: str
    """The ranking in words."""
    name: str = "--top"
    column: str = "rank"
    compares: bool = True

    @property
    def threshold(self) -> str:
        return f"<= {self.count}"

    def reject(self, designs: pd.DataFrame) -> dict[int, Rejection]:
        return {
            place: Rejection(
                self.name, self.column, rank, self.threshold, f"rank {rank} by {self.order}"
            )
            for rank, place in enumerate(designs.index[self.count :], self.count + 1)
        }
