"""Several families at once: each opened once, every design held against the one it belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from didi_core.errors import UserError
from didi_protein.families.contacts import ContactMap
from didi_protein.families.profile import FamilyAlignment, FamilyProfile
from didi_protein.families.statistics import (
    NUM_CONTACT_RESAMPLES,
    NUM_RESAMPLES,
    FamilyReference,
    FamilyStatistics,
)


@dataclass(frozen=True)
class Family:
    """A family with natural sequences, ready to hold sets of designs against."""

    name: str
    profile: FamilyProfile
    reference: FamilyReference
    held_out: FamilyAlignment | None = None

    @classmethod
    def of(
        cls,
        name: str,
        profile: FamilyProfile,
        contacts: ContactMap | None = None,
        held_out: FamilyAlignment | None = None,
        *,
        called: str,
        seed: int = 0,
        num_resamples: int = NUM_RESAMPLES,
        num_contact_resamples: int = NUM_CONTACT_RESAMPLES,
        threads: int | None = None,
    ) -> "Family":
        """Align the natural sequences and count them; other arguments as of `measure_family`.

        Args:
            called: the family's file, as messages call it.

        Raises:
            UserError: it is a profile alone, or fewer than two of its sequences align.
        """
        nature = profile.align_members(threads)
        if nature is None:
            raise UserError(
                f"{called} is a profile alone and holds no natural sequences to count: give the "
                "family's alignment."
            )
        if nature.aligned.sum() < 2:
            raise UserError(
                f"{called}: {nature.aligned.sum()} of {len(nature)} sequences align to the "
                "family's own profile; two or more are needed."
            )
        reference = FamilyReference(nature, contacts, seed, num_resamples, num_contact_resamples)
        return cls(name, profile, reference, held_out)

    @property
    def mean_length(self) -> float:
        """Residues of a natural sequence."""
        return float(np.mean([len(each) for each in self.reference.nature.sequences]))

    def measure(self, sequences: Sequence[str], threads: int | None = None) -> FamilyStatistics:
        """Align a set of designs and count it."""
        return self.reference.measure(self.profile.align(sequences, threads), self.held_out)


def split_designs(
    sequences: Sequence[str], families: Sequence[Family], threads: int | None = None
) -> dict[str, list[str]]:
    """Give every design to the family whose profile gives it most bits.

    A design that aligns to none goes to the family of nearest mean length.

    Returns:
        Designs by the names of the families, in their order; none where a family has none.
    """
    if not sequences:
        return {family.name: [] for family in families}
    bits = np.stack([family.profile.align(sequences, threads).bits for family in families])
    lengths = np.array([len(each) for each in sequences])
    apart = np.abs(lengths[None] - np.array([[family.mean_length] for family in families]))
    aligned = ~np.isnan(bits).all(axis=0)
    chosen = np.where(aligned, np.nan_to_num(bits, nan=-np.inf).argmax(0), apart.argmin(0))
    return {
        family.name: [each for each, own in zip(sequences, chosen, strict=True) if own == place]
        for place, family in enumerate(families)
    }
