"""`--start`: variants of the user's own proteins, a part of each written anew.

`--mutate 20%` changes that share of a parent's residues, at positions drawn for each variant, where
the parent's residue is forbidden; `--vary 12,15,40-50` writes these positions anew, and the residue
of the parent may come back; with `--vary tolerant:20` they are the 20 most tolerant of each parent
(`didi_protein.scanning`). `--keep` names residues never to touch, `--identity` bounds the result.
"""

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.errors import UserError
from didi_protein.generating.templates import FREE
from didi_protein.scanning.substitutions import is_known, scan_sequences
from didi_protein.sequences.design_ids import number_of
from didi_protein.sequences.positions import positions_text

ROUNDING = 1e-9
"""What a share times a length may be off by."""


@dataclass(frozen=True)
class Parent:
    """One protein to redesign."""

    name: str
    """Its id in the file, as headers state it."""
    sequence: str
    varied: tuple[int, ...] | None = None
    """`--vary`: positions to write anew, counted from 0; None without it, or not known yet."""

    def num_changes(self, sequence: str) -> int:
        """Count the positions at which a variant has another residue."""
        return sum(own != other for own, other in zip(self.sequence, sequence, strict=True))

    def identity(self, sequence: str) -> float:
        """Return the share of positions at which a variant has the parent's residue."""
        return 1.0 - self.num_changes(sequence) / len(self.sequence)


@dataclass(frozen=True)
class IdentityRange:
    """What `--identity` asks for: shares of a parent's residues, both ends included."""

    low: float
    high: float

    def changes(self, length: int) -> range:
        """Return how many of so many residues may differ: to rounding, and never none at all.

        Where no whole number of changes lies in the range, it is the one nearest to its middle.

        >>> IdentityRange(0.6, 0.8).changes(20), IdentityRange(0.81, 0.84).changes(10)
        (range(4, 9), range(2, 3))
        """
        fewest = math.ceil(length * (1.0 - self.high) - ROUNDING)
        most = math.floor(length * (1.0 - self.low) + ROUNDING)
        if fewest > most:
            fewest = most = nearest(length * (1.0 - (self.low + self.high) / 2))
        return range(fewest, most + 1)

    def __str__(self) -> str:
        return f"{self.low:g}-{self.high:g}"


@dataclass(frozen=True)
class Tolerant:
    """What `--vary tolerant:20` or `tolerant:20%` asks for: so many of the most tolerant positions.

    Of those that `--keep` leaves.
    """

    number: int | None
    share: float | None
    """Of the positions that are not kept, at least one; None where a number is given."""

    def of(self, num_free: int) -> int:
        """Return how many of so many positions are taken."""
        return self.number or max(1, nearest((self.share or 0.0) * num_free))


@dataclass(frozen=True)
class Kept:
    """What `--keep` names: residues by their letters, or by their positions."""

    letters: str = ""
    positions: tuple[int, ...] = ()
    """Counted from 0."""

    def of(self, sequence: str) -> set[int]:
        """Return the positions that are kept of a sequence."""
        by_letter = {place for place, each in enumerate(sequence) if each in self.letters}
        return by_letter.union(self.positions)


@dataclass(frozen=True)
class Variant:
    """One design to make."""

    parent: Parent
    pattern: str
    """Residues to keep, and underscores to fill."""
    must_differ: bool
    """Whether the parent's residue is forbidden where something is filled."""
    names_positions: bool = False
    """Whether the header says which positions were written anew: where the model chose them."""

    def forbidden(self) -> dict[int, str]:
        """Return the residue that each position to fill may not get, by positions from 0."""
        if not self.must_differ:
            return {}
        pairs = zip(self.pattern, self.parent.sequence, strict=True)
        return {place: own for place, (asked, own) in enumerate(pairs) if asked == FREE}

    def provenance(self, sequence: str) -> dict[str, object]:
        """Return what the header of the design says of its parent."""
        identity = round(self.parent.identity(sequence), 4)
        said = {"parent": self.parent.name, "parent_identity": identity}
        if self.names_positions:
            return said | {"varied": positions_text(sorted(self.parent.varied or ()))}
        return said


