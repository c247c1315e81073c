"""The curve of `headroom` and what grids lose by it, against enumerated laws."""

import itertools
import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from exact_denoiser import ExactDenoiser, Law, conditional, random_law, toy_vocabulary
from numpy.typing import NDArray
from tiny_models import FRAMED, MASK, framed_batch, framed_dit, tiny_corpus, tiny_denoiser

from didi_core.errors import UserError
from didi_core.evaluation.headroom import (
    MASKED_SHARES,
    Curve,
    MaskedSums,
    even_grid,
    late_grid,
    loss_weights,
    masked_sums,
)
from didi_core.evaluation.headroom_record import Measured, headroom_record, read_curve
from didi_core.io.files import write_json
from didi_core.models.fingerprint import weights_digest
from didi_core.sampling.predictor import Predictor

FINE = tuple(np.linspace(0, 1, 4001)[1:].tolist())


@cache
def entropies(law: tuple[tuple[tuple[int, ...], float], ...], num_tokens: int) -> list[float]:
    """Sums of the entropies of each token given each set of 0, 1, 2, ... others."""
    known_law, length = dict(law), len(law[0][0])
    total = [0.0] * length
    for place, size in itertools.product(range(length), range(length)):
        for known in itertools.combinations([i for i in range(length) if i != place], size):
            for sequence, chance in law:
                told = given(known_law, sequence, known, place, num_tokens)
                total[size] -= chance * math.log(told)
    return total


def given(law: Law, sequence: tuple[int, ...], known: tuple[int, ...], place: int, k: int) -> float:
    return conditional(law, {i: sequence[i] for i in known}, place, k)[sequence[place]]


def exact_nats(law: Law, masked: tuple[float, ...], num_tokens: int) -> NDArray[np.float64]:
    """f(m) enumerated: each token, given every set of the others, weighted by its probability."""
    length, shares = len(next(iter(law))), np.array(masked)
    sums = enumerate(entropies(tuple(law.items()), num_tokens))
    parts = [(1 - shares) ** n * shares ** (length - 1 - n) * total for n, total in sums]
    return np.sum(parts, axis=0) / length


def exact_curve(law: Law, masked: tuple[float, ...] = FINE, num_tokens: int = 3) -> Curve:
    return Curve(masked, tuple(exact_nats(law, masked, num_tokens).tolist()))


def entropy(law: Law) -> float:
    return -sum(chance * math.log(chance) for chance in law.values())


def total_correlation(law: Law, num_tokens: int) -> float:
    """Sum of the entropies of single tokens, less that of the whole."""
    length = len(next(iter(law)))
    alone = 0.0
    for place in range(length):
        chances = conditional(law, {}, place, num_tokens)
        alone -= sum(each * math.log(each) for each in chances)
    return alone - entropy(law)


LAW = random_law(3, 3, seed=3)


def test_one_call_loses_the_total_correlation() -> None:
    curve = exact_curve(LAW)
    assert curve.loss([0.0, 1.0]) == pytest.approx(total_correlation(LAW, 3) / 3, abs=1e-7)
    assert curve.integral == pytest.approx(entropy(LAW) / 3, abs=1e-7)


@pytest.mark.parametrize("masked", [FINE, MASKED_SHARES])
def test_the_measured_points_are_enough_for_an_enumerated_law(masked: tuple[float, ...]) -> None:
    curve = exact_curve(LAW, masked)
    for calls in (1, 2, 4, 8):
        grid = even_grid(calls)
        assert curve.loss(grid) == pytest.approx(exact_curve(LAW).loss(grid), rel=0.02)


def test_an_independent_law_loses_nothing() -> None:
    chances = [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]
    law = {
        seq: math.prod(chances[i][token] for i, token in enumerate(seq))
        for seq in itertools.product(range(3), repeat=3)
    }
    curve = exact_curve(law, MASKED_SHARES)
    for grid in (even_grid(1), even_grid(5), late_grid(3), curve.best_grid(4)):
        assert curve.loss(grid) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("grid", [(0.0, 1.0), (0.0, 0.25, 1.0), (0.0, 0.5, 0.6, 1.0)])
def test_a_grid_loses_what_its_steps_spend_above_the_entropy(grid: tuple[float, ...]) -> None:
    """Enumerated: every sequence, and every way to fall into the steps."""
    shares, spent = np.diff(grid), 0.0
    for seq, when in itertools.product(LAW, itertools.product(range(len(shares)), repeat=3)):
        nats = 0.0
        for place, step in enumerate(when):
            known = tuple(i for i in range(3) if when[i] < step)
            nats -= math.log(given(LAW, seq, known, place, 3))
        spent += LAW[seq] * math.prod(shares[step] for step in when) * nats
    assert exact_curve(LAW).loss(grid) == pytest.approx((spent - entropy(LAW)) / 3, abs=1e-6)


