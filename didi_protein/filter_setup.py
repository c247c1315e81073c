"""From the flags of `filter` and the table to the order of the designs and the filters."""

from collections.abc import Iterator, Sequence

import pandas as pd

from didi_core.errors import UserError
from didi_protein import mmseqs
from didi_protein.developability import DEVELOPABILITY_COLUMNS, developability
from didi_protein.filter import FilterOptions
from didi_protein.filter_bounds import Bound, raise_all
from didi_protein.filter_columns import how_to_compute, known_numbers
from didi_protein.filter_comparisons import Duplicate, Neighbours, OnePer, Similar, Top
from didi_protein.filter_criteria import Filter, Threshold
from didi_protein.ranking import HIGHER_IS_BETTER, SortKey, default_sort, ranked

SIMILARITY_FLAGS = ("-c", "0.7", "--cov-mode", "0")
"""At least 70% of both sequences aligns, as for clusters."""
_DIRECTIONS = {"highest": True, "lowest": False}


def add_counts(
    table: pd.DataFrame, options: FilterOptions, bounds: Sequence[Bound]
) -> pd.DataFrame:
    """The table with the counts of `didi_protein.developability`, where anything asks for them."""
    named = {each.column for each in bounds}
    named |= {column for column, _ in _sort_parts(options.sort_by)}
    if not options.developability and not named & set(DEVELOPABILITY_COLUMNS):
        return table
    scored = table["status"] == "ok"
    counts = [developability(each) for each in table.loc[scored, "sequence"]]
    columns = pd.DataFrame(counts, index=table.index[scored], columns=list(DEVELOPABILITY_COLUMNS))
    table = table.drop(columns=[name for name in columns if name in table])
    return table.join(columns.astype("Int64"))


def _sort_parts(sort_by: str | None) -> list[tuple[str, str]]:
    parts = [each.strip().partition(":") for each in (sort_by or "").split(",") if each.strip()]
    return [(column, direction) for column, _, direction in parts]


def sort_keys(sort_by: str | None, table: pd.DataFrame) -> list[SortKey]:
    """The order asked for, else the usual one.

    Raises:
        UserError: a column whose better end is neither known nor said; all of them.
    """
    parts = _sort_parts(sort_by)
    unclear = [
        f"--sort-by {column}: say which end is better, {column}:highest or {column}:lowest."
        for column, direction in parts
        if direction not in ("", *_DIRECTIONS) or not (direction or column in HIGHER_IS_BETTER)
    ]
    raise_all(unclear)
    return [
        SortKey(column, _DIRECTIONS.get(direction, HIGHER_IS_BETTER.get(column, True)))
        for column, direction in parts
    ] or default_sort(table)


def in_order(
    table: pd.DataFrame, keys: Sequence[SortKey], compared: frozenset[str]
) -> pd.DataFrame:
    """The rows, best first.

    Raises:
        UserError: a column that does not exist or was never computed.
    """
    columns = {
        key.column: known_numbers(
            table, key.column, f"--sort-by {key.column}", key.column in compared
        )
        for key in keys
    }
    return table.loc[ranked(table.assign(**columns), keys).index]


def build_filters(
    options: FilterOptions,
    table: pd.DataFrame,
    bounds: Sequence[Bound],
    keys: Sequence[SortKey],
    compared: frozenset[str],
) -> list[Filter]:
    """The filters in the order of the funnel, after the status.

    Args:
        table: the rows that were scored.
        compared: columns that were computed even where all rows are empty.

    Raises:
        UserError: a column was never computed; all of them are named.
    """
    problems: list[str] = []
    filters: list[Filter] = []
    for each in bounds:
        try:
            values = known_numbers(table, each.column, each.flag, each.column in compared)
        except UserError as error:
            problems.append(str(error))
            continue
        filters.append(Threshold(each.flag, each.column, each.bound, each.is_minimum, values))
    problems += _problems_of_one_per(options.one_per, table)
    raise_all(problems)
    return [*filters, *_comparing_filters(options, table, keys)]


def _problems_of_one_per(column: str | None, table: pd.DataFrame) -> Iterator[str]:
    if column is None:
        return
    if column not in table:
        yield f"--one-per {column}: the table has no such column; {how_to_compute(column)}."
    elif len(table) and table[column].isna().all():
        yield f"--one-per {column}: it was not computed in this table; {how_to_compute(column)}."


def _comparing_filters(
    options: FilterOptions, table: pd.DataFrame, keys: Sequence[SortKey]
) -> Iterator[Filter]:
    yield Duplicate()
    if options.one_per is not None:
        yield OnePer(options.one_per)
    if options.max_similarity is not None:
        yield Similar(options.max_similarity, _neighbours(table["sequence"]))
    if options.top is not None:
        yield Top(options.top, ", ".join(key.in_words() for key in keys) or "order in the table")


def _neighbours(sequences: "pd.Series[str]") -> Neighbours:
    """Identity of each pair of different sequences that MMseqs2 aligns, both ways."""
    distinct = list(dict.fromkeys(sequences))
    found: dict[str, dict[str, float]] = {each: {} for each in distinct}
    if len(distinct) < 2:
        return found
    flags = (*SIMILARITY_FLAGS, "--max-seqs", str(max(1_000, len(distinct))))
    for first, second, identity, *_ in mmseqs.search(distinct, distinct, flags):
        if first != second:
            one, two = distinct[first], distinct[second]
            found[one][two] = found[two][one] = max(identity, found[one].get(two, 0.0))
    return found
