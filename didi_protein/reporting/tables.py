"""Find and read the score tables a report is made of.

A table is a `.csv`, `.parquet` or `.jsonl` file with the columns `id` and `sequence`. Beside
`NAME.csv` may stand `NAME.summary.json` (written by `score`) and `NAME.generate.json` (written by
`generate`: how long the designs took).
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core.errors import UserError, missing_extra
from didi_core.io.tables import check_separator, csv_header
from didi_core.io.text_files import UTF_8
from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.family import family_path
from didi_protein.scoring.ids import with_words_as_ids
from didi_protein.scoring.table import (
    SUFFIXES,
    UNREADABLE,
    numbers_of,
    read_scores,
    spreadsheet_explained,
    summary_path,
)

NEEDED = ("id", "sequence")
SELECTED_SUFFIX = ".selected.csv"
"""What `filter` kept: rows of a table that is there already, so a search of folders skips it."""


@dataclass(frozen=True)
class ScoreTable:
    """One table of scored records.

    Attributes:
        path: the file read.
        label: its name in the report: the path below the folder given, without the suffix.
        rows: one row a record, every column of ours; its texts are strings, never missing.
        summary: contents of `NAME.summary.json`, or None where there is none.
        timing: contents of `NAME.generate.json`, or None where there is none.
        families: families that the rows were held against, by the names given; of
            `NAME.family.json`, which `compare` writes, or else of the summary.
    """

    path: Path
    label: str
    rows: pd.DataFrame
    summary: dict[str, Any] | None
    timing: dict[str, Any] | None
    families: dict[str, dict[str, Any]]


def read_tables(inputs: Iterable[str | os.PathLike[str]]) -> list[ScoreTable]:
    """Read every table named, and every table below the folders named, in sorted order.

    Raises:
        UserError: an input does not exist or is no table, or no table was found at all.
    """
    places = [Path(each) for each in inputs]
    named = [pair for place in places for pair in _tables_at(place)]
    tables = {path.resolve(): _read_table(path, label) for path, label in named}
    if not tables:
        where = ", ".join(str(place) for place in places) or "(nothing given)"
        raise UserError(
            f"INPUT {where}: no score table found (a .csv, .parquet or .jsonl file with the "
            "columns id and sequence). Write one with: didi-protein score DESIGNS.fasta --out F.csv"
        )
    return list(tables.values())


def _tables_at(place: Path) -> list[tuple[Path, str]]:
    """The tables at `place`, each with its label."""
    if place.is_dir():
        found = find_files(place, lambda path: path.suffix in SUFFIXES)
        fresh = [path for path in found if not path.name.endswith(SELECTED_SUFFIX)]
        tables = _without_second_copies([path for path in fresh if _is_table(path)])
        return [(path, str(path.relative_to(place).with_suffix(""))) for path in tables]
    if not place.is_file():
        raise UserError(
            f"INPUT {place}: no such file or folder; give tables that score wrote, or a folder of "
            "them."
        )
    with spreadsheet_explained(place):
        if place.suffix == ".csv":
            check_separator(csv_header(place, "INPUT"), place, "INPUT", NEEDED)
        if place.suffix not in SUFFIXES or not _is_table(place):
            raise UserError(
                f"INPUT {place} is no score table: a .csv, .parquet or .jsonl file with the "
                "columns id and sequence is needed."
            )
    return [(place, place.stem)]


def find_files(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """Return the files below a folder, sorted, without hidden ones and those of hidden folders."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if wanted(path)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _without_second_copies(paths: Sequence[Path]) -> list[Path]:
    """Keep the first of `scores.csv`, `scores.parquet` and `scores.jsonl` in the same folder."""
    best: dict[Path, Path] = {}
    for path in sorted(paths, key=lambda each: SUFFIXES.index(each.suffix)):
        best.setdefault(path.with_suffix(""), path)
    return sorted(best.values())


def _is_table(path: Path) -> bool:
    """Whether the file opens with a header, or a first record, that has `id` and `sequence`."""
    if path.suffix == ".parquet":
        _parquet_module()
    try:
        return set(NEEDED) <= set(_columns(path))
    except UNREADABLE:
        return False  # not of that format at all, so not a table of ours


def _columns(path: Path) -> list[str]:
    if path.suffix == ".csv":
        return csv_header(path, "INPUT")
    if path.suffix == ".parquet":
        return list(_parquet_module().read_schema(path).names)
    with open(path, encoding=UTF_8) as stream:
        first = json.loads(next(stream, "null"))
    return list(first) if isinstance(first, dict) else []


def _parquet_module() -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise missing_extra("pyarrow", "parquet") from error
    return parquet


def _read_table(path: Path, label: str) -> ScoreTable:
    if path.suffix == ".parquet":
        _parquet_module()
    rows = with_words_as_ids(read_scores(path, "INPUT", NEEDED))
    for column in (COLUMN[name] for name in rows if name in COLUMN):
        if column.type == "text":
            texts = rows[column.name].astype(object)
            rows[column.name] = texts.where(texts.notna(), "").astype(str)
        elif column.in_report:
            rows[column.name] = numbers_of(rows, column.name, f"INPUT {path}")
    summary = _read_json(summary_path(path))
    return ScoreTable(
        path=path,
        label=label,
        rows=rows,
        summary=summary,
        timing=_read_json(path.with_suffix(".generate.json")),
        families=_families(_read_json(family_path(path)), summary),
    )


def _families(
    compared: dict[str, Any] | None, summary: dict[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """Families by name, those that have statistics or a reason why there are none."""
    own = (summary or {}).get("family")
    found = (compared or {}).get("families") or ({str(own.get("file")): own} if own else {})
    return {name: each for name, each in found.items() if each.get("statistics")}


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}): write it again with score.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object: write it again with score.")
    return value