def random_curve(seed: int, points: tuple[float, ...] = MASKED_SHARES) -> Curve:
    """Nats that rise with the share masked, by steps of any size."""
    steps = np.random.default_rng(seed).gamma(0.3, size=len(points))
    return Curve(points, tuple(steps.cumsum().tolist()))


@pytest.mark.parametrize("seed", range(20))
def test_one_share_more_never_loses_more(seed: int) -> None:
    """Where knowing more never makes a token harder."""
    generator, curve = np.random.default_rng(seed), random_curve(seed)
    grid = [0.0, 1.0]
    lost = [curve.loss(grid)]
    for share in generator.uniform(size=30):
        grid = sorted([*grid, float(share)])
        lost.append(curve.loss(grid))
    assert all(after <= before + 1e-12 for before, after in itertools.pairwise(lost))
    assert lost[-1] >= -1e-12


def test_between_and_below_its_points_the_curve_is_straight() -> None:
    curve = Curve((0.2, 0.4, 1.0), (1.0, 1.4, 2.0))
    assert curve.at([0.0, 0.1, 0.3, 0.7, 1.0]) == pytest.approx([0.6, 0.8, 1.2, 1.7, 2.0])
    # 0.2 (0.6 + 1) / 2 + 0.2 (1 + 1.4) / 2 + 0.6 (1.4 + 2) / 2
    assert curve.integral == pytest.approx(0.16 + 0.24 + 1.02)
    assert curve.loss([0.0, 0.6, 1.0]) == pytest.approx(0.6 * 2.0 + 0.4 * 1.4 - 1.42)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_grid_is_that_of_brute_force(seed: int) -> None:
    curve = random_curve(seed)
    shares = np.arange(513) / 512
    nats = curve.at(1 - shares)
    two = shares * nats[0] + (1 - shares) * nats
    assert curve.loss(curve.best_grid(2)) <= two[1:-1].min() - curve.integral + 1e-12
    first, second = np.meshgrid(shares, shares, indexing="ij")
    three = first * nats[0] + (second - first) * nats[:, None] + (1 - second) * nats[None, :]
    assert curve.loss(curve.best_grid(3)) <= three[first < second].min() - curve.integral + 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_the_best_grid_loses_no_more_than_others(seed: int) -> None:
    curve = random_curve(seed)
    for steps in (1, 2, 3, 5, 8, 12, 31, 32, 100):
        best = curve.best_grid(steps)
        assert len(best) == steps + 1 and best[0] == 0 and best[-1] == 1
        assert all(before < after for before, after in itertools.pairwise(best))
        usual = min(curve.loss(even_grid(steps)), curve.loss(late_grid(steps)))
        assert curve.loss(best) <= usual + 1e-9  # shares are rounded to 12 digits


def test_of_a_straight_curve_the_even_grid_is_best() -> None:
    curve = Curve((0.5, 1.0), (1.0, 2.0))
    for steps in (2, 3, 7):
        assert curve.best_grid(steps) == pytest.approx(even_grid(steps), abs=1e-9)
        # f' sum of h^2 / 2
        assert curve.loss(curve.best_grid(steps)) == pytest.approx(2 / (2 * steps))


# Measuring.


def drawn(law: Law, count: int, seed: int) -> list[list[int]]:
    sequences, chances = list(law), np.array(list(law.values()))
    chances /= chances.sum()
    places = np.random.default_rng(seed).choice(len(sequences), size=count, p=chances)
    return [list(sequences[place]) for place in places]


def test_sampled_masks_reach_the_enumerated_curve() -> None:
    network, vocabulary = ExactDenoiser([LAW], 3), toy_vocabulary(3)
    sums = masked_sums(network, vocabulary, drawn(LAW, 4000, seed=1), seed=2)
    assert sums.masked == MASKED_SHARES
    found, exact = np.array(sums.curve.nats), exact_nats(LAW, MASKED_SHARES, 3)
    error = sums.resampled(seed=0).std(axis=0)
    assert (np.abs(found - exact) < 4 * error).all()
    assert error.max() < 0.03
    for loss in sums.losses(seed=0):
        truth = exact_curve(LAW).loss(loss.grid)
        width = loss.best.high - loss.best.low
        assert loss.best.low - width / 2 < truth < loss.best.high + width / 2


def test_with_all_masked_the_curve_is_that_of_the_sequences_exactly() -> None:
    sequences = drawn(LAW, 50, seed=5)
    sums = masked_sums(ExactDenoiser([LAW], 3), toy_vocabulary(3), sequences)
    alone = [conditional(LAW, {}, place, 3) for place in range(3)]
    nats = [-math.log(alone[i][token]) for each in sequences for i, token in enumerate(each)]
    assert sums.curve.nats[-1] == pytest.approx(np.mean(nats), abs=1e-7)  # float32 in the table


