"""Repeats, low complexity, entropy and ProtParam columns: by hand."""

import math

import numpy as np
import pytest

from didi_protein.scoring.properties import (
    aa_entropy,
    low_complexity_fraction,
    repeat_fraction,
    repeated_word_share,
    sequence_properties,
)

ALPHABET = "ACDEFGHIKLMNPQRSTVWY"


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        (ALPHABET, 0.0),  # every residue once
        ("A" * 30, 1.0),
        ("AAA", 0.0),  # shorter than a word
        ("AAAA" + ALPHABET[1:17], 4 / 20),  # a run of four is a repeat by itself
        ("AAA" + ALPHABET[1:18], 0.0),  # a run of three is not
        ("GSGSGSGS" + "ACDEFHIK", 8 / 16),  # tandem, period 2
        ("GGSGGSGGS", 1.0),  # tandem, period 3
        ("ACDACD", 0.0),  # a unit of three, twice only: no word of four occurs twice
        ("MKTA" + "CDEFGHILNP" + "MKTA", 8 / 18),  # dispersed
        ("MKT" + "ACDEFGHILN" + "MKT", 0.0),  # too short to be one
        ("ACDEFGHIKL" * 2, 1.0),  # duplication of a whole domain
    ],
)
def test_repeat_fraction_by_hand(sequence, expected):
    assert repeat_fraction(sequence) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sequence", "two", "five"),
    [
        (ALPHABET, 0.0, 0.0),
        ("A" * 12, 1 - 1 / 11, 1 - 1 / 8),
        ("GS" * 6, 1 - 2 / 11, 1 - 2 / 8),
        ("MKTAYMKTAY", 1 - 5 / 9, 1 - 5 / 6),  # MK KT TA AY YM; six words of five, one twice
        ("MKTA", 0.0, 0.0),  # no word of five
    ],
)
def test_rep_n_by_hand(sequence, two, five):
    assert repeated_word_share(sequence, 2) == pytest.approx(two)
    assert repeated_word_share(sequence, 5) == pytest.approx(five)


def test_repeat_fraction_agrees_with_a_plain_search():
    generator = np.random.default_rng(0)
    for _ in range(30):
        sequence = "".join(generator.choice(list("ACDE"), size=generator.integers(1, 60)))
        covered = set()
        for start in range(len(sequence) - 3):
            word = sequence[start : start + 4]
            again = sequence.find(word) != start or sequence.find(word, start + 1) != -1
            if again or len(set(word)) == 1:
                covered |= set(range(start, start + 4))
        assert repeat_fraction(sequence) == pytest.approx(len(covered) / len(sequence))


def test_low_complexity_by_hand():
    assert low_complexity_fraction(ALPHABET * 3) == 0.0
    assert low_complexity_fraction("A" * 40) == 1.0
    assert low_complexity_fraction("AC" * 20) == 1.0
    assert low_complexity_fraction("A") == 1.0
    assert low_complexity_fraction("ACDE") == 0.0  # all its letters differ
    # Four letters three times each are 2.0 bits: below the trigger. Six twice, 2.585: above both.
    assert low_complexity_fraction("ACDE" * 3) == 1.0
    assert low_complexity_fraction("ACDEFG" * 2) == 0.0


def test_low_complexity_extends_but_only_from_a_trigger():
    # Window counts 3,3,2,2,2: 2.29 bits, between the thresholds: low only beside a trigger.
    between = "AAACCCDDEEFF"
    bits = 2 * 0.25 * 2 + 3 * (1 / 6) * math.log2(6)
    assert 2.2 < bits < 2.5
    assert low_complexity_fraction(between) == 0.0
    assert low_complexity_fraction("A" * 12 + between) == 1.0


def test_low_complexity_agrees_with_a_plain_search():
    generator = np.random.default_rng(1)
    for _ in range(20):
        sequence = "".join(generator.choice(list("ACDEFGHK"), size=generator.integers(12, 80)))
        windows = [sequence[start : start + 12] for start in range(len(sequence) - 11)]
        bits = [aa_entropy(window) / math.log(2) for window in windows]
        covered: set[int] = set()
        start = 0
        while start < len(bits):
            end = start
            while end < len(bits) and bits[end] <= 2.5:
                end += 1
            if any(value <= 2.2 for value in bits[start:end]):
                covered |= set(range(start, end + 11))
            start = max(end, start + 1)
        assert low_complexity_fraction(sequence) == pytest.approx(len(covered) / len(sequence))


def test_composition_entropy_by_hand():
    assert aa_entropy("AAAA") == 0.0
    assert aa_entropy("AC") == pytest.approx(math.log(2))
    assert aa_entropy(ALPHABET) == pytest.approx(math.log(20))


def test_protparam_columns_by_hand():
    properties = sequence_properties("AAAAAAAAAR")
    assert properties["gravy"] == pytest.approx((9 * 1.8 - 4.5) / 10)
    # Average residue masses: 9 x 71.0788 + 156.1875, and one water, 18.0153.
    assert properties["molecular_weight"] == pytest.approx(
        9 * 71.0788 + 156.1875 + 18.0153, abs=0.01
    )
    # (10 / length) x sum of dipeptide weights: A-A is 1.0, A-R is 1.0.
    assert properties["instability_index"] == pytest.approx(9.0)
    assert properties["isoelectric_point"] > 9  # one arginine and no acid


def test_each_property_is_a_finite_number_for_every_length():
    for length in (1, 2, 3, 4, 11, 12, 13, 400):
        values = sequence_properties((ALPHABET * 20)[:length])
        assert all(math.isfinite(value) for value in values.values())
        assert 0 <= values["repeat_fraction"] <= 1
        assert 0 <= values["low_complexity_fraction"] <= 1
