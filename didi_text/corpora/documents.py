"""Documents of a file, one after the other: JSONL (key `text`) or plain text, plain or `.gz`.

In a text file a line that holds nothing but `<|endoftext|>` ends a document; a file without such
a line is one document. Nothing is read into memory but the document at hand.
"""

import gzip
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from didi_core.errors import UserError
from didi_core.io.text_files import (
    UTF_8,
    damage_explained,
    encoding_explained,
    json_line,
    refuse_other_text,
)
from didi_text.tokenizers.tokenizer import END_OF_TEXT

SUFFIXES = (".jsonl", ".txt")


def read_documents(path: Path, *, licenses: Collection[str] = ()) -> Iterator[str]:
    """Yield the texts of `path`, in order; empty ones are left out.

    Args:
        licenses: keep only JSONL records whose key `license` is one of these; all where empty.

    Raises:
        UserError: no such file, another kind of file, or a line that is no record with a text.
    """
    kind = document_kind(path)
    if kind == ".txt":
        if licenses:
            raise UserError(f"licenses: {path} is plain text and names none; give a .jsonl file.")
        yield from _texts(path)
        return
    for record in read_json_records(path):
        if (not licenses or record.get("license") in licenses) and record["text"].strip():
            yield record["text"]


def read_json_records(path: Path, *, needs: str = "text") -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file.

    Args:
        needs: a key each must have, whose value is a string.

    Raises:
        UserError: naming the first line that is no such object.
    """
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            record = json_line(line, f"{path}, line {number}")
            if not isinstance(record, dict) or not isinstance(record.get(needs), str):
                raise UserError(f"{path}, line {number}: no object with a string under {needs!r}.")
            yield record


def document_kind(path: Path) -> str:
    """Return ".jsonl" or ".txt".

    Raises:
        UserError: no such file, or neither of the two.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}: check the path.")
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    if not suffixes or suffixes[-1] not in SUFFIXES:
        raise UserError(f"{path} is no {' or '.join(SUFFIXES)} file (plain or .gz).")
    return suffixes[-1]


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open the file's text, unpacked where it ends in `.gz`; line ends stay as they are.

    Raises:
        UserError: from the body too, of a file that is damaged or no text.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    with damage_explained(path), encoding_explained(path):
        with opened(path, "rb") as raw:
            refuse_other_text(raw.peek(4096), path)
        with opened(path, "rt", encoding=UTF_8, newline="\n") as stream:
            yield stream


def parse_licenses(text: str) -> tuple[str, ...]:
    """Split licenses at commas.

    >>> parse_licenses("public domain, CC BY 4.0")
    ('public domain', 'CC BY 4.0')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _texts(path: Path) -> Iterator[str]:
    lines: list[str] = []
    with open_text(path) as stream:
        for line in stream:
            if line.strip() == END_OF_TEXT:
                yield from _text_of(lines)
                lines = []
            else:
                lines.append(line)
    yield from _text_of(lines)


def _text_of(lines: list[str]) -> Iterator[str]:
    text = "".join(lines)
    if text.strip():
        yield text
