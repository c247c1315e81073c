"""`--template`: residues to keep, and places to fill between them.

`___MKT___` keeps MKT and fills each underscore; `10-20:MKT:5-15` fills ranges whose lengths are
drawn anew for each design (a single number is an exact length; parts between colons may also hold
underscores). A FASTA file, or a table with the columns id and template, holds many.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.errors import UserError
from didi_core.io.files import at_home
from didi_core.io.tables import read_csv
from didi_protein.sequences.alphabet import CANONICAL_RESIDUES
from didi_protein.sequences.fasta import FASTA_SUFFIXES, numbered, read_records

FREE = "_"
"""Stands for a residue to be designed."""
_TABLE_SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class FreeRange:
    """Between `low` and `high` free positions, both included, each length as likely."""

    low: int
    high: int


Part = str | FreeRange
"""Kept residues and underscores, or a free range."""


@dataclass(frozen=True)
class Template:
    """One template."""

    name: str
    """What the FASTA header calls it: the id in the file, or the template itself."""
    parts: tuple[Part, ...]

    @property
    def longest(self) -> int:
        """Most residues a design of this template can have."""
        return sum(part.high if isinstance(part, FreeRange) else len(part) for part in self.parts)

    def pattern(self, seed: int, record: int) -> str:
        """Residues to keep and underscores to fill, its free lengths drawn for this record."""
        return "".join(
            FREE * _free_length(part, seed, record, place) if isinstance(part, FreeRange) else part
            for place, part in enumerate(self.parts)
        )


def _free_length(part: FreeRange, seed: int, record: int, place: int) -> int:
    uniform = float(keyed_uniform(seed, Stream.LENGTH, record, place))
    return part.low + int(uniform * (part.high - part.low + 1))


def read_templates(value: str, limit: int | None) -> list[Template]:
    """The templates of `--template`: a template, or a file of them.

    Args:
        limit: most residues the model takes; None where that is not known yet.

    Raises:
        UserError: a file that cannot be read, a letter that is no residue, a range upside down,
            nothing to fill, or a template past the limit.
    """
    texts = [(value.strip(), value)]
    if _is_file(value):
        texts = _texts_of_file(Path(at_home(value)))
    templates = [parse_template(text, name) for name, text in texts]
    for template in templates:
        if limit is not None and template.longest > limit:
            raise UserError(
                f"--template {template.name}: up to {template.longest} residues, past the model's "
                f"limit of {limit}."
            )
    return templates


def parse_template(text: str, name: str) -> Template:
    """Parse one template. See `read_templates` for what is refused; positions count from 1."""
    text = text.strip()
    parts: list[Part] = []
    start = 1
    for piece in text.split(":"):
        parts.append(_parse_part(piece, start, name))
        start += len(piece) + 1
    if not any(FREE in part if isinstance(part, str) else part.high for part in parts):
        raise UserError(
            f"--template {name}: nothing to fill; write {FREE} for each residue to be designed, or "
            "ranges, as in 10-20:MKT:5-15."
        )
    return Template(name, tuple(parts))


def _parse_part(piece: str, start: int, name: str) -> Part:
    if match := re.fullmatch(r"(\d+)(?:-(\d+))?", piece):
        low, high = int(match[1]), int(match[2] or match[1])
        if low > high:
            raise UserError(
                f"--template {name}: the range {piece} is upside down; write {high}-{low}."
            )
        return FreeRange(low, high)
    for position, letter in enumerate(piece, start=start):
        if letter != FREE and letter not in CANONICAL_RESIDUES:
            raise UserError(f"--template {name}: {_what_is_wrong(letter)} at position {position}.")
    if not piece:
        raise UserError(f"--template {name}: nothing between colons at position {start}.")
    return piece


def _what_is_wrong(letter: str) -> str:
    if letter.upper() in CANONICAL_RESIDUES:
        return f"lower-case {letter!r} (write residues to keep in capitals)"
    allowed = "".join(sorted(CANONICAL_RESIDUES))
    return f"{letter!r} is no residue ({allowed}, {FREE} to fill, or ranges between colons)"


def _is_file(value: str) -> bool:
    path = Path(value.removesuffix(".gz"))
    return path.suffix in (*FASTA_SUFFIXES, *_TABLE_SEPARATORS) or os.path.isfile(value)


def _texts_of_file(path: Path) -> list[tuple[str, str]]:
    """Name and text of each template of a file; names are unique."""
    separator = _TABLE_SEPARATORS.get(Path(path.name.removesuffix(".gz")).suffix)
    if separator is None:
        return [(each.id, each.sequence) for each in read_records([path], "--template")]
    table = _read_table(path, separator)
    return list(zip(_names(table["id"]), table["template"], strict=True))


def _names(ids: Sequence[str]) -> list[str]:
    """The ids as they are, repeats numbered; one that is empty is `unnamed`."""
    return numbered([each or "unnamed" for each in ids], [bool(each) for each in ids])


def _read_table(path: Path, separator: str) -> dict[str, list[str]]:
    table = read_csv(path, "--template", ("id", "template"), separator)
    missing = [column for column in ("id", "template") if column not in table]
    if missing:
        raise UserError(
            f"--template {path}: the table needs the columns id and template; "
            f"missing: {', '.join(missing)}."
        )
    if not table["id"]:
        raise UserError(f"--template {path}: the table has no rows.")
    return table
