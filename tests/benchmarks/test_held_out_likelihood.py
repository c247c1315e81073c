"""Nats by residue and by column frequencies, by hand."""

import numpy as np
import pytest

from benchmarks.held_out_likelihood import Split, counted, mean_of
from didi_protein.families.profile import GAP, encode_rows

TRAINING = Split(encode_rows(["AC", "AD", "A-"]), ["AC", "AD", "A"])


def test_nats_of_residues_and_columns_by_hand() -> None:
    held_out = Split(encode_rows(["AC", "-D", "CC"]), ["AC", "D", "CC"])
    found = counted(TRAINING, held_out)
    unigram = {"A": 3 / 5, "C": 1 / 5, "D": 1 / 5}
    expected = [-sum(np.log(unigram[each]) for each in one) for one in held_out.sequences]
    np.testing.assert_allclose(found["unigram"], expected)
    first = {"A": (3 + 1 / GAP) / 4, "C": 1 / GAP / 4}
    second = {"C": (1 + 1 / GAP) / 3, "D": (1 + 1 / GAP) / 3}
    expected = [
        -np.log(first["A"]) - np.log(second["C"]),
        -np.log(second["D"]),
        -np.log(first["C"]) - np.log(second["C"]),
    ]
    np.testing.assert_allclose(found["columns"], expected)


def test_residues_weigh_alike_whatever_sequence_they_are_of() -> None:
    split = Split(TRAINING.rows, TRAINING.sequences)
    found = mean_of(np.array([2.0, 2.0, 4.0]), split, seed=0)
    assert found.mean == pytest.approx(8 / 5)
    assert found.low <= found.mean <= found.high
