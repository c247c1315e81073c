"""The absorbing process: schedule, posterior by Bayes, and the likelihood bound by enumeration."""

import itertools
import math

import numpy as np
import pytest
import torch
from exact_denoiser import ExactDenoiser, Law, conditional, random_law, toy_vocabulary
from torch import Tensor

from didi_core.data.batches import TokenBatch
from didi_core.diffusion.absorbing import AbsorbingProcess, low_discrepancy_times
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.evaluation.bounds import bound_samples

NUM_TOKENS, MASK = 3, 3


@pytest.mark.parametrize("eps", [0.0, 1e-3])
def test_the_schedule(eps: float) -> None:
    schedule = LogLinearSchedule(eps)
    t = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    assert schedule.alpha(t).tolist() == pytest.approx([1 - (1 - eps) * x for x in t.tolist()])
    assert float(schedule.alpha(t)[0]) == 1.0 and float(schedule.alpha(t)[-1]) == pytest.approx(eps)
    slope = (schedule.alpha(t + 1e-6) - schedule.alpha(t - 1e-6)) / 2e-6
    torch.testing.assert_close(schedule.alpha_derivative(t), slope, rtol=1e-8, atol=0)
    # -alpha' / (1 - alpha) is 1 / t, with or without eps.
    assert schedule.weight(t[1:]).tolist() == pytest.approx([4.0, 2.0, 1.0])


@pytest.mark.parametrize(("alpha_t", "alpha_s"), [(0.0, 0.1), (0.2, 0.5), (0.6, 1.0), (0.3, 0.3)])
def test_the_posterior_by_bayes(alpha_t: float, alpha_s: float) -> None:
    prior = [0.2, 0.5, 0.3]
    # Every way to come to a mask at t: x ~ prior, kept until s or not, kept until t or not.
    joint = [p * alpha_s * (1 - alpha_t / alpha_s) for p in prior]
    joint.append(1 - alpha_s)  # masked at s stays masked
    expected = [each / sum(joint) for each in joint]
    reveal = AbsorbingProcess(MASK).reveal_probability(alpha_t, alpha_s)
    found = [*(reveal * p for p in prior), 1 - reveal]
    assert found == pytest.approx(expected, abs=1e-12)


def test_corruption_keeps_with_probability_alpha_and_touches_only_what_it_may() -> None:
    process = AbsorbingProcess(MASK)
    tokens = torch.randint(0, 3, (2, 50_000), generator=torch.Generator().manual_seed(0))
    maskable = torch.arange(50_000) % 10 > 0
    uniform = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)).double()
    noised = process.corrupt(tokens, maskable.expand_as(tokens), torch.tensor([0.3, 0.8]), uniform)
    masked = noised == MASK
    assert torch.equal(noised[~masked], tokens[~masked])
    assert not masked[:, ~maskable].any()
    shares = masked[:, maskable].double().mean(-1)
    assert shares.tolist() == pytest.approx([0.3, 0.8], abs=0.01)
    for t, expected in ((0.0, False), (1.0, True)):
        ends = process.corrupt(tokens, maskable.expand_as(tokens), torch.full((2,), t), uniform)
        assert bool((ends[:, maskable] == MASK).all()) is expected
        assert bool((ends == MASK).any()) is expected


def _log_chance(law: Law, sequence: tuple[int, ...], masked: tuple[int, ...]) -> list[float]:
    num_tokens = 1 + max(max(each) for each in law)
    known = {i: token for i, token in enumerate(sequence) if i not in masked}
    return [math.log(conditional(law, known, i, num_tokens)[sequence[i]]) for i in masked]


def _bound_by_beta_integrals(law: Law, sequence: tuple[int, ...]) -> float:
    """Sum over mask patterns of the integral of t^(m-1) (1-t)^(L-m) times the loss there."""
    length, total = len(sequence), 0.0
    for count in range(1, length + 1):
        integral = math.factorial(count - 1) * math.factorial(length - count)
        for masked in itertools.combinations(range(length), count):
            total -= integral / math.factorial(length) * sum(_log_chance(law, sequence, masked))
    return total


def _bound_by_quadrature(law: Law, sequence: tuple[int, ...]) -> float:
    """Mean over t of the mean over mask patterns of the process's own terms."""
    process, length = AbsorbingProcess(MASK), len(sequence)
    nodes, weights = np.polynomial.legendre.leggauss(8)  # exact for these polynomials
    patterns = [
        masked
        for count in range(1, length + 1)
        for masked in itertools.combinations(range(length), count)
    ]
    log_probs = [_log_chance(law, sequence, masked) for masked in patterns]
    counts = torch.tensor([len(each) for each in log_probs])
    flat = torch.tensor([value for each in log_probs for value in each], dtype=torch.float64)
    true = torch.zeros_like(flat).long()
    total = 0.0
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        t = torch.full_like(flat, node)
        terms = process.bound_terms(flat.unsqueeze(-1), true, true - 1, t)
        chances = [node ** len(m) * (1 - node) ** (length - len(m)) for m in patterns]
        of_each = torch.tensor(chances, dtype=torch.float64).repeat_interleave(counts)
        total += weight * float((terms * of_each).sum())
    return total


