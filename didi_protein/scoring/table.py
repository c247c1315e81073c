"""The table of scores: how it is built, written and read; `scoring.columns` knows its columns.

One row for every input record, in input order. A column that was not computed is empty: never a
zero, never a guess. Every column that is not ours is text, from end to end.
"""

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from didi_core.errors import UserError, missing_extra
from didi_core.io.files import atomic_open, atomic_path
from didi_core.io.shards import SHARD_KEY
from didi_core.io.tables import (
    Columns,
    is_missing,
    read_csv,
    read_json_lines,
    read_parquet,
)
from didi_protein.scoring.columns import COLUMNS, type_of
from didi_protein.sequences.fasta import FASTA_SUFFIXES

SUFFIXES = (".csv", ".parquet", ".jsonl")


SIGNIFICANT_DIGITS = 6

UNREADABLE = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError),
    *(NotImplementedError, RecursionError),
)
"""What pandas and pyarrow raise on files that are damaged, or something else altogether."""


def check_suffix(path: Path, flag: str = "--out") -> None:
    """Raise UserError unless the name ends in one of the formats we write."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"{flag} {path}: the name must end in {', '.join(SUFFIXES)}.")
    if path.suffix == ".parquet":
        _require_pyarrow()


def summary_path(table: Path) -> Path:
    """Where the figures of the whole set stand: beside `NAME.csv`, `NAME.summary.json`."""
    return table.with_suffix(".summary.json")


OF_ITS_ROWS = (
    *("num_records", "num_ok", "num_natives", "by_status", "set", "reference_rows"),
    "warnings",
)
"""What a summary says of the rows of its own table."""


def without_figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a summary says of how rows were scored: that holds for others of them, too."""
    kept = {name: each for name, each in summary.items() if name not in (*OF_ITS_ROWS, SHARD_KEY)}
    if isinstance(family := kept.get("family"), dict):
        kept["family"] = {**family, "statistics": None, "plots": None}
    return kept


def rounded(value: Any) -> Any:
    """A float with six significant digits; anything else as it is."""
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return value


