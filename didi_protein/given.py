"""Sequences as Python has them, given where a verb reads files.

A text of capital letters alone is a sequence, unless there is a file of that name; any other text
is a path. Records, dictionaries of sequences by id, and tables with a column `sequence` (as `score`
makes them) hold sequences alone.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from didi_core.errors import UserError
from didi_core.io.files import write_text
from didi_protein.sequences.fasta import ProteinRecord, under_id, unique_ids, write_fasta

if TYPE_CHECKING:
    import pandas as pd

Sequences: TypeAlias = (
    "str | os.PathLike[str] | ProteinRecord | Mapping[str, str] | pd.DataFrame"
    " | Iterable[str | os.PathLike[str] | ProteinRecord]"
)
"""One sequence or path, or several."""
_SEQUENCE = re.compile("[A-Z]+")
_SEQUENCE_FILES = frozenset(("start", "template", "reference", "training", "family", "data"))
"""Options that name a file of sequences."""


def is_sequence(given: object) -> bool:
    """Tell whether a text is a sequence, and no path."""
    text = isinstance(given, str) and _SEQUENCE.fullmatch(given)
    return bool(text) and not os.path.lexists(str(given))


def input_files(given: Any, folder: Path) -> list[str]:
    """Return files that hold what was given, in its order; sequences are written into `folder`.

    Raises:
        UserError: nothing was given, or something that is neither sequence nor path.
    """
    items = _items(given)
    if not items:
        raise UserError("INPUT: no sequence was given.")
    inputs: list[str] = []
    for are_records, group in groupby(items, lambda each: isinstance(each, ProteinRecord)):
        if not are_records:
            inputs += map(str, group)
            continue
        path = folder / f"sequences_{len(inputs)}.fasta"
        write_fasta(path, _named([each for each in group if isinstance(each, ProteinRecord)]))
        inputs.append(str(path))
    return inputs


def file_given(name: str, value: object, folder: Path) -> Path | None:
    """Return a file in `folder` that holds the value of an option, where that option reads one.

    Returns:
        None where the value is a path already, or the option reads no file of sequences.

    Raises:
        UserError: see `input_files`.
    """
    if name == "bias" and isinstance(value, Mapping):
        path = folder / "bias.json"
        write_text(path, json.dumps({str(key): float(nats) for key, nats in value.items()}))
        return path
    if value is None or name not in _SEQUENCE_FILES:
        return None
    is_text = isinstance(value, str | os.PathLike)
    if is_text and (name == "template" or not is_sequence(value)):
        return None  # a path, or one template, as the option takes it
    records = [_as_record(name, each) for each in _items(value, name)]
    path = folder / f"{name}.fasta"
    write_fasta(path, _named(records))
    return path


def _as_record(name: str, item: "ProteinRecord | str") -> ProteinRecord:
    if isinstance(item, ProteinRecord):
        return item
    raise UserError(f"--{name} {item}: give one path, or sequences, not both.")


def _named(records: list[ProteinRecord]) -> Iterator[ProteinRecord]:
    """Yield the records with ids that can stand in a file."""
    ids = unique_ids([record.id for record in records])
    return (under_id(unique, each) for unique, each in zip(ids, records, strict=True))


def _items(given: Any, name: str = "INPUT") -> list["ProteinRecord | str"]:
    """Return records and paths, in order; a sequence without a name gets one by its place."""
    if isinstance(given, str | os.PathLike | ProteinRecord):
        given = [given]
    elif isinstance(given, Mapping):
        given = [ProteinRecord(str(key), str(sequence)) for key, sequence in given.items()]
    elif hasattr(given, "columns"):
        given = list(_rows(given, name))
    elif not isinstance(given, Iterable):
        raise UserError(f"{name} {given!r}: give sequences or paths.")
    return [_item(place, each, name) for place, each in enumerate(given, start=1)]


def _item(place: int, given: object, name: str) -> "ProteinRecord | str":
    if isinstance(given, ProteinRecord):
        return given
    if not isinstance(given, str | os.PathLike):
        raise UserError(f"{name} {given!r}: give sequences or paths.")
    if is_sequence(given) or (name == "template" and isinstance(given, str)):
        return ProteinRecord(f"sequence_{place}", str(given))
    return os.fspath(given)


def _rows(table: "pd.DataFrame", name: str) -> Iterator[ProteinRecord]:
    """Yield the records of a table that `score` made, with their headers, or of any other."""
    from didi_protein.scoring.ids import header_of_row
    from didi_protein.scoring.table import plain_rows  # needs pandas

    if "sequence" not in table.columns:
        raise UserError(f"{name}: the table has no column sequence.")
    if not {"id", "status"} <= {*table.columns}:
        ids = table["id"] if "id" in table.columns else table.index
        for key, sequence in zip(ids, table["sequence"], strict=True):
            yield ProteinRecord(str(key), str(sequence))
        return
    for row in plain_rows(table):
        yield ProteinRecord(str(row["id"]), str(row["sequence"] or ""), header_of_row(row))