@pytest.mark.parametrize(
    ("num_tokens", "length"), [(3, 1), (3, 2), (3, 3), (4, 2), (4, 3), (5, 1), (5, 2)]
)
def test_the_bound_of_an_exact_denoiser_is_the_likelihood(num_tokens: int, length: int) -> None:
    law = random_law(num_tokens, length, seed=length)
    for sequence, chance in law.items():
        by_beta = _bound_by_beta_integrals(law, sequence)
        assert _bound_by_quadrature(law, sequence) == pytest.approx(by_beta, abs=1e-9)
        assert by_beta == pytest.approx(-math.log(chance), abs=1e-6)


def test_the_bound_of_a_wrong_denoiser_is_above_the_likelihood() -> None:
    law, wrong = random_law(NUM_TOKENS, 2, seed=1), random_law(NUM_TOKENS, 2, seed=2)
    nats = {x: _bound_by_quadrature(wrong, x) for x in law}
    entropy = -sum(chance * math.log(chance) for chance in law.values())
    assert sum(law[x] * nats[x] for x in law) > entropy + 0.01


def test_the_estimate_reaches_the_enumerated_bound() -> None:
    law, wrong = random_law(NUM_TOKENS, 2, seed=1), random_law(NUM_TOKENS, 2, seed=2)
    denoiser = ExactDenoiser([wrong], NUM_TOKENS)
    sequences = [x for x in law for _ in range(1000)]
    found = bound_samples(denoiser, toy_vocabulary(NUM_TOKENS), sequences).estimate()
    expected = sum(_bound_by_beta_integrals(wrong, x) for x in law) / len(law) / 2
    assert found.nats_per_token == pytest.approx(expected, rel=0.02)
    # Another batch size changes nothing but the order of the sum.
    again = bound_samples(
        denoiser, toy_vocabulary(NUM_TOKENS), sequences, tokens_per_batch=4096
    ).estimate()
    assert again.nats_per_token == pytest.approx(found.nats_per_token, rel=1e-6)


def test_times_cover_the_interval_evenly() -> None:
    for count, low, high in ((1, 0.0, 1.0), (8, 0.0, 1.0), (5, 0.1, 0.5)):
        for uniform in (1e-9, 0.3, 1 - 1e-9):
            times = low_discrepancy_times(count, uniform, low, high)
            expected = [low + (high - low) * (i + uniform) / count for i in range(count)]
            assert times.tolist() == pytest.approx(expected, abs=1e-6)
            assert low <= float(times.min()) and float(times.max()) <= high


def test_each_position_has_the_weight_of_its_row_s_time() -> None:
    process = AbsorbingProcess(MASK)
    log_probs = torch.tensor([[-1.0, -9.0], [-9.0, -2.0], [-4.0, -9.0]])
    true, noised = torch.tensor([0, 1, 0]), torch.full((3,), -1)
    found = process.bound_terms(log_probs, true, noised, torch.tensor([0.5, 0.1, 0.25]))
    assert found.tolist() == pytest.approx([2.0, 20.0, 16.0])


def test_a_batch_gives_the_same_bound_with_more_padding() -> None:
    law = random_law(NUM_TOKENS, 2, seed=1)
    denoiser, vocabulary = ExactDenoiser([law], NUM_TOKENS), toy_vocabulary(NUM_TOKENS)
    batch = _padded([(0, 1), (2, 2)], vocabulary.pad_id, 2)
    wider = _padded([(0, 1), (2, 2)], vocabulary.pad_id, 7)
    values = []
    for each in (batch, wider):
        masked = torch.zeros_like(each.maskable)
        masked[:, 0] = True
        noised = each.tokens.masked_fill(masked, MASK)
        values.append(vocabulary.log_probs(denoiser.logits_at(noised, each.lengths, masked)))
    assert torch.equal(*values)


def _padded(rows: list[tuple[int, ...]], pad_id: int, width: int) -> TokenBatch:
    tokens: Tensor = torch.full((len(rows), width), pad_id)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = torch.tensor(row)
    return TokenBatch(tokens, torch.tensor([len(row) for row in rows]), tokens != pad_id)


@pytest.mark.parametrize("eps", [0.0, 1e-3])
def test_a_vanishing_time_has_a_finite_weight(eps: float) -> None:
    """In float32 1 - alpha(2e-8) is 0: the weight must not become infinite, nor the bound NaN."""
    process = AbsorbingProcess(MASK, LogLinearSchedule(eps))
    true, noised = torch.tensor([0, 0]), torch.tensor([-1, -1])
    terms = process.bound_terms(
        torch.tensor([[-1.5], [-1.5]]), true, noised, torch.tensor([2e-8, 0.5])
    )
    assert terms.tolist() == pytest.approx([7.5e7, 3.0])