@dataclass(frozen=True)
class Redesign:
    """What is asked of the proteins of `--start`."""

    parents: tuple[Parent, ...]
    share: float | None
    """`--mutate`: how many of the residues that are not kept change, as a share of those."""
    tolerant: Tolerant | None
    """`--vary`, where it leaves the choice of positions to the model."""
    kept: Kept
    identity: IdentityRange | None

    def variants(self, num: int, seed: int) -> list[Variant]:
        """Return `num` variants of each parent, in order."""
        return [
            self._variant(parent, seed, number * num + copy)
            for number, parent in enumerate(self.parents)
            for copy in range(num)
        ]

    def _variant(self, parent: Parent, seed: int, record: int) -> Variant:
        if parent.varied is not None:
            blanked = _blanked(parent.sequence, parent.varied)
            return Variant(parent, blanked, False, names_positions=self.tolerant is not None)
        places = drawn_positions(self.free(parent), self._numbers(parent), seed, record)
        return Variant(parent, _blanked(parent.sequence, places), must_differ=True)

    def free(self, parent: Parent) -> list[int]:
        """Return the positions that `--keep` leaves to change."""
        kept = self.kept.of(parent.sequence)
        return [place for place in range(len(parent.sequence)) if place not in kept]

    def _numbers(self, parent: Parent) -> range:
        """Return how many residues of a parent may change, each number as likely."""
        num_free = len(self.free(parent))
        if self.share is not None:
            number = max(1, nearest(self.share * num_free))
            return range(number, number + 1)
        assert self.identity is not None
        allowed = self.identity.changes(len(parent.sequence))
        return range(max(1, allowed.start), min(allowed.stop, num_free + 1))

    def refusal(self, variant: Variant, sequence: str) -> str | None:
        """Say why a finished variant is not what was asked for; None where it is."""
        parent, asked = variant.parent, self.identity
        if asked is None or parent.num_changes(sequence) in asked.changes(len(sequence)):
            return None
        return f"identity to {parent.name} {parent.identity(sequence):.3f} outside {asked}"

    def first_number(self, prefix: str) -> int:
        """Return the number of the first design, after those of parents of the same prefix.

        So a second round gives no id again: a header's `parent=` would name the wrong one.
        """
        return 1 + max(number_of(prefix, parent.name) or 0 for parent in self.parents)

    def digest(self) -> str:
        """Return a digest of the parents, names and residues."""
        text = repr([(parent.name, parent.sequence) for parent in self.parents])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    # What cannot be done with one parent, in one sentence each.

    def check(self, parent: Parent) -> None:
        """Raise UserError where a parent cannot be redesigned as asked."""
        length, kept = len(parent.sequence), self.kept.of(parent.sequence)
        for flag, places in (("--vary", parent.varied), ("--keep", self.kept.positions)):
            if beyond := [each for each in places or () if each >= length]:
                raise UserError(
                    f"{flag}: position {positions_text(beyond)} lies beyond parent {parent.name}, "
                    f"which has {length} residues."
                )
        if both := kept.intersection(parent.varied or ()):
            raise UserError(
                f"--vary and --keep both name position {positions_text(both)} of parent "
                f"{parent.name}: take it out of one of them."
            )
        if len(kept) == length:
            raise UserError(f"--keep leaves nothing to change in parent {parent.name}.")
        if self.tolerant is not None and self.tolerant.of(length - len(kept)) > length - len(kept):
            raise UserError(
                f"--vary tolerant:{self.tolerant.number}: parent {parent.name} has "
                f"{length - len(kept)} residues that may change; ask for no more of them."
            )
        self._check_identity(parent)

    def _check_identity(self, parent: Parent) -> None:
        """Raise UserError where no variant of a parent can have the identity asked for."""
        if self.identity is None:
            return
        length, allowed = len(parent.sequence), self.identity.changes(len(parent.sequence))
        if self.share is not None:
            number = self._numbers(parent)[0]
            if number not in allowed:
                raise UserError(
                    f"--mutate changes {number} of the {length} residues of parent {parent.name}, "
                    f"an identity of {1 - number / length:.3f}, outside --identity "
                    f"{self.identity}: leave one of the two out."
                )
            return
        possible = self._num_possible(parent)
        if max(1, allowed.start) > min(possible, allowed.stop - 1):
            raise UserError(
                f"--identity {self.identity}: parent {parent.name} has {length} residues, of which "
                f"{possible} may change: that reaches identities from {1 - possible / length:.3f} "
                f"to {1 - 1 / length:.3f}."
            )

    def _num_possible(self, parent: Parent) -> int:
        """Return how many residues of a parent may change, at most."""
        num_free = len(self.free(parent))
        if self.tolerant is not None:
            return self.tolerant.of(num_free)
        return num_free if parent.varied is None else len(parent.varied)


