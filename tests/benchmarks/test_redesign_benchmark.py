"""The benchmark of redesigns: random twins, what counts as outside, paired differences by hand."""

import numpy as np
import pytest

from benchmarks.redesign import Redesigned, paired_bits, random_twin, residue_frequencies
from didi_protein.families import FamilyAlignment, FamilyProfile, FamilyReference
from didi_protein.families.alignments import Alignment
from didi_protein.generating.redesign import Parent, Variant
from didi_protein.sequences.residues import CANONICAL_RESIDUES

PARENT = Parent("p", "ACDEFGHIKL" * 4)
VARIANT = Variant(PARENT, "AC__FGHIK_" * 4, must_differ=True)


def aligned(bits: list[float]) -> FamilyAlignment:
    numbers = np.array(bits)
    rows = np.zeros((len(bits), 3), dtype=np.uint8)
    return FamilyAlignment(("A",) * len(bits), rows, numbers, numbers, numbers)


def test_a_random_twin_changes_the_same_positions_by_the_frequencies_given() -> None:
    chances = np.zeros(20)
    chances[[CANONICAL_RESIDUES.index(each) for each in "DWY"]] = 0.5, 0.2, 0.3
    generator = np.random.default_rng(0)
    twins = [random_twin(VARIANT, chances, generator) for _ in range(500)]
    for twin in twins:
        pairs = zip(VARIANT.pattern, PARENT.sequence, twin, strict=True)
        assert all((asked == "_") == (own != now) for asked, own, now in pairs)
    # Where the parent has D, only W and Y are left: 0.4 and 0.6.
    at_d = "".join(twin[2::10] for twin in twins)
    assert set(at_d) == {"W", "Y"} and at_d.count("W") / len(at_d) == pytest.approx(0.4, abs=0.05)


def test_changes_outside_are_those_at_positions_to_keep() -> None:
    inside = PARENT.sequence[:2] + "WW" + PARENT.sequence[4:]
    assert Redesigned(VARIANT, inside, inside).outside == 0
    assert Redesigned(VARIANT, "WW" + inside[2:-2] + "WL", inside).outside == 3


def test_differences_are_of_pairs_and_over_parents() -> None:
    other = Parent("q", PARENT.sequence)
    variants = [VARIANT, VARIANT, Variant(other, VARIANT.pattern, must_differ=True)]
    designs = [Redesigned(each, PARENT.sequence, PARENT.sequence) for each in variants]
    profile = FamilyProfile.from_alignment(Alignment((PARENT.sequence,) * 3, 40))
    found = paired_bits(
        designs, [PARENT, other], aligned([10, 20, 60]), aligned([5, np.nan, 20]), profile, seed=0
    )
    assert found["designs"] == pytest.approx(30) and found["random"] == pytest.approx(25 / 3)
    assert found["difference"]["mean"] == pytest.approx((12.5 + 40) / 2)
    assert found["not_aligned"] == {"designs": 0, "random": 1}


def test_residue_frequencies_leave_gaps_out() -> None:
    rows = np.array([[0, 0, 20], [1, 20, 20], [0, 1, 20], [0, 1, 2]], dtype=np.uint8)
    nature = aligned([1.0] * 4)
    nature = FamilyAlignment(nature.sequences, rows, nature.bits, nature.bits, nature.bits)
    found = residue_frequencies(FamilyReference(nature, num_resamples=2))
    assert found[:3].tolist() == pytest.approx([4 / 8, 3 / 8, 1 / 8]) and found.sum() == 1
