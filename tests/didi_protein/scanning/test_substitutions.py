"""The mathematics of a scan, against a law over three residues that is summed by hand."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scoring_fixtures import randomise
from torch import Tensor, nn

from didi_core.data.vocabulary import Vocabulary
from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_protein.scanning.substitutions import (
    SequenceScan,
    composition_nats,
    scan_of,
    scan_sequences,
)
from didi_protein.sequences.alphabet import ESM_TOKENS, PROTEIN
from didi_protein.sequences.residues import CANONICAL_RESIDUES

AT = CANONICAL_RESIDUES.index
AMINO = set(CANONICAL_RESIDUES)
LENGTH = 3
LAW = np.random.default_rng(0).dirichlet(np.full(20**LENGTH, 0.3)).reshape([20] * LENGTH)
"""p(three residues), in the order of `CANONICAL_RESIDUES`, with strong dependence."""


class LawDenoiser(nn.Module):
    """Gives the law's conditionals at a masked position of three residues, whatever else is there.

    Several masks at once, and other lengths, are errors: a scan asks for neither.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.anchor = nn.Parameter(torch.zeros(1))  # says where the network lives
        self.rows_of_passes: list[int] = []

    def trunk(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return logits of all tokens as hidden states."""
        assert (lengths == LENGTH + 2).all()
        self.rows_of_passes.append(len(tokens))
        logits = torch.randn(*tokens.shape, self.vocabulary.size, dtype=torch.float64)
        for row, ids in enumerate(tokens[:, 1 : 1 + LENGTH].tolist()):
            (masked,) = (place for place, each in enumerate(ids) if each == self.vocabulary.mask_id)
            known = [
                slice(None) if place == masked else AT(self.vocabulary.tokens[each])
                for place, each in enumerate(ids)
            ]
            for residue, mass in zip(CANONICAL_RESIDUES, LAW[tuple(known)], strict=True):
                logits[row, 1 + masked, self.vocabulary.id_of_token[residue]] = math.log(mass)
        return logits

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits."""
        return hidden


def chance(sequence: str) -> float:
    return float(LAW[tuple(AT(letter) for letter in sequence)])


def changed(sequence: str, position: int, letter: str) -> str:
    return sequence[:position] + letter + sequence[position + 1 :]


# The alphabetical order of another model's folder, beside our own.
OTHER = replace(PROTEIN, tokens=(*ESM_TOKENS[:4], *sorted(CANONICAL_RESIDUES), *ESM_TOKENS[24:]))


@pytest.mark.parametrize("vocabulary", [PROTEIN, OTHER], ids=["ours", "alphabetical"])
def test_scores_and_tolerance_are_those_of_the_law(vocabulary: Vocabulary) -> None:
    for sequence in ("MKW", "AAL"):
        (scan,) = scan_sequences(LawDenoiser(vocabulary), vocabulary, [sequence])
        assert scan.wild_types == sequence and scan.positions == (0, 1, 2)
        for position, letter in itertools.product(range(LENGTH), CANONICAL_RESIDUES):
            expected = math.log(chance(changed(sequence, position, letter)) / chance(sequence))
            assert scan.log_odds[position, AT(letter)] == pytest.approx(expected, rel=1e-9)
        for position in range(LENGTH):
            column = [chance(changed(sequence, position, each)) for each in CANONICAL_RESIDUES]
            own = chance(sequence) / sum(column)
            assert scan.tolerance[position] == pytest.approx(1 - own, rel=1e-9)
        own_chances = 1 - scan.tolerance
        assert scan.mean_nll == pytest.approx(-np.log(own_chances).mean(), rel=1e-9)


def test_ranks_are_those_of_all_57_substitutions_sorted() -> None:
    (scan,) = scan_sequences(LawDenoiser(PROTEIN), PROTEIN, ["MKW"])
    found = list(scan.substitutions())
    assert len(found) == 3 * 19 and len({str(each) for each in found}) == 57
    by_score = sorted(found, key=lambda each: -chance(changed("MKW", each.position, each.mutant)))
    assert [each.rank for each in by_score] == list(range(1, 58))
    assert scan.best(3) == by_score[:3]
    by_tolerance = sorted(range(3), key=lambda each: -scan.tolerance[each])
    assert scan.most_tolerant(2) == tuple(by_tolerance[:2])
    names = [f"{own}{at}{new}" for at, own in enumerate("MKW", 1) for new in sorted(AMINO - {own})]
    assert [str(each) for each in found] == names


def test_equal_scores_rank_in_the_order_of_the_sequence() -> None:
    log_probs = np.full((2, 20), math.log(1 / 20))
    scan = scan_of("LA", (0, 1), log_probs)
    assert scan.tolerance == pytest.approx([0.95, 0.95])
    assert sorted(each.rank for each in scan.substitutions()) == list(range(1, 39))
    assert {each.rank for each in scan.substitutions() if each.position == 0} == set(range(1, 20))
    assert scan.most_tolerant(1) == (0,)


def test_a_certain_wild_type_has_no_tolerance_and_loses_no_digits() -> None:
    scan = SequenceScan("L", (0,), np.array([[0.0, *[-40.0] * 19]]))
    assert scan.tolerance == pytest.approx([19 * math.exp(-40)], rel=1e-6)


def test_chosen_positions_are_those_rows_of_the_whole() -> None:
    denoiser = LawDenoiser(PROTEIN)
    (whole,) = scan_sequences(denoiser, PROTEIN, ["MKW"])
    (part,) = scan_sequences(denoiser, PROTEIN, ["MKW"], [(0, 2)])
    assert (part.positions, part.wild_types) == ((0, 2), "MW")
    np.testing.assert_allclose(part.log_odds, whole.log_odds[[0, 2]], rtol=1e-12)
    assert denoiser.rows_of_passes == [3, 2]


def test_rows_of_several_sequences_share_a_pass() -> None:
    denoiser = LawDenoiser(PROTEIN)
    sequences = ["MKW", "AAL", "GGG", "CYF"]
    together = scan_sequences(denoiser, PROTEIN, sequences, batch_tokens=5 * 16)
    assert denoiser.rows_of_passes == [5, 5, 2]
    for sequence, scan in zip(sequences, together, strict=True):
        (alone,) = scan_sequences(denoiser, PROTEIN, [sequence])
        np.testing.assert_allclose(scan.log_odds, alone.log_odds, rtol=1e-12)


def test_no_scan_depends_on_its_batch() -> None:
    settings = EsmSettings(PROTEIN.size, 2, 16, 2, 32, PROTEIN.mask_id, max_tokens=100)
    denoiser = randomise(EsmDenoiser(settings)).double()
    generator = np.random.default_rng(1)
    sequences = [
        "".join(generator.choice(list(CANONICAL_RESIDUES), size=n)) for n in (5, 40, 12, 13, 70)
    ]
    usual = scan_sequences(denoiser, PROTEIN, sequences)
    for batch_tokens in (1, 300, 2_000):
        for one, other in zip(
            usual, scan_sequences(denoiser, PROTEIN, sequences, None, batch_tokens), strict=True
        ):
            np.testing.assert_allclose(one.log_odds, other.log_odds, rtol=1e-9, atol=1e-11)
    for sequence, scan in zip(sequences, usual, strict=True):
        (alone,) = scan_sequences(denoiser, PROTEIN, [sequence])
        np.testing.assert_allclose(alone.log_odds, scan.log_odds, rtol=1e-9, atol=1e-11)
        # Another residue far away is another scan.
        (other,) = scan_sequences(denoiser, PROTEIN, [changed(sequence, 0, "W")])
        assert abs(other.log_odds[-1] - scan.log_odds[-1]).max() > 1e-4


def test_counting_leaves_the_residue_itself_out() -> None:
    # Of AAC each A sees one A of two, with a pseudo-count of 1 each of 20: (1 + 1) / (2 + 20).
    expected = [math.log(22 / 2), math.log(22 / 2), math.log(22 / 1)]
    assert composition_nats("AAC", (0, 1, 2)) == pytest.approx(expected)
    assert composition_nats("AAC", (2,)) == pytest.approx(expected[2:])
