"""Read a family's alignment: aligned FASTA, A2M, A3M or Stockholm, plain or gzipped.

Match columns are what a family's statistics and its contacts are numbered by, from 1. Where a file
marks insertions (lowercase letters, with `.` as their gap; in Stockholm the line `#=GC RF`), the
other columns are the match columns; a file without such marks has match columns only.
"""

import os
import string
from collections.abc import Sequence
from dataclasses import dataclass

from Bio import AlignIO

from didi_core.errors import UserError
from didi_core.io.text_files import damage_explained, open_text
from didi_protein.sequences.fasta import iterate_fasta

_GAPS = str.maketrans("~_", "--")
_MATCH = frozenset(string.ascii_uppercase + "-")
_LETTERS = frozenset(string.ascii_letters + "-.")
_NO_MATCH_IN_RF = frozenset("-.~_ ")


@dataclass(frozen=True)
class Alignment:
    """Sequences aligned over match columns."""

    rows: tuple[str, ...]
    """As in A3M: an uppercase letter or `-` for each match column, insertions in lowercase."""
    num_columns: int
    """Match columns."""

    def match_rows(self) -> list[str]:
        """Return the rows without insertions, each `num_columns` long."""
        return ["".join(letter for letter in row if letter in _MATCH) for row in self.rows]

    def sequences(self) -> list[str]:
        """Return the sequences without gaps, in uppercase, insertions in their places."""
        return [row.replace("-", "").upper() for row in self.rows]


def read_alignment(path: str | os.PathLike[str], name: str = "--family") -> Alignment:
    """Read an alignment, its format seen from its content.

    Args:
        name: how messages call the file: the flag it came from.

    Raises:
        UserError: the file cannot be read, is no alignment, or its rows do not fit together.
    """
    reference = None
    if _first_line(path, name).startswith("# STOCKHOLM"):
        labels, rows, reference = _read_stockholm(path, name)
    else:
        labels, rows = _read_fasta(path, name)
    return alignment_of(rows, f"{name} {path}", labels, reference)


def alignment_of(
    rows: Sequence[str],
    called: str = "The alignment",
    labels: Sequence[str] | None = None,
    reference: str | None = None,
) -> Alignment:
    """Make an alignment of rows as they stand in a file.

    Args:
        called: the alignment, as messages call it.
        labels: names of the rows, for messages; their places when None.
        reference: a mark over each column; `-` and `.` stand over insertions.

    Raises:
        UserError: the rows have different numbers of match columns, or a letter is none.
    """
    labels = labels or [f"row {place}" for place in range(1, len(rows) + 1)]
    rows = [row.translate(_GAPS) for row in rows]
    for label, row in zip(labels, rows, strict=True):
        if not set(row) <= _LETTERS:
            wrong = min(set(row) - _LETTERS)
            raise UserError(
                f"{called}: {label} holds {wrong!r}, no residue, `-` or `.`: remove it."
            )
    aligned = _marked_rows(rows, reference)
    widths = [sum(letter in _MATCH for letter in row) for row in aligned]
    for label, width in zip(labels, widths, strict=True):
        if width != widths[0]:
            raise UserError(
                f"{called} is no alignment: {label} has {width} match columns, {labels[0]} has "
                f"{widths[0]}. Give rows of one length, or A3M with insertions in lowercase."
            )
    if not widths or not widths[0]:
        raise UserError(f"{called} has no columns: an aligned sequence or more is needed.")
    return Alignment(tuple(aligned), widths[0])


def _marked_rows(rows: list[str], reference: str | None) -> list[str]:
    """Read the rows as in A3M, by the first reading under which they fit together."""
    if not any(letter.isupper() for row in rows for letter in row):
        rows = [row.upper() for row in rows]
    one_width = len(set(map(len, rows))) == 1
    if reference is not None and one_width and len(reference) == len(rows[0]):
        return _by_columns(rows, [mark not in _NO_MATCH_IN_RF for mark in reference])
    if not any(letter.islower() for row in rows for letter in row):
        return [row.replace(".", "-") for row in rows]  # no insertions: dots are gaps
    insertions_out = [row.replace(".", "") for row in rows]
    if len({sum(letter in _MATCH for letter in row) for row in insertions_out}) == 1:
        return insertions_out
    if one_width:  # lowercase letters stand in match columns too, as in masked sequences
        columns = zip(*rows, strict=True)
        return _by_columns(rows, [any(c in _MATCH for c in column) for column in columns])
    return insertions_out


def _by_columns(rows: list[str], is_match: list[bool]) -> list[str]:
    return ["".join(map(_in_column, row, is_match)) for row in rows]


def _in_column(letter: str, is_match: bool) -> str:
    if is_match:
        return "-" if letter == "." else letter.upper()
    return "" if letter in "-." else letter.lower()


def _first_line(path: str | os.PathLike[str], name: str) -> str:
    with open_text(path, name) as stream, damage_explained(f"{name} {path}"):
        return next((line for line in stream if line.strip()), "")


def _read_fasta(path: str | os.PathLike[str], name: str) -> tuple[list[str], list[str]]:
    records = list(iterate_fasta(path, name))
    return [(title.split() or ["unnamed"])[0] for title, _ in records], [row for _, row in records]


def _read_stockholm(
    path: str | os.PathLike[str], name: str
) -> tuple[list[str], list[str], str | None]:
    try:
        with open_text(path, name) as stream, damage_explained(f"{name} {path}"):
            read = AlignIO.read(stream, "stockholm")
    except UserError:
        raise
    except (ValueError, AssertionError, KeyError, IndexError, TypeError) as error:
        raise UserError(
            f"{name} {path} cannot be read as one Stockholm alignment ({error}): give a file that "
            "holds one family."
        ) from error
    labels = [record.id or "unnamed" for record in read]
    reference = read.column_annotations.get("reference_annotation")
    return labels, [str(record.seq) for record in read], reference
