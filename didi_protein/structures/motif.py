"""Residues of a structure that designs keep: how they are named, found, and placed in a design.

`A57` is residue 57 of chain A and `A163-181` a stretch, by the file's own numbers (in mmCIF the
author's), with insertion codes (`A52B`). A chain whose name is not letters alone stands before a
slash: `1/57`, `A#2/57`, and `/57` where it has none. `A57>61,A163-181>70-88` says where they stand
in a design, counted from 1: what a header calls `motif`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from Bio.PDB.Chain import Chain
from Bio.PDB.Model import Model
from Bio.PDB.Residue import Residue

from didi_core.errors import UserError
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.structures.parse import alpha_residues, letter_of, parse_structure
from didi_protein.structures.read import chain_places

_NUMBER = r"(-?[0-9]{1,6})([A-Za-z]?)"
_PIECE = re.compile(rf"(?:([^/,>\s]*)/|([A-Za-z]+)){_NUMBER}(?:-(?:\1/|\2){_NUMBER}|-{_NUMBER})?")
_PLACED = re.compile(r"(.+)>([0-9]{1,6})(?:-([0-9]{1,6}))?")
_SELENOMETHIONINE = "MSE"
"""Crystallography's methionine: the only modified residue that a design can keep."""
_MOST_LISTED = 12


@dataclass(frozen=True)
class ResidueNumber:
    """A residue's number in the file, with its insertion code."""

    number: int
    insertion: str = ""

    def __str__(self) -> str:
        return f"{self.number}{self.insertion}"


@dataclass(frozen=True)
class Piece:
    """Residues of one chain that follow one another in it."""

    chain: str
    first: ResidueNumber
    last: ResidueNumber

    def __str__(self) -> str:
        chain = self.chain if re.fullmatch("[A-Za-z]+", self.chain) else f"{self.chain.strip()}/"
        return f"{chain}{self.first}" + ("" if self.last == self.first else f"-{self.last}")


def parse_piece(text: str) -> Piece | None:
    """Return the residues that a text names; None where it names none.

    >>> str(parse_piece("A163-181")), str(parse_piece("1/52B")), parse_piece("10-20")
    ('A163-181', '1/52B', None)
    """
    match = _PIECE.fullmatch(text)
    if match is None:
        return None
    chain = match[2] if match[1] is None else match[1] or " "
    first = ResidueNumber(int(match[3]), match[4])
    number, insertion = (match[5], match[6]) if match[5] else (match[7], match[8])
    last = first if number is None else ResidueNumber(int(number), insertion)
    return Piece(chain, first, last)


@dataclass(frozen=True)
class PlacedPiece:
    """Residues of a structure, and where a design holds them."""

    piece: Piece
    start: int
    """Place of the first one in the design, from 0."""
    length: int
    """Residues."""

    def __str__(self) -> str:
        end = f"-{self.start + self.length}" if self.length > 1 else ""
        return f"{self.piece}>{self.start + 1}{end}"


def placed_text(pieces: Iterable[PlacedPiece]) -> str:
    """Return what the header of a design says of its motif."""
    return ",".join(map(str, pieces))


def parse_placed(text: str) -> list[PlacedPiece]:
    """Read what the header of a design says of its motif.

    >>> placed_text(parse_placed("A57>61,A163-181>70-88"))
    'A57>61,A163-181>70-88'

    Raises:
        ValueError: it says something else.
    """
    return [_parse_placed(part) for part in text.split(",")]


def _parse_placed(text: str) -> PlacedPiece:
    match = _PLACED.fullmatch(text)
    piece = None if match is None else parse_piece(match[1])
    if match is None or piece is None:
        raise ValueError(f"{text!r} is not residues and their place, as in A57>61")
    first, last = int(match[2]), int(match[3] or match[2])
    if not 1 <= first <= last:
        raise ValueError(f"{text!r} names no place in a design")
    return PlacedPiece(piece, first - 1, last - first + 1)


@dataclass(frozen=True)
class FoundPiece:
    """Residues of a structure, as they stand in the file."""

    piece: Piece
    residues: tuple[Residue, ...]
    start: int
    """Place of the first one in the sequence of its chain, missing residues counted."""

    @property
    def end(self) -> int:
        """Return the place behind the last one."""
        return self.start + len(self.residues)

    @property
    def letters(self) -> str:
        return "".join(map(letter_of, self.residues))


@dataclass(frozen=True)
class MotifStructure:
    """The file that motifs are cut from."""

    path: Path
    model: Model

    @classmethod
    def read(cls, path: Path) -> "MotifStructure":
        """Read a file; see `parse_structure` for what is refused."""
        model, _ = parse_structure(path, "--motif")
        return cls(path, model)

    def find(self, piece: Piece) -> FoundPiece:
        """Return the residues of a piece.

        Raises:
            UserError: the file has no such chain or residues, or one that no design can hold.
        """
        if piece.chain not in self.model:
            chains = ", ".join(
                chain.id if chain.id.strip() else "without name" for chain in self.model
            )
            raise UserError(f"{self._asked(piece)}: there is no such chain; the file has {chains}.")
        chain = self.model[piece.chain]
        places = chain_places(chain)
        numbers = [_number_of(residue) for residue in chain]
        whole = [number for number, each in zip(numbers, chain, strict=True) if "CA" in each]
        if piece.first not in whole or piece.last not in whole:
            missing = piece.first if piece.first not in whole else piece.last
            raise UserError(self._missing(piece, str(missing), chain))
        first, last = numbers.index(piece.first), numbers.index(piece.last)
        if first > last:
            raise UserError(
                f"{self._asked(piece)}: {piece.last} stands before {piece.first} in the file."
            )
        residues = tuple(chain)[first : last + 1]
        gap = places[last] - places[first] != last - first
        if gap or not all("CA" in residue for residue in residues):
            raise UserError(self._missing(piece, f"{piece.first} to {piece.last} in whole", chain))
        self._check_standard(piece, residues)
        return FoundPiece(piece, residues, places[first])

    def _missing(self, piece: Piece, what: str, chain: Chain) -> str:
        return (
            f"{self._asked(piece)}: the structure does not hold {what}; of chain "
            f"{piece.chain.strip() or 'without name'} it holds {_runs(chain)}."
        )

    def _check_standard(self, piece: Piece, residues: Sequence[Residue]) -> None:
        odd = [each for each in residues if not _is_standard(each)]
        if odd:
            names = ", ".join(f"{_number_of(each)} is {each.get_resname().strip()}" for each in odd)
            raise UserError(
                f"{self._asked(piece)}: {names}, none of the 20 residues that designs are made of; "
                "leave it out."
            )

    def _asked(self, piece: Piece) -> str:
        return f"--motif {self.path}:{piece}"


def _number_of(residue: Residue) -> ResidueNumber:
    return ResidueNumber(residue.id[1], residue.id[2].strip())


def _is_standard(residue: Residue) -> bool:
    name = residue.get_resname().strip()
    is_modified = residue.id[0] != " " and name != _SELENOMETHIONINE
    return not is_modified and letter_of(residue) in CANONICAL_RESIDUES


def _runs(chain: Chain) -> str:
    """Return the numbers of the residues that a chain holds, runs as ranges; the first ones."""
    runs: list[list[ResidueNumber]] = []
    for number in map(_number_of, alpha_residues(chain)):
        if runs and not number.insertion and number.number == runs[-1][-1].number + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    listed = ["-".join(map(str, run)) for run in runs[:_MOST_LISTED]]
    return ", ".join(listed) + (" and more" if len(runs) > _MOST_LISTED else "")
