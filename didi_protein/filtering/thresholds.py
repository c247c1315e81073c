"""The thresholds that the flags of `filter` ask for; all that is wrong is said at once."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from didi_core.errors import UserError
from didi_protein.filtering.options import FilterOptions
from didi_protein.scoring.properties import DEVELOPABILITY_COLUMNS
from didi_protein.scoring.table import COLUMNS, numbers_of


@dataclass(frozen=True)
class Bound:
    """A threshold as asked for."""

    flag: str
    column: str
    bound: float
    is_minimum: bool


@dataclass(frozen=True)
class _Flag:
    """A column that has a flag of its own."""

    column: str
    is_minimum: bool
    low: float
    high: float
    unit: str


_FLAGS = {
    "min_plddt": _Flag("mean_plddt", True, 0, 100, "0 to 100"),
    "min_ptm": _Flag("ptm", True, 0, 1, "0 to 1"),
    "max_pae": _Flag("mean_pae", False, 0, float("inf"), "0 and up, in ångström"),
    "max_judge_perplexity": _Flag("judge_perplexity", False, 1, float("inf"), "1 and up"),
    "max_repeat": _Flag("repeat_fraction", False, 0, 1, "0 to 1"),
    "max_identity": _Flag("nearest_reference_identity", False, 0, 1, "0 to 1"),
}


def name_of_flag(field: str) -> str:
    return "--" + field.replace("_", "-")


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
    for field, flag in _FLAGS.items():
        bound = getattr(options, field)
        if bound is None:
            continue
        if not flag.low <= bound <= flag.high:
            problems.append(f"{name_of_flag(field)} {bound:g}: {flag.column} is {flag.unit}.")
        elif field == "min_plddt" and 0 < bound <= 1:
            problems.append(
                f"--min-plddt {bound:g}: pLDDT is 0 to 100 here; say {100 * bound:g} if that is "
                "what you mean."
            )
        yield Bound(name_of_flag(field), flag.column, bound, flag.is_minimum)


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


# Columns as filters see them: their numbers, and which flag of `score` computes one.

_SCORE_FLAGS = {
    **dict.fromkeys(
        ("mean_plddt", "mean_plddt_all_atom", "ptm", "mean_pae", "foldable"), "--fold MODEL"
    ),
    "judge_perplexity": "--judge tiny-judge",
    **dict.fromkeys(("pseudo_perplexity", "pseudo_perplexity_one_pass"), "--pseudo MODEL"),
    "nearest_reference_identity": "--reference NATURAL.fasta",
}


_OTHER_WAYS = {
    "cluster": "score the whole set with the extra metrics installed (pip install "
    "'didi-protein[metrics]'); merge fills it in for shards",
    "structure_cluster": "run score with --fold MODEL --pdb-dir DIR, and Foldseek on the path",
    "max_reference_tm": "run score with --reference FOLDER of structures, and Foldseek on the path",
}


NONE_FOUND_IS_EMPTY = {"nearest_reference_identity": "sequence", "max_reference_tm": "pdb_file"}
"""Columns in which empty means that nothing alike was found, once the comparison was made; with the
column that a row must have to be compared."""


def compared_columns(summary: Mapping[str, Any]) -> frozenset[str]:
    """Those of `NONE_FOUND_IS_EMPTY` that were computed, says `NAME.summary.json`, even if no row
    has a value."""
    found = {
        "nearest_reference_identity": summary.get("reference") is not None,
        "max_reference_tm": "max_reference_tm" in (summary.get("definitions") or {}),
    }
    return frozenset(column for column, computed in found.items() if computed)


def how_to_compute(column: str) -> str:
    """What to do where a column was never computed."""
    if column in _SCORE_FLAGS:
        return f"run score with {_SCORE_FLAGS[column]} (and --resume)"
    return _OTHER_WAYS.get(column, "write the table again with score")


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
    known = {*COLUMNS, *DEVELOPABILITY_COLUMNS, *table.columns}
    close = difflib.get_close_matches(column, sorted(known), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


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
    if column in NONE_FOUND_IS_EMPTY and (reference_used or values.notna().any()):
        return values.mask(values.isna() & table[NONE_FOUND_IS_EMPTY[column]].notna(), 0.0)
    if len(values) and not values.notna().any():
        raise UserError(
            f"{flag}: {column} was not computed in this table; {how_to_compute(column)}."
        )
    return values
