"""Where a design comes from: from a row of scores back to id and pairs of a FASTA header."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from didi_core.errors import UserError
from didi_core.io.tables import is_missing
from didi_protein.scoring.columns import names_by
from didi_protein.scoring.table import text_of
from didi_protein.sequences.design_ids import OTHER_PREFIX, named_repeats
from didi_protein.sequences.fasta import NAME_KEY, is_one_word, unique_ids

HEADER_PREFIX = "header_"


_MOST_NAMED = 5


def header_of_row(row: Mapping[str, Any]) -> dict[str, str]:
    """Length, model, sampler, steps, calls and seed, and the other pairs the header had.

    What the header said under one of these names, and no column of ours could take, stays.
    """
    pairs = {"length": len(row["sequence"]), **{key: row.get(key) for key in names_by("header")}}
    for column, value in row.items():
        if column.startswith(HEADER_PREFIX) and not is_missing(value):
            pairs[column.removeprefix(HEADER_PREFIX)] = value
    return {key: text_of(value) for key, value in pairs.items() if not is_missing(value)}


def check_ids(table: pd.DataFrame, called: str) -> None:
    """Refuse ids that no FASTA file can lead back from.

    Args:
        called: the table, as messages call it.

    Raises:
        UserError: ids that are empty, hold a line break, or stand there twice, with their rows.
    """
    ids = table["id"].fillna("").astype(str)
    problems = {
        "an empty id": ids.str.strip() == "",
        "an id with a line break": ids.map(lambda each: len(each.splitlines()) > 1),
        "an id that another row has": ids.duplicated(keep=False),
    }
    found = [
        f"{problem} in {_rows(table.index[wrong])}"
        for problem, wrong in problems.items()
        if wrong.any()
    ]
    if found:
        repeated = named_repeats(ids[ids.str.strip() != ""].tolist())
        fix = (
            f" Rows share {repeated}: give the files of all runs to one score, which tells their "
            f"ids apart; {OTHER_PREFIX}."
        )
        raise UserError(
            f"{called}: {'; '.join(found)} (the first row after the header is 1)."
            f"{fix if repeated else ''}"
        )


def _rows(places: pd.Index) -> str:
    named = ", ".join(str(place + 1) for place in places[:_MOST_NAMED])
    more = f" and {len(places) - _MOST_NAMED:,} more" if len(places) > _MOST_NAMED else ""
    return f"{'row' if len(places) == 1 else 'rows'} {named}{more}"


def with_words_as_ids(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an id of one word in each row; the ids that were none stand in
    `header_name`, or where the header has a name, in `header_name#2`."""
    ids = ["" if is_missing(each) else str(each) for each in table["id"]]
    changed = [bool(each.strip()) and not is_one_word(each) for each in ids]
    if not any(changed) and all(ids):
        return table
    table = table.assign(id=pd.Series(unique_ids(ids), index=table.index, dtype=object))
    for column, wanted in _name_columns(table, changed).items():
        kept = table[column] if column in table else [None] * len(table)
        values = [
            original if is_wanted else value
            for original, is_wanted, value in zip(ids, wanted, kept, strict=True)
        ]
        table[column] = pd.Series(values, index=table.index, dtype=object)
    return table


def _name_columns(table: pd.DataFrame, changed: list[bool]) -> dict[str, list[bool]]:
    """Which rows keep their id in which column."""
    column = HEADER_PREFIX + NAME_KEY
    named = [False] * len(table)
    if column in table:
        named = [not is_missing(each) and each != "" for each in table[column]]
    free = [each and not has for each, has in zip(changed, named, strict=True)]
    taken = [each and has for each, has in zip(changed, named, strict=True)]
    return {name: rows for name, rows in ((column, free), (f"{column}#2", taken)) if any(rows)}