def build_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows in the fixed column order; other keys that have a value anywhere follow in the order in
    which they appear."""
    extra = dict.fromkeys(
        key for row in rows for key, value in row.items() if key not in COLUMNS and _says(value)
    )
    names = [*COLUMNS, *extra]
    return pd.DataFrame({name: _column(name, [row.get(name) for row in rows]) for name in names})


def _says(value: object) -> bool:
    """Whether a cell holds anything: a text without letters is no value, in every format alike."""
    return not is_missing(value) and value != ""


def _column(name: str, values: Sequence[Any]) -> pd.Series:
    """A column of its type. Where one cell is not written as that type is, all are kept as text:
    nothing is changed, and who needs numbers asks `numbers_of`."""
    if name == "sequence":  # an empty one is a text of length 0, not a missing one
        return pd.Series([text_of(each) if _says(each) else "" for each in values], dtype=object)
    convert, dtype = _CONVERSIONS[type_of(name)]
    try:
        return pd.Series([convert(each) if _says(each) else None for each in values], dtype=dtype)
    except ValueError:
        return pd.Series([text_of(each) if _says(each) else None for each in values], dtype=object)


def text_of(value: object) -> str:
    """A value as it stands in a cell; what no file can hold (half a character) is escaped."""
    text = repr(float(value)) if isinstance(value, float) else str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def whole_number(value: object) -> int:
    """An integer of 64 bits, written as we write one.

    Raises:
        ValueError: `007`, `1e5`, twenty digits, or no number at all.
    """
    if isinstance(value, str):
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", value):
            raise ValueError(f"{value!r} is no integer of ours")
    elif isinstance(value, bool) or not (
        isinstance(value, Integral) or (isinstance(value, float) and value.is_integer())
    ):
        raise ValueError(f"{value!r} is no integer")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{value!r} does not fit 64 bits")
    return number


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | Real):
        raise ValueError(f"{value!r} is no number")
    number = float(value)
    if not math.isfinite(number) or (isinstance(value, str) and repr(number) != value):
        raise ValueError(f"{value!r} is no number as we write one")
    return number


def _yes_or_no(value: object) -> bool:
    if isinstance(value, bool | np.bool_) or value in ("True", "False"):
        return str(value) == "True"
    raise ValueError(f"{value!r} is neither yes nor no")


_CONVERSIONS: Mapping[str, tuple[Callable[[Any], Any], Any]] = {
    "text": (text_of, object),
    "integer": (whole_number, "Int64"),
    "number": (_number, "float64"),
    "yes_no": (_yes_or_no, "boolean"),
}


def typed(name: str, value: object) -> Any:
    """Return a value as the type of the column.

    Raises:
        ValueError: it is not written as we write one of that type.
    """
    convert, _ = _CONVERSIONS[type_of(name)]
    return convert(value)


NOT_MEASURED = ("n.d.", "nd", "n.a.", "na", "n/a", "#n/a", "nan", "none", "-")
"""What people write where they have no number, in any case of the letters."""


def numbers_of(table: pd.DataFrame, column: str, called: str) -> pd.Series:
    """Return a column as floats, empty cells and `NOT_MEASURED` NaN; yes counts 1 and no 0.

    Args:
        called: what asks for numbers, for messages.

    Raises:
        UserError: a cell is no number; its row is named.
    """
    values = table[column]
    if values.dtype != object:
        return values.astype("Float64").astype(float)
    numbers = [_number_asked_for(value) for value in values]
    wrong = [place for place, number in enumerate(numbers) if number is None]
    if wrong:
        place, more = wrong[0], f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
        raise UserError(
            f"{called}: column {column} of row {values.index[place] + 1}, id "
            f"{table['id'].iloc[place]}, holds {values.iloc[place]!r}{more}, which is no number."
        )
    return pd.Series(numbers, index=values.index, dtype="float64")


def _number_asked_for(value: object) -> float | None:
    """NaN of a cell that says there is none; None of a text that is no number."""
    if not _says(value):
        return math.nan
    text = text_of(value)
    if text.strip().lower() in NOT_MEASURED:
        return math.nan
    if text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def write_scores(path: str | os.PathLike[str], table: pd.DataFrame) -> None:
    """Write a table atomically, in the format of the suffix.

    Raises:
        UserError: the suffix is unknown.
    """
    target = Path(path)
    check_suffix(target)
    if target.suffix == ".jsonl":
        with atomic_open(target) as stream:
            stream.writelines(json.dumps(row) + "\n" for row in plain_rows(table))
        return
    with atomic_path(target) as temporary:
        if target.suffix == ".csv":
            _write_csv(temporary, table)
        else:
            table.to_parquet(temporary, index=False)


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    """Texts as they are, quoted where they must be."""
    with open(path, "w", encoding="utf-8", newline="") as stream:
        plain = csv.writer(stream, lineterminator="\n")
        # Before Python 3.13 a lone carriage return would stand unquoted, and end the row.
        quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for row in _rows_of_text(table):
            (quoted if any("\r" in cell for cell in row) else plain).writerow(row)


def _rows_of_text(table: pd.DataFrame) -> Iterable[Sequence[str]]:
    yield [str(name) for name in table.columns]
    columns = [
        ["" if is_missing(value) else text_of(value) for value in table[name].tolist()]
        for name in table.columns
    ]
    yield from zip(*columns, strict=True)


def first_failure(rows: Iterable[Mapping[Any, Any]]) -> str:
    """Return id and reason of the first row whose status is not ok; "" where there is none."""
    failed = next((each for each in rows if each["status"] != "ok"), None)
    if failed is None:
        return ""
    error = failed.get("error")
    return f"{failed['id']}: {failed['status'] if is_missing(error) else error}"


def are_designs(table: pd.DataFrame) -> "pd.Series[bool]":
    """Return whether each row is a design: not so the sequence that an inverse folder was given."""
    if "native" not in table:
        return pd.Series(True, index=table.index)
    return ~table["native"].map(is_native).astype(bool)


def is_native(value: object) -> bool:
    """Return whether a cell of the column `native` says so."""
    return not is_missing(value) and str(value) == "True"


def scored_designs(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that figures of a set are of: designs whose status is ok."""
    return table[(table["status"] == "ok") & are_designs(table)]