def with_tolerant_positions(
    redesign: Redesign, denoiser: Any, vocabulary: Vocabulary, batch_tokens: int
) -> Redesign:
    """Return the redesign with positions to vary: of each parent those of highest tolerance.

    Args:
        denoiser: a masked model.
        batch_tokens: bound on rows times padded width of one forward pass.
    """
    tolerant = redesign.tolerant
    if tolerant is None:
        return redesign
    parents = redesign.parents
    free = [tuple(redesign.free(parent)) for parent in parents]
    sequences = [parent.sequence for parent in parents]
    scans = scan_sequences(denoiser, vocabulary, sequences, free, batch_tokens)
    return replace(
        redesign,
        parents=tuple(
            replace(parent, varied=scan.most_tolerant(tolerant.of(len(scan.positions))))
            for parent, scan in zip(parents, scans, strict=True)
        ),
    )


MOST_CHECKED = 4
"""Parents that are looked at for whether the model knows them."""
CHECKED_POSITIONS = 48
"""Of each, evenly spaced."""


def unknown_parents(
    parents: Sequence[Parent], denoiser: Any, vocabulary: Vocabulary, batch_tokens: int
) -> list[str]:
    """Return which of the first parents the model guesses no better than counting their residues.

    Args:
        denoiser: a masked model.
        batch_tokens: bound on rows times padded width of one forward pass.
    """
    looked_at = parents[:MOST_CHECKED]
    places = [_spread(len(parent.sequence), CHECKED_POSITIONS) for parent in looked_at]
    sequences = [parent.sequence for parent in looked_at]
    scans = scan_sequences(denoiser, vocabulary, sequences, places, batch_tokens)
    return [
        parent.name
        for parent, scan in zip(looked_at, scans, strict=True)
        if is_known(parent.sequence, scan) is False
    ]


def _spread(length: int, number: int) -> tuple[int, ...]:
    """Return at most so many positions, evenly spaced.

    >>> _spread(7, 3), _spread(2, 3)
    ((0, 2, 4), (0, 1))
    """
    if length <= number:
        return tuple(range(length))
    return tuple(place * length // number for place in range(number))


def drawn_positions(free: Sequence[int], numbers: range, seed: int, record: int) -> list[int]:
    """Draw one of `numbers`, each as likely, and as many of the positions `free`, without order."""
    uniform = float(keyed_uniform(seed, Stream.LENGTH, record))
    number = numbers[int(uniform * len(numbers))]
    order = keyed_uniform(seed, Stream.MUTATION, record, torch.tensor(free)).argsort()
    return [free[place] for place in order[:number].tolist()]


def nearest(value: float) -> int:
    """Return the nearest whole number, halves upwards."""
    return math.floor(value + 0.5 + ROUNDING)


def _blanked(sequence: str, places: Collection[int]) -> str:
    chosen = set(places)
    return "".join(FREE if place in chosen else each for place, each in enumerate(sequence))
