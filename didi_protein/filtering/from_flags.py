"""From the flags of `filter` and the table to the order of the designs and the filters."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from didi_core.errors import UserError
from didi_protein.filtering.criteria import (
    Copies,
    Duplicate,
    Filter,
    Natives,
    Neighbours,
    OnePer,
    Similar,
    Threshold,
    Top,
)
from didi_protein.filtering.memory import Memory
from didi_protein.filtering.options import FilterOptions
from didi_protein.filtering.ranking import SortKey, default_sort, ranked
from didi_protein.filtering.thresholds import Bound, how_to_compute, known_numbers, raise_all
from didi_protein.scoring.columns import COLUMN, names_by
from didi_protein.scoring.natural_range import NaturalRange
from didi_protein.scoring.properties import developability
from didi_protein.scoring.table import are_designs
from didi_protein.similarity import mmseqs

GROUPING = ("cluster", "structure_cluster", "parent")
"""Columns of ours that put designs in groups, for `--one-per`."""
SIMILARITY_FLAGS = ("-c", "0.7", "--cov-mode", "0")
"""At least 70% of both sequences aligns, as for clusters."""


def add_counts(
    table: pd.DataFrame, options: FilterOptions, bounds: Sequence[Bound]
) -> pd.DataFrame:
    """Return the table with the counts of `scoring.properties`, where anything asks for them."""
    named = {each.column for each in bounds}
    named |= {column for column, _ in _sort_parts(options.sort_by)}
    motifs = list(names_by("motifs"))
    if not options.developability and named.isdisjoint(motifs):
        return table
    scored = table["status"] == "ok"
    counts = [developability(each) for each in table.loc[scored, "sequence"]]
    columns = pd.DataFrame(counts, index=table.index[scored], columns=motifs)
    table = table.drop(columns=[name for name in columns if name in table])
    return table.join(columns.astype("Int64"))


def _sort_parts(sort_by: str | None) -> list[tuple[str, str]]:
    parts = [each.strip().partition(":") for each in (sort_by or "").split(",") if each.strip()]
    return [(column, direction) for column, _, direction in parts]


def sort_keys(
    sort_by: str | None,
    table: pd.DataFrame,
    judge_knows: bool = True,
    natural: Mapping[str, NaturalRange] | None = None,
) -> list[SortKey]:
    """The order asked for, else the usual one; a likelihood ranks no further than nature's best.

    Args:
        judge_knows: whether the judge may rank where no order is asked for.
        natural: where natural sequences lie, by column.

    Raises:
        UserError: a column whose better end is neither known nor said; all of them.
    """
    parts = [(column, direction or _better(column)) for column, direction in _sort_parts(sort_by)]
    raise_all(
        [
            f"--sort-by {column}: say which end is better, {column}:highest or {column}:lowest."
            for column, direction in parts
            if direction not in ("highest", "lowest")
        ]
    )
    asked = [SortKey(column, direction == "highest") for column, direction in parts]
    return [key.limited(natural or {}) for key in asked] or default_sort(
        table, judge_knows, natural
    )


def _better(column: str) -> str:
    return COLUMN[column].better if column in COLUMN else ""


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
    filters: list[Filter] = [] if are_designs(table).all() else [Natives()]
    if options.copies == "drop" and (memory := Memory.of(table)).is_known:
        filters.append(Copies(memory))
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
    present = [name for name in GROUPING if name in table and table[name].notna().any()]
    instead = f", or give --one-per {' or '.join(present)}, which it has" if present else ""
    if column not in table:
        missing = "the table has no such column"
    elif len(table) and table[column].isna().all():
        missing = "it was not computed in this table"
    else:
        return
    yield f"--one-per {column}: {missing}; {how_to_compute(column)}{instead}."


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
    every = mmseqs.all_pairs_flags(distinct, distinct)
    for first, second, identity, *_ in mmseqs.search(distinct, distinct, flags, prefilter=every):
        if first != second:
            one, two = distinct[first], distinct[second]
            found[one][two] = found[two][one] = max(identity, found[one].get(two, 0.0))
    return found
