"""Where the scores of natural sequences lie, by the summary beside a table. Imports no torch.

Known are the range of references (`--reference`), that of a family (`--family`) and that of the
judge's natural proteins of the table's lengths. `report` draws it behind the designs, and `filter`
rewards no likelihood beyond it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.score_column import ScoreColumn

RANGES = "natural_ranges"
"""Key of the ranges in the summary of rows that `filter` kept, which has no reference rows."""
_ROWS = {"natural_held_out": "natural, held out", "natural_training": "natural"}
_BETTER = {"below": "lowest", "above": "highest"}
"""The end of a column that is better where values on that side of a range are."""


@dataclass(frozen=True)
class NaturalRange:
    """Where nine in ten natural sequences lie in a score."""

    low: float
    high: float
    source: str
    """What they are, in words."""

    def beside(self, value: float, column: ScoreColumn) -> str:
        """Return in words on which side of it a value lies; "" where within.

        Beyond the better end of some columns there is nothing to look at.

        >>> NaturalRange(3, 9, "natural").beside(2.5, COLUMN["judge_perplexity"])
        "below nature's 3.00"
        >>> NaturalRange(7, 62, "natural").beside(6, COLUMN["instability_index"])
        ''
        """
        side, end = ("below", self.low) if value < self.low else ("above", self.high)
        outside = value < self.low or value > self.high
        if column.best_without_limit and column.better == _BETTER[side]:
            return ""
        # Not where both are written alike: 98% is not above 98%.
        differs = column.write(value) != column.write(end)
        return f"{side} nature's {column.write(end)}" if outside and differs else ""


def natural_range(summary: Mapping[str, Any] | None, column: str) -> NaturalRange | None:
    """Return nature's range of a column; None where the summary knows none."""
    return next(_ranges(summary or {}, column), None)


def natural_ranges_of(summary: Mapping[str, Any] | None) -> dict[str, NaturalRange]:
    """Return every range that a summary knows, by column."""
    found = {name: natural_range(summary, name) for name in COLUMN}
    return {name: each for name, each in found.items() if each is not None}


def ranges_as_json(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of the ranges for the summary of some of the rows."""
    return {RANGES: {name: asdict(each) for name, each in natural_ranges_of(summary).items()}}


def _ranges(summary: Mapping[str, Any], column: str) -> Iterator[NaturalRange]:
    """Yield the ranges that are known, those of what the user gave first."""
    if kept := (summary.get(RANGES) or {}).get(column):
        yield NaturalRange(**kept)
    if found := _ends((summary.get("reference_ranges") or {}).get(column)):
        yield NaturalRange(*found, "natural sequences of --reference, 90%")
    family: Mapping[str, Any] = summary.get("family") or {}
    if found := _ends((family.get("natural_ranges") or {}).get(column)):
        yield NaturalRange(*found, f"natural sequences of {family.get('file')}, 90%")
    for name, words in _ROWS.items():
        row = (summary.get("reference_rows") or {}).get(name) or {}
        if between := row.get(f"{column}_range"):
            yield NaturalRange(between["low"], between["high"], f"{words}, 90%")


def _ends(pair: Sequence[float] | None) -> tuple[float, float] | None:
    return (pair[0], pair[1]) if pair else None