def test_neither_batch_nor_neighbours_change_the_sums() -> None:
    network = tiny_denoiser(dtype=torch.float64)
    corpus = tiny_corpus()
    sequences = [corpus.ids(i, 60) for i in range(len(corpus))]
    whole = masked_sums(network, FRAMED, sequences, seed=4)
    parts = masked_sums(network, FRAMED, sequences, seed=4, tokens_per_batch=40)
    fewer = masked_sums(network, FRAMED, sequences[:25], seed=4)
    assert whole.nats == pytest.approx(parts.nats, abs=1e-9)
    assert (whole.counts == parts.counts).all()
    assert whole.nats[:, :25] == pytest.approx(fewer.nats, abs=1e-9)
    other = masked_sums(network, FRAMED, sequences, seed=5)
    assert (whole.counts != other.counts).any()


def test_masks_of_a_smaller_share_lie_within_those_of_a_larger_one() -> None:
    corpus = tiny_corpus(200)
    sequences = [corpus.ids(i, 60) for i in range(len(corpus))]
    sums = masked_sums(tiny_denoiser(), FRAMED, sequences)
    assert (np.diff(sums.counts, axis=0) >= 0).all()
    assert (sums.counts[-1] == corpus.lengths).all()
    shares = sums.counts.sum(1) / corpus.lengths.sum()
    assert shares == pytest.approx(sums.masked, abs=0.05)


def test_a_network_that_is_told_the_time_is_told_the_share() -> None:
    sequences = [[3, 4, 5, 3]] * 3
    told = framed_dit(time_conditioned=True)
    plain = framed_dit(time_conditioned=False)
    first, second = (masked_sums(each, FRAMED, sequences).nats for each in (told, plain))
    assert (first[:-1] != second[:-1]).any()
    # With everything masked nothing is kept: alpha is 0.
    rows = framed_batch(*sequences)
    at = rows.maskable
    masked = torch.where(at, MASK, rows.tokens)
    alone = Predictor(told, FRAMED).log_probs(masked, rows.lengths, at, alpha=0.0)
    clean = FRAMED.rank_of_id[rows.tokens[at]]
    nats = -alone.gather(-1, clean[:, None]).double().view(3, -1).sum(-1)
    np.testing.assert_allclose(first[-1], nats.detach().numpy(), rtol=1e-5)


def test_too_few_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        masked_sums(tiny_denoiser(), FRAMED, [[3]], masked=(1e-9, 1.0))


def test_intervals_come_from_whole_sequences() -> None:
    """Sequences that are all alike leave no interval, whatever their tokens."""
    nats = np.outer([1.0, 3.0, 8.0], np.ones(40))
    counts = np.outer([1.0, 2.0, 4.0], np.ones(40))
    for loss in MaskedSums((0.25, 0.5, 1.0), nats, counts).losses(calls=(1, 4)):
        assert loss.even.low == pytest.approx(loss.even.high) == pytest.approx(loss.even.mean)
        assert loss.best.mean <= loss.even.mean + 1e-12
    weights = loss_weights((0.25, 0.5, 1.0), (0.0, 1.0))
    assert weights.sum() == pytest.approx(0)  # a constant curve loses nothing


# The file.

MEASURED = Measured("data.fasta", 40, 300, 7, "float32")


def stored(folder: Path) -> dict[str, object]:
    """Write a record of a tiny network to a folder."""
    corpus, network = tiny_corpus(), tiny_denoiser()
    sums = masked_sums(network, FRAMED, [corpus.ids(i, 60) for i in range(len(corpus))])
    record = headroom_record("m", weights_digest(network), MEASURED, sums, sums.losses(), {})
    write_json(folder / "headroom.json", record)
    return record


def test_the_record_gives_the_curve_back(tmp_path: Path) -> None:
    record = stored(tmp_path)
    found = read_curve(tmp_path)
    assert found is not None and found.measured == MEASURED
    assert list(found.curve.nats) == record["nats"]
    assert found.is_of(tiny_denoiser()) and not found.is_of(tiny_denoiser(seed=1))
    assert found.is_of(tiny_denoiser(seed=1).to(torch.bfloat16))  # cannot be compared
    assert read_curve(tmp_path / "elsewhere") is None
    grids = [each["grid"] for each in record["losses"]]  # type: ignore[attr-defined]
    assert grids[3] == pytest.approx(found.curve.best_grid(8))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "another"),
        ("masked", [0.5, 0.4, 1.0]),
        ("masked", [0.5, 0.9]),
        ("masked", [1.0]),
        ("nats", [1.0]),
        ("nats", ["x"]),
        ("nats", [1e999] * 16),
        ("measured", {}),
        ("weights", None),
    ],
    ids=str,
)
def test_a_damaged_record_is_refused(tmp_path: Path, key: str, value: object) -> None:
    record = stored(tmp_path)
    record[key] = value
    if value is None:
        del record[key]
    (tmp_path / "headroom.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"headroom\.json is no curve"):
        read_curve(tmp_path)
