"""`--template`: residues to keep, and places to fill between them.

`___MKT___` keeps MKT and fills each underscore (`x` is one too); `HE[AL]_H` writes one of the
bracketed residues. `10-20:MKT:5-15` fills ranges whose lengths are drawn anew for each design (a
single number is an exact length; parts between colons may also hold underscores). A FASTA file, or
a table with the columns id and template, holds many.
"""

import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.errors import UserError
from didi_core.io.files import at_home
from didi_core.io.tables import read_csv
from didi_protein.sequences.fasta import FASTA_SUFFIXES, numbered, read_records
from didi_protein.sequences.residues import CANONICAL_RESIDUES

FREE = "_"
"""Stands for a residue to be designed."""
_ALSO_FREE = "x"
MOST_DIGITS = 9
"""Of a length: Python refuses to read numbers of thousands of them."""
_PLACE = re.compile(r"\[[^\]]*\]|.", re.DOTALL)
_TABLE_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def places_of(pattern: str) -> list[str]:
    """Return what may stand at each place of a pattern: a residue, several, or `FREE` for any.

    >>> places_of("HE[AL]_")
    ['H', 'E', 'AL', '_']
    """
    return [place.strip("[]") for place in _PLACE.findall(pattern)]


@dataclass(frozen=True)
class FreeRange:
    """Between `low` and `high` free positions, both included, each length as likely."""

    low: int
    high: int


Part = str | FreeRange
"""Kept residues, choices and underscores, or a free range."""


@dataclass(frozen=True)
class Template:
    """One template."""

    name: str
    """What the FASTA header calls it: the id in the file, or the template itself."""
    parts: tuple[Part, ...]
    flag: str = "--template"
    """What it was given with, for messages."""

    @property
    def shortest(self) -> int:
        """Fewest residues a design of this template can have."""
        return sum(low for low, _ in map(_bounds, self.parts))

    @property
    def longest(self) -> int:
        """Most residues a design of this template can have."""
        return sum(high for _, high in map(_bounds, self.parts))

    def pattern(self, seed: int, record: int, totals: range | None = None) -> str:
        """Residues to keep and underscores to fill, its free lengths drawn for this record.

        Args:
            totals: residues that the design may have, at least one of which the template can make;
                None: any that it can.
        """
        lengths = self.lengths(seed, record, totals)
        return "".join(
            FREE * length if isinstance(part, FreeRange) else part
            for part, length in zip(self.parts, lengths, strict=True)
        )

    def lengths(self, seed: int, record: int, totals: range | None = None) -> list[int]:
        """Draw the residues of each part: every way to reach one of `totals` is as likely.

        Each range is drawn given those before it, by how many ways are left for those behind it.
        """
        bounds = tuple(map(_bounds, self.parts))
        ways = _sums_of_ways(bounds, range(self.longest + 1) if totals is None else totals)
        lengths: list[int] = []
        for place, (low, high) in enumerate(bounds):
            least = sum(lengths) + low
            below = ways[place][least]
            count = ways[place][min(least + high - low + 1, len(ways[place]) - 1)] - below
            # The way numbered u * count, of those in the order of this part's length.
            uniform = Fraction(float(keyed_uniform(seed, Stream.LENGTH, record, place)))
            longer = bisect_right(ways[place], below + int(uniform * count)) - 1 - least
            lengths.append(low + longer)
        return lengths

    def check_total(self, totals: range, asked: str, limit: int) -> None:
        """Raise UserError where no design of this template has so many residues.

        Args:
            asked: the flag and its value, for the message.
            limit: most residues the model takes.
        """
        if totals.stop <= self.shortest or totals.start > self.longest:
            low, high = self.shortest, min(self.longest, limit)
            possible = f"{low} to {high}" if low < high else f"exactly {low}"
            raise UserError(
                f"{asked}: designs of {self.flag} {self.name} have {possible} residues."
            )

    def check_limit(self, limit: int) -> None:
        """Raise UserError where a design may be longer than the model takes."""
        if self.longest > limit:
            raise UserError(
                f"{self.flag} {self.name}: up to {self.longest} residues, past the model's limit "
                f"of {limit}."
            )


def _bounds(part: Part) -> tuple[int, int]:
    """Return the fewest and the most residues of a part."""
    if isinstance(part, FreeRange):
        return part.low, part.high
    return (length := len(places_of(part))), length


