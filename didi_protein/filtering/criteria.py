"""The filters: each looks at designs in rank order and says which it rejects, and why.

Tables are indexed by the place of a row in the file, and sorted best first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import pandas as pd

from didi_protein.filtering.memory import Memory
from didi_protein.scoring.table import are_designs
from didi_protein.similarity.neighbours import COPY_IDENTITY


@dataclass(frozen=True)
class Rejection:
    """Why one filter rejected one design."""

    filter: str
    """Name of the filter: its flag, or `status` and `duplicate`, which always apply."""
    column: str
    value: object
    """What the design has in that column; None where it is empty."""
    threshold: str
    """What the filter asks for."""
    reason: str
    """The same in words."""


@runtime_checkable
class Filter(Protocol):
    """One step of the funnel."""

    @property
    def name(self) -> str:
        """As `Rejection.filter`."""

    @property
    def column(self) -> str:
        """What it looks at."""

    @property
    def threshold(self) -> str:
        """What it asks for."""

    @property
    def compares(self) -> bool:
        """Whether its answer on one design depends on the others."""

    def reject(self, designs: pd.DataFrame) -> dict[int, Rejection]:
        """The rejected ones of `designs` [sorted best first], by index."""


@dataclass(frozen=True)
class Status:
    """Rejects what could not be scored."""

    name: str = "status"
    column: str = "status"
    threshold: str = "= ok"
    compares: bool = False

    def reject(self, designs: pd.DataFrame) -> dict[int, Rejection]:
        failed = designs[designs["status"] != "ok"]
        return {
            place: self._rejection(row["status"], row.get("error"))
            for place, row in failed.iterrows()
        }

    def _rejection(self, status: str, error: object) -> Rejection:
        why = f": {error}" if pd.notna(error) and error else ""
        return Rejection(self.name, self.column, status, self.threshold, f"{status}{why}")


@dataclass(frozen=True)
class Natives:
    """Rejects what an inverse folding program was given: it is in the table to compare with."""

    name: str = "native"
    column: str = "native"
    threshold: str = "is a design"
    compares: bool = False

    def reject(self, designs: pd.DataFrame) -> dict[int, Rejection]:
        reason = "native: the sequence that the program was given, no design of it"
        return {
            place: Rejection(self.name, self.column, True, self.threshold, reason)
            for place in designs.index[~are_designs(designs)]
        }


@dataclass(frozen=True)
class Threshold:
    """Rejects values beyond a bound, and empty ones; the bound itself passes."""

    name: str
    column: str
    bound: float
    is_minimum: bool
    values: "pd.Series[float]" = field(repr=False)
    """Of every scored row, by place; NaN where empty."""
    compares: bool = False

    @property
    def threshold(self) -> str:
        return f"{'>=' if self.is_minimum else '<='} {self.bound:g}"

    def reject(self, designs: pd.DataFrame) -> dict[int, Rejection]:
        values = self.values[designs.index]
        passes = values >= self.bound if self.is_minimum else values <= self.bound
        return {place: self._rejection(value) for place, value in values[~passes].items()}

    def _rejection(self, value: float) -> Rejection:
        if pd.isna(value):
            reason = f"{self.column} is empty"
            return Rejection(self.name, self.column, None, self.threshold, reason)
        side = "below" if self.is_minimum else "above"
        reason = f"{self.column} {value:g} is {side} {self.bound:g}"
        if self.column == "foldable":
            reason = "not foldable: it fails the folding rule of score"
        return Rejection(self.name, self.column, value, self.threshold, reason)


@dataclass(frozen=True)
class Copies:
    """Rejects copies of training sequences."""

    memory: Memory = field(repr=False)
    """Of every scored row."""
    name: str = "--copies"
    threshold: str = f"< {COPY_IDENTITY:g}"
    compares: bool = False

    @property
    def column(self) -> str:
        return self.memory.column

    def reject(self, designs: pd.DataFrame) -> dict[int, Rejection]:
        identity = self.memory.identity[designs.index]
        return {
            place: self._rejection(value)
            for place, value in identity[identity >= COPY_IDENTITY].items()
        }

    def _rejection(self, value: float) -> Rejection:
        reason = f"a copy: {value:.1%} identical to a training sequence"
        return Rejection(self.name, self.column, value, self.threshold, reason)


# The filters that compare designs with better ones: their answer depends on what is left.


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