def plain_rows(table: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Rows with None where empty, and no numpy type."""
    columns = {
        name: [None if is_missing(value) else value for value in table[name].tolist()]
        for name in table.columns
    }
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _refuse_fasta(source: Path, name: str) -> None:
    """Raise UserError where sequences stand in the place of the table that score makes of them."""
    if source.name.removesuffix(".gz").endswith(FASTA_SUFFIXES):
        raise UserError(
            f"{name} {source} is no table of scores; write one with: "
            f"didi-protein score {source} --out F.csv"
        )


@contextmanager
def spreadsheet_explained(source: Path) -> Iterator[None]:
    """Add to the refusal of a table, within, how one that score did not write is used."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error} {_score_first(source)}") from error


def _score_first(source: Path) -> str:
    """Return how a table that `score` did not write becomes one that it did."""
    sheet = source if source.suffix in (".csv", ".tsv", ".tab") else source.with_suffix(".csv")
    saved = "" if sheet == source else "save its sheet as CSV, and "
    return (
        f"A spreadsheet goes through score first: {saved}run didi-protein score {sheet} "
        f"--sequence-column NAME --out {source.with_suffix('.scored.csv')}."
    )


def read_scores(
    path: str | os.PathLike[str],
    name: str = "INPUT",
    needs: Sequence[str] = ("id", "status", "sequence"),
) -> pd.DataFrame:
    """Read a table that `write_scores` wrote. Only an empty field is missing: a sequence, an id or
    a model may well be called NA.

    Args:
        name: how messages call the file: the flag or argument it came from.
        needs: columns without which it is no table of scores. A table that states no status holds
            scored rows alone.

    Raises:
        UserError: the file is missing, or no table of scores.
    """
    source = Path(path)
    _refuse_fasta(source, name)
    if not source.is_file():
        raise UserError(f"{name} {source}: there is no such file; give a table that score wrote.")
    with spreadsheet_explained(source):
        check_suffix(source, name)
        cells = read_cells(source, name, needs)
    if source.suffix == ".jsonl" and not cells:  # a table without rows has no line to name columns
        cells = {column: [] for column in COLUMNS}
    missing = [column for column in needs if column not in cells]
    if missing:
        what = f"{name} {source} is no table of scores: it has no {', '.join(missing)}."
        raise UserError(f"{what} {_score_first(source)}")
    if "status" not in cells:
        cells["status"] = ["ok"] * len(cells[needs[0]])
    return _typed(dict.fromkeys(COLUMNS) | cells)


def _typed(cells: Mapping[str, Sequence[Any] | None]) -> pd.DataFrame:
    """A table of cells by column, those of ours as their types; None stands for an empty column."""
    num_rows = next((len(values) for values in cells.values() if values is not None), 0)
    return pd.DataFrame(
        {name: _column(name, values or [None] * num_rows) for name, values in cells.items()}
    )


def read_cells(path: Path, name: str, needs: Sequence[str]) -> Columns:
    """Every cell of a table by column, as it is written.

    Args:
        needs: columns that it should have.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        if path.suffix == ".parquet":
            return read_parquet(path)
        if path.suffix == ".jsonl":
            return read_json_lines(path, name)
        return dict(read_csv(path, name, needs))
    except UNREADABLE as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name} {path} cannot be read as a table of scores: {error}") from error


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise missing_extra("pyarrow", "parquet") from error
