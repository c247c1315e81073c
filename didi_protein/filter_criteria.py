"""The filters: each looks at designs in rank order and says which it rejects, and why.

Tables are indexed by the place of a row in the file, and sorted best first.
"""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import pandas as pd


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
