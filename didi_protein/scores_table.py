"""The table of scores: its columns, and how it is written and read.

One row for every input record, in input order. A column that was not computed is empty: never a
zero, never a guess.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core.errors import UserError, missing_extra
from didi_core.files import atomic_open, atomic_path
from didi_core.text_files import UTF_8, encoding_explained, json_line
from didi_protein.text_input import read_csv

SUFFIXES = (".csv", ".parquet", ".jsonl")
HEADER_COLUMNS = ("model", "sampler", "steps", "nfe", "seed")
"""Columns filled from the FASTA header; its other pairs become `header_<key>`."""
TEXT_COLUMNS = (
    "id", "status", "error", "model", "sampler", "sequence", "pdb_file", "nearest_reference",
)  # fmt: skip
INTEGER_COLUMNS = ("length", "steps", "nfe", "seed", "cluster")
COLUMNS = (
    "id", "length", "status", "error", *HEADER_COLUMNS, "sequence",
    "mean_plddt", "mean_plddt_all_atom", "ptm", "mean_pae", "foldable", "pdb_file",
    "judge_perplexity", "pseudo_perplexity", "pseudo_perplexity_one_pass",
    "repeat_fraction", "low_complexity_fraction", "aa_entropy",
    "instability_index", "gravy", "isoelectric_point", "molecular_weight",
    "nearest_reference", "nearest_reference_identity", "max_reference_tm", "cluster",
)  # fmt: skip
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


def rounded(value: Any) -> Any:
    """A float with six significant digits; anything else as it is."""
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return value


def build_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows in the fixed column order; further keys follow in the order in which they appear."""
    extra = dict.fromkeys(key for row in rows for key in row if key not in COLUMNS)
    names = [*COLUMNS, *extra]
    return pd.DataFrame({name: _column(name, [row.get(name) for row in rows]) for name in names})


def _column(name: str, values: list[Any]) -> pd.Series:
    """A column of one type: parquet takes no other, and a figure must not become a text."""
    present = [value for value in values if value is not None]
    if name in TEXT_COLUMNS or any(isinstance(value, str) for value in present):
        texts = [None if value is None else str(value) for value in values]
        return pd.Series(texts, dtype=object)
    if name == "foldable" or (present and all(isinstance(value, bool) for value in present)):
        return pd.Series(values, dtype="boolean")
    may_be_integer = name in INTEGER_COLUMNS or name not in COLUMNS
    if may_be_integer and all(float(value).is_integer() for value in present):
        return pd.Series(values, dtype="Int64")
    return pd.Series(values, dtype="float64")


def write_scores(path: str | os.PathLike[str], table: pd.DataFrame) -> None:
    """Write a table atomically, in the format of the suffix.

    Raises:
        UserError: the suffix is unknown.
    """
    target = Path(path)
    check_suffix(target)
    if target.suffix == ".jsonl":
        with atomic_open(target) as stream:
            stream.writelines(json.dumps(row) + "\n" for row in _plain_rows(table))
        return
    with atomic_path(target) as temporary:
        if target.suffix == ".csv":
            table.to_csv(temporary, index=False, lineterminator="\n")
        else:
            table.to_parquet(temporary, index=False)


def _plain_rows(table: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Rows with None where empty, and no numpy type."""
    columns = {
        name: [None if pd.isna(value) else value for value in table[name].tolist()]
        for name in table.columns
    }
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def read_scores(path: str | os.PathLike[str], name: str = "INPUT") -> pd.DataFrame:
    """Read a table that `write_scores` wrote. Only an empty field is missing: a sequence, an id or
    a model may well be called NA.

    Args:
        name: how messages call the file: the flag or argument it came from.

    Raises:
        UserError: the file is missing, or no table of scores.
    """
    source = Path(path)
    check_suffix(source, name)
    if not source.is_file():
        raise UserError(f"{name} {source}: there is no such file; give a table that score wrote.")
    try:
        with encoding_explained(f"{name} {source}"):
            table = _read(source)
    except UserError:
        raise
    except UNREADABLE as error:
        raise UserError(f"{name} {source} cannot be read as a table of scores: {error}") from error
    missing = [name for name in ("id", "status", "sequence") if name not in table]
    if missing:
        raise UserError(f"{name} {source} is no table of scores: it has no {', '.join(missing)}.")
    return build_table(list(_plain_rows(table)))


def _read(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".jsonl":
        with open(path, encoding=UTF_8) as stream:
            lines = enumerate(stream, 1)
            return build_table([_object(line, f"{path}, line {number}") for number, line in lines])
    as_text = dict.fromkeys(TEXT_COLUMNS, str)
    table = read_csv(path, f"INPUT {path}", dtype=as_text, keep_default_na=False, na_values=[""])
    for name in set(INTEGER_COLUMNS) & set(table.columns):
        if pd.api.types.is_numeric_dtype(table[name]):
            table[name] = table[name].astype("Int64")
    # An empty sequence is a text of length 0, not a missing one.
    if "sequence" in table:
        table["sequence"] = table["sequence"].fillna("")
    return table


def _object(line: str, called: str) -> dict[str, Any]:
    row = json_line(line, called)
    if not isinstance(row, dict):
        raise UserError(f"{called} holds {line.strip()[:40]!r}, no JSON object.")
    return row


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise missing_extra("pyarrow", "parquet") from error
