"""Tables as their authors wrote them: every cell a text, of CSV, JSON lines or parquet.

Nothing is guessed: `007`, `1E5`, `NaN` and a barcode of twenty digits stay what they are. What
becomes a number is decided by those who know the column (`didi_protein.scoring.table`).
"""

import csv
import io
import json
import os
import re
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, cast

import pandas as pd

from didi_core.errors import UserError
from didi_core.io.text_files import damage_explained, json_line, open_text, read_any_text

Columns = dict[str, list[Any]]
"""Cells by column, in the order of the file; None (of CSV: the empty text) where empty."""

_OTHER_SEPARATORS = {";": ";", "\t": "tabs", "|": "|"}


def read_csv(
    path: Path, name: str, needs: Collection[str] = (), separator: str = ","
) -> dict[str, list[str]]:
    """Return the cells of a CSV file by column.

    Args:
        name: how messages call the file: the flag or argument it came from.
        needs: columns it should have; where they stand apart by another separator, that is said.

    Raises:
        UserError: the file cannot be read, is empty, names a column twice, is separated otherwise,
            or a row has more cells than the header.
    """
    with closing(_csv_rows(path, name, separator)) as rows:
        header = next(rows, None)
        if header is None:
            raise UserError(f"{name} {path}: is no table (it is empty).")
        check_separator(header, path, name, needs)
        _refuse_twins(header, path, name)
        body = [
            _filled(row, len(header), f"{name} {path}: row {number}")
            for number, row in enumerate(rows, start=1)
        ]
    cells = zip(*body, strict=True) if body else ([] for _ in header)
    return {column: list(values) for column, values in zip(header, cells, strict=True)}


def csv_header(path: Path, name: str) -> list[str]:
    """Return the names of the columns of a CSV file; none where it is empty."""
    with closing(_csv_rows(path, name, ",")) as rows:
        return next(rows, [])


def check_separator(header: Sequence[str], path: Path, name: str, needs: Collection[str]) -> None:
    """Raise UserError where a header lacks columns that it has when it is cut at other signs, or
    is one column that such signs cut into several."""
    if set(needs) <= set(header):
        return
    for sign, called in _OTHER_SEPARATORS.items():
        cut = {each.strip('"') for cell in header for each in cell.split(sign)}
        if len(cut) > len(header) and (set(needs) & cut or len(header) == 1):
            raise UserError(
                f"{name} {path} is separated by {called}, as spreadsheets of many languages write "
                "CSV: save it again separated by commas, with decimal points."
            )


def _csv_rows(path: Path, name: str, separator: str) -> Generator[list[str], None, None]:
    """Yield the rows of a CSV file, blank lines left out."""
    with open_text(path, name) as stream, damage_explained(f"{name} {path}"):
        # A line break within a cell stays what it is.
        cast(io.TextIOWrapper, stream).reconfigure(newline="")
        yield from _cut(stream, separator, f"{name} {path}")


def _cut(stream: IO[str], separator: str, called: str) -> Generator[list[str], None, None]:
    """Cut lines into rows, blank ones left out."""
    before = csv.field_size_limit(2**31 - 1)  # the longest sequences pass its 131,072 letters
    try:
        yield from (row for row in csv.reader(stream, delimiter=separator, strict=True) if row)
    except csv.Error as error:
        raise UserError(f"{called}: is no table ({error}).") from error
    finally:
        csv.field_size_limit(before)  # it is one for all that this process reads


def _refuse_twins(header: Sequence[str], path: Path, name: str) -> None:
    twins = sorted({each for each in header if header.count(each) > 1})
    if twins:
        raise UserError(
            f"{name} {path} has the column {twins[0]!r} twice: rename or remove one of them."
        )


def _filled(row: list[str], width: int, place: str) -> list[str]:
    """Fill a row to the width of the header; cells left out at its end are empty."""
    if any(row[width:]):
        raise UserError(f"{place} has {len(row)} cells, the header {width}: mend that row.")
    return row[:width] + [""] * (width - len(row))


# Tables of others: whatever spreadsheets of any language write as CSV.

_SEPARATORS = (",", ";", "\t", "|")
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d*|\d{1,3}(?:\.\d{3})+),\d+(?:[eE][+-]?\d+)?")
"""0,5 and, with points between thousands, 1.200,5."""
_WHOLE = re.compile(r"[+-]?\d+(?:[eE][+-]?\d+)?")


