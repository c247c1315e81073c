"""The table of a scan: a row each substitution, or one that says why a record has none.

Rows of a record stand together, records in input order. `status` and `error` are those of `score`.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from didi_core.errors import UserError
from didi_core.io.files import atomic_open
from didi_core.io.tables import read_csv
from didi_protein.scanning.substitutions import SequenceScan
from didi_protein.scoring.table import rounded, text_of
from didi_protein.sequences.residues import CANONICAL_RESIDUES

COLUMNS = (
    *("id", "position", "wild_type", "mutant", "score", "rank", "tolerance", "status", "error"),
)

Cells = Sequence[str]
"""One row, in the order of `COLUMNS`."""


def rows_of_scan(record_id: str, scan: SequenceScan) -> Iterator[Cells]:
    """Yield the rows of a record that was scanned."""
    tolerance = dict(zip(scan.positions, scan.tolerance.tolist(), strict=True))
    for each in scan.substitutions():
        place = str(each.position + 1)
        score, rank = text_of(rounded(each.score)), str(each.rank)
        tolerant = text_of(rounded(tolerance[each.position]))
        yield record_id, place, each.wild_type, each.mutant, score, rank, tolerant, "ok", ""


def row_of_failure(record_id: str, status: str, error: str | None) -> Cells:
    """Return the row of a record that could not be scanned."""
    return record_id, "", "", "", "", "", "", status, error or ""


def write_table(path: Path, rows: Iterable[Cells]) -> None:
    """Write a table atomically."""
    with atomic_open(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def read_table(path: Path, name: str) -> list[tuple[str, list[Cells]]]:
    """Read the rows of each record, in the order of the file.

    Args:
        name: how messages call the file: the flag or argument it came from.

    Raises:
        UserError: it cannot be read, or is no table of `scan`.
    """
    cells = read_csv(path, name, COLUMNS)
    if missing := [column for column in COLUMNS if column not in cells]:
        raise UserError(f"{name} {path} is no table of scan: it has no {', '.join(missing)}.")
    rows = zip(*(cells[column] for column in COLUMNS), strict=True)
    return [(record, list(own)) for record, own in groupby(rows, key=lambda row: row[0])]


def read_frame(path: Path) -> pd.DataFrame:
    """Read a table as numbers and text; only an empty cell is missing: an id may well be NA."""
    text = dict.fromkeys(("id", "wild_type", "mutant", "status", "error"), "str")
    whole = dict.fromkeys(("position", "rank"), "Int64")
    return pd.read_csv(path, dtype=text | whole, keep_default_na=False, na_values=[""])


def scan_of_rows(rows: Iterable[Cells]) -> SequenceScan:
    """Return the scan that `rows_of_scan` wrote.

    Raises:
        ValueError, KeyError: rows that are not all of a scan.
    """
    wild_types: dict[int, str] = {}
    scores: dict[tuple[int, str], float] = {}
    for _, place, wild_type, mutant, score, *_ in rows:
        wild_types[int(place) - 1] = wild_type
        scores[int(place) - 1, mutant] = float(score)
    positions = tuple(sorted(wild_types))
    log_odds = np.zeros((len(positions), len(CANONICAL_RESIDUES)))
    for row, at in enumerate(positions):
        for column, letter in enumerate(CANONICAL_RESIDUES):
            if letter != wild_types[at]:
                log_odds[row, column] = scores[at, letter]
    return SequenceScan("".join(wild_types[at] for at in positions), positions, log_odds)


def scans_of(tables: Mapping[str, Sequence[Cells]]) -> dict[str, SequenceScan]:
    """Return the scans of records by id; those whose rows are not all there are left out."""
    found = {}
    for record_id, rows in tables.items():
        try:
            found[record_id] = scan_of_rows(rows)
        except (ValueError, KeyError):
            continue
    return found
