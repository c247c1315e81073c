"""The thresholds that the flags of `filter` ask for; all that is wrong is said at once."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from didi_core.errors import UserError
from didi_protein.filtering.options import FilterOptions
from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.score_column import ScoreColumn
from didi_protein.scoring.table import numbers_of


@dataclass(frozen=True)
class Bound:
    """A threshold as asked for."""

    flag: str
    column: str
    bound: float
    is_minimum: bool


def bounds_of(options: FilterOptions) -> list[Bound]:
    """Every threshold asked for, flags of their own first.

    Raises:
        UserError: values out of range, or a --min or --max that cannot be read; all of them.
    """
    problems: list[str] = []
    bounds = [*_own_flags(options, problems)]
    if options.foldable:
        bounds.append(Bound("--foldable", "foldable", 1.0, True))
    for flag, texts in (("--min", options.minimum), ("--max", options.maximum)):
        bounds += _general_flags(flag, texts or [], problems)
    if options.copies not in ("drop", "keep"):
        problems.append(f"--copies {options.copies}: give drop or keep.")
    if options.top is not None and options.top < 1:
        problems.append(f"--top {options.top}: give a number of 1 or more.")
    if options.max_similarity is not None and not 0 <= options.max_similarity <= 1:
        problems.append(f"--max-similarity {options.max_similarity:g}: give 0 to 1.")
    raise_all(problems)
    return bounds


def raise_all(problems: Sequence[str]) -> None:
    if problems:
        raise UserError("\n".join(problems))


def _own_flags(options: FilterOptions, problems: list[str]) -> Iterator[Bound]:
    for column in COLUMN.values():
        bound = bound_of(options, column)
        if bound is None:
            continue
        flag = column.filter_flag
        if not column.low <= bound <= column.high:
            problems.append(f"{flag} {bound:g}: {column.name} is {column.range_and_unit}.")
        elif column.name == "mean_plddt" and 0 < bound <= 1:
            problems.append(
                f"{flag} {bound:g}: pLDDT is 0 to 100 here; say {100 * bound:g} if that is what "
                "you mean."
            )
        yield Bound(flag, column.name, bound, is_minimum=flag.startswith("--min-"))


def bound_of(options: FilterOptions, column: ScoreColumn) -> float | None:
    """Return what the flag of a column says; None where it has none, or was not given."""
    if not column.filter_flag:
        return None
    return getattr(options, column.filter_flag.removeprefix("--").replace("-", "_"))


def _general_flags(flag: str, texts: Sequence[str], problems: list[str]) -> Iterator[Bound]:
    for text in texts:
        column, _, number = text.partition("=")
        try:
            bound = float(number)
        except ValueError:
            bound = float("nan")
        if not column or bound != bound:
            problems.append(f"{flag} {text}: write COLUMN=NUMBER, as in {flag} gravy=0.")
        yield Bound(f"{flag} {column}", column, bound, flag == "--min")


# Columns as filters see them: their numbers, and what to do where there are none.


def compared_columns(summary: Mapping[str, Any]) -> frozenset[str]:
    """Return the columns that hold comparisons with references, and were computed, says
    `NAME.summary.json`, even if no row has a value."""
    found = {
        "nearest_reference_identity": summary.get("reference") is not None,
        "max_reference_tm": "max_reference_tm" in (summary.get("definitions") or {}),
    }
    return frozenset(column for column, computed in found.items() if computed)


def how_to_compute(column: str) -> str:
    """What to do where a column was never computed."""
    return COLUMN[column].how_to_compute if column in COLUMN else "write the table again with score"


def numbers(table: pd.DataFrame, column: str, flag: str) -> pd.Series:
    """A column as floats, empty ones NaN; yes counts 1 and no 0.

    Raises:
        UserError: the table has no such column, or a cell of it is no number.
    """
    if column not in table:
        raise UserError(f"{flag}: the table has no column {column}{_like(column, table)}.")
    return numbers_of(table, column, flag)


def _like(column: str, table: pd.DataFrame) -> str:
    """Columns that were perhaps meant."""
    known = {*COLUMN, *table.columns}
    close = difflib.get_close_matches(column, sorted(known), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(close)}?)" if close else "; give one of its first line"


def known_numbers(
    table: pd.DataFrame, column: str, flag: str, reference_used: bool = False
) -> pd.Series:
    """The numbers of a column that was computed; 0 where empty means that nothing alike was found.

    Args:
        table: the rows that were scored.
        reference_used: whether the designs were compared with references at all.

    Raises:
        UserError: as `numbers`, or no row has a value.
    """
    values = numbers(table, column, flag)
    compared = COLUMN[column].compared if column in COLUMN else ""
    if compared and (reference_used or values.notna().any()):
        return values.mask(values.isna() & table[compared].notna(), 0.0)
    if len(values) and not values.notna().any():
        raise UserError(
            f"{flag}: {column} was not computed in this table; {how_to_compute(column)}."
        )
    return values