def read_any_csv(
    path: str | os.PathLike[str], name: str, needs: Collection[str] = ()
) -> dict[str, list[str]]:
    """Return the cells of a table by column, whatever separates them and however it is encoded.

    The separator is the one of `, ; tab |` that gives the columns needed, else the most columns.
    Where it is no comma, a column of numbers with decimal commas is read with decimal points.
    Rows and columns without a cell are left out; a column without a name is `column_5`.

    Raises:
        UserError: the file cannot be read, is empty, names a column twice, or a row has more cells
            than the header.
    """
    called, text = f"{name} {path}", read_any_text(path, name)
    first, _, rest = text.partition("\n")
    if re.fullmatch(r"sep=.\s*", first):  # Excel's own line
        text = rest
    separator = _separator_of(text, needs)
    header, *rows = [*_cut(io.StringIO(text, newline=""), separator, called)] or [[]]
    body = [
        _filled(row, len(header), f"{called}: row {number}")
        for number, row in enumerate(rows, start=1)
        if any(row)
    ]
    columns = [
        (each or f"column_{place}", [row[place - 1] for row in body])
        for place, each in enumerate(header, start=1)
    ]
    kept = [
        (each, cells)
        for (each, cells), own in zip(columns, header, strict=True)
        if own or any(cells)
    ]
    if not kept:
        raise UserError(f"{called}: is no table (it is empty).")
    _refuse_twins([each for each, _ in kept], Path(path), name)
    return {each: cells if separator == "," else _with_points(cells) for each, cells in kept}


def _separator_of(text: str, needs: Collection[str]) -> str:
    def header(separator: str) -> list[str]:
        try:
            with closing(_cut(io.StringIO(text, newline=""), separator, "")) as rows:
                return next(rows, [])
        except UserError:  # quotes that end elsewhere: another sign separates it
            return []

    headers = {separator: header(separator) for separator in _SEPARATORS}
    return max(headers, key=lambda each: (set(needs) <= set(headers[each]), len(headers[each])))


def _with_points(cells: list[str]) -> list[str]:
    """Return numbers with decimal points, where most cells are numbers; the others as they are.

    >>> _with_points(["0,5", "n.d.", "1.200,5", "3"]), _with_points(["1,2", "a", "b"])
    (['0.5', 'n.d.', '1200.5', '3'], ['1,2', 'a', 'b'])
    """
    filled = [cell for cell in cells if cell]
    decimals = {cell for cell in filled if _DECIMAL_COMMA.fullmatch(cell)}
    num_numbers = sum(cell in decimals or bool(_WHOLE.fullmatch(cell)) for cell in filled)
    if 2 * num_numbers <= len(filled):
        return cells
    pointed = {cell: cell.replace(".", "").replace(",", ".") for cell in decimals}
    return [pointed.get(cell, cell) for cell in cells]


def read_json_lines(path: Path, name: str) -> Columns:
    """Return the values of a file of JSON objects, one a line; numbers as they are written.

    Raises:
        UserError: the file cannot be read, or a line holds something else.
    """
    with open_text(path, name) as stream, damage_explained(f"{name} {path}"):
        rows = [
            _json_object(line, f"{name} {path}, line {number}")
            for number, line in enumerate(stream, start=1)
            if line.strip()
        ]
    columns = dict.fromkeys(column for row in rows for column in row)
    return {column: [row.get(column) for row in rows] for column in columns}


def _json_object(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        if not isinstance(row, dict):
            raise ValueError(f"{line.strip()[:40]!r} is no JSON object")
        whole = json_line(line, place)  # refuses half a character, which cannot be written again
        if any(isinstance(value, list | dict) for value in row.values()):
            row |= _nested(whole)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} cannot be read ({error}).") from error
    return row


def _nested(row: Mapping[str, Any]) -> dict[str, str]:
    """Turn lists and objects into the text of their JSON."""
    return {
        name: json.dumps(value, ensure_ascii=False)
        for name, value in row.items()
        if isinstance(value, list | dict)
    }


def read_parquet(path: Path) -> Columns:
    """Return the values of a parquet file; None where empty."""
    table = pd.read_parquet(path)
    return {
        str(name): [None if is_missing(value) else value for value in table[name].tolist()]
        for name in table.columns
    }


def is_missing(value: object) -> bool:
    """Return whether a cell is empty; a text never is, not even one of no letters."""
    if isinstance(value, float):
        return value != value
    return value is None or value is pd.NA or value is pd.NaT
