"""`--motif F.pdb:SPEC`: residues cut from a structure, and places to fill around and between them.

SPEC lists, with commas between, residues (`A57`, `A163-181`) and lengths to fill (`20-30`, `12`).
Between residues of one chain without a length the gap stays as long as in the structure. Where SPEC
has no range, `--length` leaves the ends free.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from didi_core.errors import UserError
from didi_core.io.files import at_home
from didi_protein.generating.templates import (
    FREE,
    FreeRange,
    Part,
    Template,
    has_blanks,
    parse_range,
)
from didi_protein.structures.motif import (
    FoundPiece,
    MotifStructure,
    PlacedPiece,
    parse_piece,
)


@dataclass(frozen=True)
class Motif:
    """Residues to keep, and what is to be filled."""

    template: Template
    pieces: tuple[tuple[int, FoundPiece], ...]
    """The residues, each with the number of its part of the template."""

    def placed(self, lengths: Sequence[int]) -> list[PlacedPiece]:
        """Return where a design holds the residues.

        Args:
            lengths: residues of each part of the template, in that design.
        """
        starts = list(accumulate(lengths, initial=0))
        return [
            PlacedPiece(found.piece, starts[part], len(found.residues))
            for part, found in self.pieces
        ]

    def with_open_ends(self, most: int) -> "Motif":
        """Return the motif with up to `most` residues before and behind it."""
        end = FreeRange(0, most)
        template = replace(self.template, parts=(end, *self.template.parts, end))
        return Motif(template, tuple((part + 1, found) for part, found in self.pieces))

    @property
    def has_ranges(self) -> bool:
        return any(isinstance(part, FreeRange) for part in self.template.parts)


def read_motif(value: str, total: int | None) -> Motif:
    """Read the value of `--motif`.

    Args:
        total: most residues that `--length` asks for; None without it.

    Raises:
        UserError: the file cannot be read or has no such residues, or SPEC cannot be followed.
    """
    file, _, spec = value.rpartition(":")
    if not file:
        raise UserError(
            f"--motif {value}: name the residues to keep behind the file, as in "
            f"{value or 'F.pdb'}:A57,A102,A163-181."
        )
    structure = MotifStructure.read(Path(at_home(file)))
    elements = [_element(part.strip(), structure, f"--motif {value}") for part in spec.split(",")]
    motif = _assembled(elements, value)
    if total is not None and not motif.has_ranges:
        motif = motif.with_open_ends(total)
    if not has_blanks(motif.template.parts):
        raise UserError(
            f"--motif {value}: nothing to fill; write lengths around the residues, as in "
            f"10-20,{spec},10-20, or give --length."
        )
    return motif


def _element(text: str, structure: MotifStructure, asked: str) -> FreeRange | FoundPiece:
    free = parse_range(text, asked)
    if free is not None:
        return free
    piece = parse_piece(text)
    if piece is None:
        raise UserError(
            f"{asked}: {text!r} is neither residues, as in A57 or A163-181, nor a length to fill, "
            "as in 12 or 20-30."
        )
    return structure.find(piece)


def _assembled(elements: Sequence[FreeRange | FoundPiece], value: str) -> Motif:
    """Put the elements one behind the other, with the structure's gaps where no length stands."""
    parts: list[Part] = []
    pieces: list[tuple[int, FoundPiece]] = []
    previous: FoundPiece | None = None
    for element in elements:
        if isinstance(element, FreeRange):
            parts.append(element)
            previous = None
            continue
        if previous is not None:
            parts.append(FREE * _gap(previous, element, value))
        pieces.append((len(parts), element))
        parts.append(element.letters)
        previous = element
    if not pieces:
        raise UserError(f"--motif {value}: no residue to keep; give --length alone for that.")
    kept = Counter(residue for _, found in pieces for residue in found.residues)
    if max(kept.values()) > 1:
        raise UserError(f"--motif {value}: a residue is named twice.")
    return Motif(Template(value, tuple(parts), "--motif"), tuple(pieces))


def _gap(first: FoundPiece, second: FoundPiece, value: str) -> int:
    """Return how many residues the structure has between two pieces.

    Raises:
        UserError: they are of two chains, or do not stand one behind the other.
    """
    gap = second.start - first.end
    same_chain = first.piece.chain == second.piece.chain
    if same_chain and gap >= 0:
        return gap
    why = "is not behind" if same_chain else "is of another chain than"
    raise UserError(
        f"--motif {value}: {second.piece} {why} {first.piece}, so that there is no gap to keep; "
        f"write a length between them, as in {first.piece},20-30,{second.piece}."
    )