@lru_cache(maxsize=64)
def _sums_of_ways(bounds: tuple[tuple[int, int], ...], totals: range) -> list[list[int]]:
    """Count the ways in which parts reach one of `totals`.

    With w_k(s) ways for the parts from k on where those before have s residues, w_n(s) is 1 for a
    total and 0 for others, and w_k(s) the sum of w_{k+1}(s + l) over the lengths l of part k.

    Returns:
        for each part k the sums w_{k+1}(0) + ... + w_{k+1}(s - 1), for s from 0 on.
    """
    size = totals.stop
    ways = [int(total in totals) for total in range(size)]
    sums: list[list[int]] = []
    for low, high in reversed(bounds):
        below = list(accumulate(ways, initial=0))
        sums.append(below)
        ways = [below[min(s + high + 1, size)] - below[min(s + low, size)] for s in range(size)]
    return sums[::-1]


def read_templates(value: str, limit: int | None) -> list[Template]:
    """The templates of `--template`: a template, or a file of them.

    Args:
        limit: most residues the model takes; None where that is not known yet, or `--length` says
            how many there are.

    Raises:
        UserError: a file that cannot be read, a letter that is no residue, a range upside down,
            nothing to fill, or a template past the limit.
    """
    texts = [(value.strip(), value)]
    if _is_file(value):
        texts = _texts_of_file(Path(at_home(value)))
    templates = [parse_template(text, name) for name, text in texts]
    for template in templates:
        if limit is not None:
            template.check_limit(limit)
    return templates


def parse_template(text: str, name: str) -> Template:
    """Parse one template. See `read_templates` for what is refused; positions count from 1."""
    text = text.strip()
    parts: list[Part] = []
    start = 1
    for piece in text.split(":"):
        parts.append(_parse_part(piece, start, name))
        start += len(piece) + 1
    if not has_blanks(parts):
        raise UserError(
            f"--template {name}: nothing to fill; write {FREE} for each residue to be designed, or "
            "ranges, as in 10-20:MKT:5-15."
        )
    return Template(name, tuple(parts))


def has_blanks(parts: Sequence[Part]) -> bool:
    """Whether anything is to be designed."""
    return any(
        part.high if isinstance(part, FreeRange) else FREE in part or "[" in part for part in parts
    )


def parse_range(text: str, asked: str) -> FreeRange | None:
    """Return the range that a text is; None where it is none.

    Raises:
        UserError: it is upside down, or too large to be read.
    """
    match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", text)
    if match is None:
        return None
    if max(len(each.lstrip("0")) for each in match.groups("")) > MOST_DIGITS:
        raise UserError(f"{asked[:80]}: {text[:20]} is a length that no protein has.")
    low, high = int(match[1]), int(match[2] or match[1])
    if low > high:
        raise UserError(f"{asked}: the range {text} is upside down; write {high}-{low}.")
    return FreeRange(low, high)


def _parse_part(piece: str, start: int, name: str) -> Part:
    asked = f"--template {name}"
    free = parse_range(piece, asked)
    if free is not None:
        return free
    if not piece:
        raise UserError(f"{asked}: nothing between colons at position {start}.")
    places = []
    for match in _PLACE.finditer(piece):
        place, position = match.group(), start + match.start()
        if len(place) > 1:
            _check_choice(place, position, asked)
        elif place not in (FREE, _ALSO_FREE) and place not in CANONICAL_RESIDUES:
            raise UserError(f"{asked}: {_what_is_wrong(place)} at position {position}.")
        places.append(FREE if place == _ALSO_FREE else place)
    return "".join(places)


def _check_choice(place: str, position: int, asked: str) -> None:
    """Raise UserError unless brackets hold residues."""
    letters = place[1:-1]
    if not letters:
        raise UserError(f"{asked}: nothing to choose from in [] at position {position}.")
    for number, letter in enumerate(letters, start=1):
        if letter not in CANONICAL_RESIDUES:
            wrong = _what_is_wrong(letter)
            raise UserError(f"{asked}: {wrong} at position {position + number}.")


def _what_is_wrong(letter: str) -> str:
    if letter.upper() in CANONICAL_RESIDUES:
        return f"lower-case {letter!r} (write residues to keep in capitals)"
    if letter in "[]":
        return f"{letter!r} without its other half (choices are written as in HE[AL]H)"
    allowed = "".join(sorted(CANONICAL_RESIDUES))
    return (
        f"{letter!r} is no residue ({allowed}, {FREE} or {_ALSO_FREE} to fill, or ranges between "
        "colons)"
    )


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
