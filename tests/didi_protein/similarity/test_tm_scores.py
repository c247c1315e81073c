"""TM-scores of pairs and of sets, against exact values, symmetry, and the package's own numbers."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from model_file_fixtures import walk

tmtools = pytest.importorskip("tmtools")

from didi_protein.similarity.tm_score import (  # noqa: E402
    Trace,
    definition,
    mean_pairwise_tm,
    plan_pairs,
    tm_score,
)


def trace(length, seed=0, coordinates=None):
    return Trace(walk(length, seed) if coordinates is None else coordinates, "A" * length)


def rotation(seed):
    """A proper rotation [3, 3] drawn at random."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


def test_identical_and_moved_copies_score_one():
    one = trace(60)
    assert tm_score(one, one) == pytest.approx(1, abs=1e-12)
    moved = trace(60, coordinates=one.coordinates @ rotation(3).T + np.array([40.0, -7.0, 2.5]))
    assert tm_score(one, moved) == pytest.approx(1, abs=1e-9)
    mirrored = trace(60, coordinates=one.coordinates * np.array([1.0, 1.0, -1.0]))
    assert tm_score(one, mirrored) < 0.6


@pytest.mark.parametrize(("short", "long"), [(40, 60), (30, 50), (75, 100)])
def test_a_piece_scores_the_mean_of_one_and_its_share(short, long):
    """Every residue of the piece fits at distance 0: 1 by its length, short/long by the other."""
    whole = trace(long)
    piece = trace(short, coordinates=whole.coordinates[:short] @ rotation(1).T)
    assert tm_score(whole, piece) == pytest.approx((1 + short / long) / 2, abs=1e-9)


def test_one_displaced_residue_costs_what_the_formula_says():
    """TM = (1/L) sum 1 / (1 + (d/d0)^2), d0 = 1.24 (L - 15)^(1/3) - 1.8; the rest stays put."""
    length, shift = 100, 6.0
    d0 = 1.24 * (length - 15) ** (1 / 3) - 1.8
    coordinates = walk(length).copy()
    coordinates[50] += shift * np.array([0.6, 0.0, 0.8])
    expected = (length - 1 + 1 / (1 + (shift / d0) ** 2)) / length
    found = tm_score(trace(length), trace(length, coordinates=coordinates))
    # The best superposition gives up a little of the others for the one.
    assert expected <= found < expected + 2e-4


def test_order_does_not_matter_to_the_last_bit():
    traces = [trace(length, seed) for length, seed in [(50, 1), (50, 2), (61, 3), (73, 4)]]
    for one, other in itertools.combinations(traces, 2):
        assert tm_score(one, other) == tm_score(other, one)


def test_values_are_the_packages_own():
    for seed in range(4):
        one, other = trace(48, seed), trace(57, seed + 10)
        found = tmtools.tm_align(one.coordinates, other.coordinates, one.sequence, other.sequence)
        expected = (found.tm_norm_chain1 + found.tm_norm_chain2) / 2
        assert tm_score(other, one) == expected
        assert found.tm_norm_chain1 > found.tm_norm_chain2


def test_too_short_chains_are_an_error():
    with pytest.raises(ValueError, match="3 residues or more"):
        tm_score(trace(2), trace(50))


def test_the_mean_of_a_set_is_that_of_its_bins_by_hand():
    base = trace(50)
    copy = trace(50, coordinates=base.coordinates + 5)
    piece = trace(40, coordinates=base.coordinates[:40])
    pair = [trace(100, 5), trace(100, 5)]
    alone = trace(140, 6)
    found = mean_pairwise_tm([base, alone, pair[0], copy, piece, pair[1]], max_pairs=100)
    assert [(each.min_length, each.max_length) for each in found.bins] == [(26, 50), (76, 100)]
    assert [each.members for each in found.bins] == [(0, 3, 4), (2, 5)]
    # 50-50 identical: 1; 50-40, twice: (1 + 0.8) / 2.
    assert found.means == pytest.approx(((1 + 0.9 + 0.9) / 3, 1.0))
    assert found.interval.mean == pytest.approx((3 * 2.8 / 3 + 2 * 1.0) / 5)
    assert found.interval.low < found.interval.mean < found.interval.high <= 1 + 1e-9
    as_dict = found.as_dict()
    assert as_dict["n"] == 5
    assert [row["pairs"] for row in as_dict["by_length"]] == [3, 1]
    assert mean_pairwise_tm([alone, base], max_pairs=100) is None


def test_pairs_are_capped_shared_and_drawn_by_seed():
    lengths = [50] * 3 + [100] * 40 + [200] * 30 + [300]
    plans = {seed: plan_pairs(lengths, 103, seed) for seed in (0, 1)}
    assert [len(each.pairs) for each in plans[0]] == [3, 50, 50]
    assert [each.num_possible for each in plans[0]] == [3, 780, 435]
    for each in plans[0]:
        assert len(set(each.pairs)) == len(each.pairs)
        assert all(i < j and {i, j} <= set(each.members) for i, j in each.pairs)
    assert plans[0] == plan_pairs(lengths, 103, 0)
    assert plans[0][1].pairs != plans[1][1].pairs
    everything = plan_pairs(lengths, 10_000)
    expected = list(itertools.combinations(range(3), 2))
    assert sorted(everything[0].pairs) == expected
    assert len(set(everything[1].pairs)) == 780
    assert plan_pairs(lengths, 0) == []


def test_every_pair_is_equally_likely():
    draws = 4_000
    counts = Counter(
        pair for seed in range(draws) for pair in plan_pairs([60] * 5, 2, seed)[0].pairs
    )
    assert len(counts) == 10
    expected, spread = draws * 2 / 10, math.sqrt(draws * 0.2 * 0.8)
    assert all(abs(count - expected) < 4.5 * spread for count in counts.values())


def test_the_definition_names_version_and_settings():
    text = definition(500)
    assert "tmtools 0." in text
    assert "500 pairs" in text
    assert "25 residues" in text
