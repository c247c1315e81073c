"""Sequences of anybody's table: CSV and TSV, as spreadsheets of any language write them.

    read_table("hits.csv", ColumnNames("Sequence", "Name"))

Nothing is guessed: which column holds the sequences is said by `--sequence-column`. The other
columns go with each record as the pairs of a FASTA header do.
"""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from didi_core.errors import UserError, as_written
from didi_core.io.tables import csv_header, read_any_csv

SURE_SUFFIXES = (".csv", ".tsv", ".tab")
"""Of tables that are read where a folder is given."""
TABLE_SUFFIXES = (*SURE_SUFFIXES, ".txt")
"""Of those that are read where they are named themselves: a text may be anything else."""
WORKBOOK_SUFFIXES = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_OUR_PREFIX = "header_"
"""Of columns that a table of scores has from headers: taken off, so that none gets it twice."""
_MOST_NAMED = 30


@dataclass(frozen=True)
class ColumnNames:
    """Which columns of a table are asked for."""

    sequence: str
    id: str | None = None
    """None: the column `id` where there is one, else the name of the file and the row, from 1."""


def asked_columns(sequence: str | None, id_column: str | None) -> ColumnNames | None:
    """Return what `--sequence-column` and `--id-column` ask for; None where neither is given.

    Raises:
        UserError: ids of a table without its sequences.
    """
    if sequence is not None:
        return ColumnNames(sequence, id_column)
    if id_column is not None:
        raise UserError(
            f"--id-column {id_column}: say where the sequences stand too, with --sequence-column "
            "NAME."
        )
    return None


@dataclass(frozen=True)
class TableRow:
    """One sequence of a table."""

    id: str
    sequence: str
    header: dict[str, str]
    """The other cells that are not empty, by column."""


def read_table(
    path: str | os.PathLike[str], columns: ColumnNames, name: str = "INPUT"
) -> list[TableRow]:
    """Return the sequences of a table, in order; an empty cell is a sequence of no letters.

    Args:
        name: how messages call the file: the flag or argument it came from.

    Raises:
        UserError: the file cannot be read, has no rows, or lacks a column; those it has are named.
    """
    needs = [each for each in (columns.sequence, columns.id) if each is not None]
    cells = read_any_csv(path, name, needs)
    called = as_written(name, path)
    for flag, wanted in (("--sequence-column", columns.sequence), ("--id-column", columns.id)):
        if wanted is not None and wanted not in cells:
            raise UserError(f"{flag} {wanted}: {called} has no such column{_named(wanted, cells)}")
    sequences = [each.strip() for each in cells[columns.sequence]]
    if not sequences:
        raise UserError(f"{called} has a header and no rows: nothing to read.")
    ids = columns.id or ("id" if "id" in cells else None)
    others = {
        column.removeprefix(_OUR_PREFIX) or column: values
        for column, values in cells.items()
        if column not in (columns.sequence, ids)
    }
    stem = Path(Path(path).name.removesuffix(".gz")).stem
    return [
        TableRow(
            cells[ids][place] if ids is not None else f"{stem}_{place + 1}",
            sequence,
            {column: values[place] for column, values in others.items() if values[place]},
        )
        for place, sequence in enumerate(sequences)
    ]


def _named(wanted: str, cells: dict[str, list[str]]) -> str:
    """Name the columns that there are, the nearest first."""
    near = difflib.get_close_matches(wanted, cells, n=1, cutoff=0.6)
    near += [each for each in cells if each.lower() == wanted.lower() and each not in near]
    named = ", ".join(repr(each) for each in list(cells)[:_MOST_NAMED])
    more = f" and {len(cells) - _MOST_NAMED} more" if len(cells) > _MOST_NAMED else ""
    meant = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{meant}; it has {named}{more}."


def is_table(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is called like a table of text, packed or not."""
    return _suffix(path) in TABLE_SUFFIXES


def refuse_workbook(path: str | os.PathLike[str], name: str) -> None:
    """Raise UserError where a file is called like a workbook, which only its program reads."""
    if _suffix(path) in WORKBOOK_SUFFIXES:
        raise UserError(
            f"{as_written(name, path)} is a workbook: save its sheet as CSV, and give that with "
            "--sequence-column NAME."
        )


def refuse_scores(path: str | os.PathLike[str], name: str) -> None:
    """Raise UserError where a file is a table of scores, and which of its columns to read is not
    said: what takes such a table is another verb."""
    if _is_of_scores(path, name):
        csv = "" if _suffix(path) in SURE_SUFFIXES else "save it as CSV, and "
        raise UserError(
            f"{as_written(name, path)} is a table of scores already: filter and report take it. To "
            f"read its sequences again, {csv}name their column, with --sequence-column sequence."
        )


def _is_of_scores(path: str | os.PathLike[str], name: str) -> bool:
    """Return whether a file has the columns of a table of scores, or their suffix."""
    if not Path(path).is_file():
        return False
    if (suffix := _suffix(path)) in SURE_SUFFIXES:
        try:
            return {"id", "status", "sequence"} <= set(csv_header(Path(path), name))
        except UserError:
            return False  # who reads it says what it is
    return suffix in (".parquet", ".jsonl")


def _suffix(path: str | os.PathLike[str]) -> str:
    return Path(Path(path).name.lower().removesuffix(".gz")).suffix
