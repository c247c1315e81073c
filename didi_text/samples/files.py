"""Files of generated text: JSONL with provenance, or the texts alone.

A JSONL line is `{"id", "length", "model", "sampler", "steps", "nfe", "seed", ..., "text", "ids"}`;
`ids` are the tokens the model drew, because text may be encoded in more than one way. In a `.txt`
file a line `<|endoftext|>` stands between samples, as `data=` reads it.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from didi_core.errors import UserError
from didi_core.io.text_files import text_writer
from didi_text.corpora.documents import SUFFIXES, document_kind, read_json_records
from didi_text.tokenizers.tokenizer import END_OF_TEXT

__all__ = ["SUFFIXES", "is_jsonl", "read_samples", "write_samples"]

SampleRecord = Mapping[str, Any]
"""One line: id, provenance, text, and its token ids (older files have none)."""


def is_jsonl(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".jsonl")


def read_samples(path: Path) -> list[SampleRecord]:
    """The records of a JSONL file of `generate`.

    Raises:
        UserError: it is no such file.
    """
    if document_kind(path) != ".jsonl":
        raise UserError(f"{path}: records are read from .jsonl files.")
    records: list[SampleRecord] = list(read_json_records(path))
    if any(not isinstance(record.get("id"), str) for record in records):
        raise UserError(f"{path}: a record has no id; is it a file of generate?")
    return records


def write_samples(path: Path, records: Iterable[SampleRecord]) -> None:
    """Write whole or not at all; `.gz` is packed, without a time stamp."""
    lines = _json_lines(records) if is_jsonl(path) else _plain_lines(records)
    with text_writer(path) as text:
        text.writelines(lines)


def _json_lines(records: Iterable[SampleRecord]) -> Iterable[str]:
    return (json.dumps(dict(record), ensure_ascii=False) + "\n" for record in records)


def _plain_lines(records: Iterable[SampleRecord]) -> Iterable[str]:
    for number, record in enumerate(records):
        yield f"{END_OF_TEXT}\n" if number else ""
        yield f"{record['text']}\n"
