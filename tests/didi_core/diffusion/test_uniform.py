"""The uniform process: corruption, posterior by Bayes, and the bound by enumeration."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from exact_denoiser import random_law, toy_vocabulary
from exact_uniform import ExactUniformDenoiser, WrongUniformDenoiser, chance_of, states
from torch import Tensor

from didi_core.diffusion.process import PROCESSES, build_process
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.diffusion.uniform import UniformProcess

SIZES = [(3, 1), (5, 1), (4, 2), (3, 3)]


def process_of(num_tokens: int, eps: float = 0.0) -> UniformProcess:
    return UniformProcess(tuple(range(num_tokens)), LogLinearSchedule(eps))


def test_corruption_draws_generable_tokens_alone_and_touches_only_what_it_may() -> None:
    process = UniformProcess((2, 5, 6))
    tokens = torch.full((2, 60_000), 5)
    maskable = (torch.arange(60_000) % 10 > 0).expand_as(tokens)
    uniform = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)).double()
    noised = process.corrupt(tokens, maskable, torch.tensor([0.3, 0.8]), uniform)
    assert set(noised.unique().tolist()) == {2, 5, 6}
    assert bool((noised[~maskable] == 5).all())
    for row, t in enumerate((0.3, 0.8)):
        share = (noised[row, maskable[row]].unsqueeze(-1) == torch.tensor([2, 5, 6])).double()
        assert share.mean(0).tolist() == pytest.approx([t / 3, 1 - t + t / 3, t / 3], abs=0.01)
    for t in (0.0, 2e-8):
        assert torch.equal(process.corrupt(tokens, maskable, torch.full((2,), t), uniform), tokens)
    prior = process.corrupt(tokens, maskable, torch.ones(2), uniform)[maskable]
    assert torch.bincount(prior)[[2, 5, 6]].double().div(len(prior)).tolist() == pytest.approx(
        [1 / 3] * 3, abs=0.01
    )


@pytest.mark.parametrize("num_tokens", [3, 4, 5])
@pytest.mark.parametrize(("alpha_t", "alpha_s"), [(0.0, 0.1), (0.2, 0.5), (0.6, 1.0), (0.3, 0.3)])
def test_the_posterior_by_bayes(num_tokens: int, alpha_t: float, alpha_s: float) -> None:
    """x ~ p, then z_s, then z_t, all enumerated: also for p that is no one-hot vector."""
    process, eye = process_of(num_tokens), torch.eye(num_tokens, dtype=torch.float64)
    soft = torch.rand(num_tokens, generator=torch.Generator().manual_seed(0)).double()
    step = chance_of(states(num_tokens, 1), states(num_tokens, 1), alpha_t / alpha_s, num_tokens)
    for probs in (*eye, soft / soft.sum()):
        joint = process.forward(probs, alpha_s)[:, None] * step[..., 0]  # [z_s, z_t]
        possible = joint.sum(0) > 0
        expected = (joint / joint.sum(0))[:, possible].T
        noised = torch.arange(num_tokens)[possible]
        found = process.reverse_posterior(probs.expand(len(noised), -1), noised, alpha_t, alpha_s)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        assert found.sum(-1).tolist() == pytest.approx([1.0] * len(noised), abs=1e-12)


@pytest.mark.parametrize("num_tokens", [3, 20, 2_047])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99])
def test_denoising_terms_are_the_posterior_of_the_clean_token(num_tokens, alpha) -> None:
    process, generator = process_of(num_tokens), torch.Generator().manual_seed(0)
    logits = torch.randn(40, num_tokens, generator=generator, dtype=torch.float64)
    noised, other = torch.randint(num_tokens, (2, 40), generator=generator)
    clean = torch.where(torch.arange(40) % 2 > 0, noised, other)
    t = torch.full((40,), 1.0 - alpha, dtype=torch.float64)
    posterior = process.reverse_posterior(logits.softmax(-1), noised, alpha, 1.0)
    found = process.denoising_terms(logits.log_softmax(-1), clean, noised, t)
    expected = -posterior.gather(-1, clean.unsqueeze(-1)).squeeze(-1).log()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("num_tokens", "length"), SIZES)
def test_denoising_terms_are_least_for_what_the_bound_wants(num_tokens: int, length: int) -> None:
    """Their mean is the entropy of x_l given z_t for p(x_l | others), more for p(x_l | z_t)."""
    process, law, t = process_of(num_tokens), random_law(num_tokens, length, seed=1), 0.4
    means, entropy = {}, 0.0
    for own in (False, True):
        denoiser = ExactUniformDenoiser(law, num_tokens, own=own)
        every = denoiser.states
        chance = denoiser.law[:, None] * chance_of(every, every, 1 - t, num_tokens).prod(-1)
        log_probs = denoiser.table(1 - t).log().flatten(0, 1)
        times = torch.full((every.numel(),), t, dtype=torch.float64)
        means[own] = 0.0
        for clean, of_states in zip(every, chance, strict=True):
            true = clean.repeat(len(every))
            terms = process.denoising_terms(log_probs, true, every.flatten(), times)
            means[own] += float((of_states[:, None] * terms.view(every.shape)).sum())
            if own:  # here log_probs is the posterior itself
                plain = -log_probs.gather(-1, true.unsqueeze(-1)).view(every.shape)
                entropy += float((of_states[:, None] * plain).sum())
    assert means[False] == pytest.approx(entropy, abs=1e-12)
    assert means[True] > entropy + 1e-2


@pytest.mark.parametrize(("num_tokens", "length"), SIZES)
def test_the_posterior_of_an_exact_denoiser_is_that_of_the_law(num_tokens, length) -> None:
    """q(z_s at one position | all of z_t), from the joint law of x, z_s and z_t."""
    denoiser = ExactUniformDenoiser(random_law(num_tokens, length, seed=1), num_tokens)
    alpha_t, alpha_s = 0.3, 0.7
    every = denoiser.states
    to_t = chance_of(every, every, alpha_t, num_tokens).prod(-1)  # [x, z_t]
    evidence = (denoiser.law[:, None] * to_t).sum(0)
    own = ExactUniformDenoiser(random_law(num_tokens, length, seed=1), num_tokens, own=True)
    errors = {"others": 0.0, "own": 0.0}
    for position in range(length):
        expected = torch.zeros(len(every), num_tokens, dtype=torch.float64)
        token = torch.arange(num_tokens)[:, None]
        keep = chance_of(token, token, alpha_t / alpha_s, num_tokens)[..., 0]  # [z_s, z_t]
        first = chance_of(every[:, [position]], token, alpha_s, num_tokens)[..., 0]  # [x, z_s]
        last = chance_of(every[:, [position]], token, alpha_t, num_tokens)[..., 0]  # [x, z_t]
        for number, z in enumerate(every.tolist()):
            weight = denoiser.law * to_t[:, number] / evidence[number] / last[:, z[position]]
            expected[number] = (weight[:, None] * first).sum(0) * keep[:, z[position]]
        for name, network in (("others", denoiser), ("own", own)):
            found = process_of(num_tokens).reverse_posterior(
                network.table(alpha_t)[:, position], every[:, position], alpha_t, alpha_s
            )
            errors[name] = max(errors[name], float((found - expected).abs().max()))
    assert errors["others"] < 1e-12
    assert errors["own"] > 1e-2  # the control: p(x_l | z_t) is another thing


def bound_by_enumeration(denoiser: ExactUniformDenoiser, ids: tuple[int, ...]) -> float:
    """The process's own terms at every state z_t, weighted by q(z_t | x), integrated over t."""
    process, every = process_of(denoiser.num_tokens), denoiser.states
    nodes, weights = np.polynomial.legendre.leggauss(60)
    total = 0.0
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        # t = u^3 (10 - 15 u + 6 u^2): the integrand is only log-smooth at the ends.
        t = float(node**3 * (10 - 15 * node + 6 * node**2))
        chance = chance_of(torch.tensor([ids]), every, 1 - t, denoiser.num_tokens)[0].prod(-1)
        terms = _terms(process, denoiser, ids, t)
        total += weight * 30 * (node * (1 - node)) ** 2 * float((chance[:, None] * terms).sum())
    return total


def _terms(process: UniformProcess, denoiser: ExactUniformDenoiser, ids, t: float) -> Tensor:
    """[states of z, length]"""
    every = denoiser.states
    log_probs = denoiser.table(1 - t).log().flatten(0, 1)
    clean = torch.tensor(ids).repeat(len(every))
    times = torch.full((len(clean),), t, dtype=torch.float64)
    return process.bound_terms(log_probs, clean, every.flatten(), times).view(every.shape)


@pytest.mark.parametrize(("num_tokens", "length"), SIZES)
def test_the_bound_of_an_exact_denoiser_is_the_likelihood(num_tokens: int, length: int) -> None:
    law = random_law(num_tokens, length, seed=length)
    denoiser = ExactUniformDenoiser(law, num_tokens)
    own = ExactUniformDenoiser(law, num_tokens, own=True)
    for ids in list(law)[:: max(1, len(law) // 5)]:
        nats = -math.log(law[ids])
        assert bound_by_enumeration(denoiser, ids) == pytest.approx(nats, abs=1e-6)
    entropy = -sum(chance * math.log(chance) for chance in law.values())
    assert sum(law[x] * bound_by_enumeration(own, x) for x in law) > entropy + 1e-2


@pytest.mark.parametrize("t", [0.03, 0.4, 0.97])
@pytest.mark.parametrize(("num_tokens", "length"), [(3, 2), (5, 1)])
def test_the_terms_of_any_denoiser_are_the_divergence_of_vanishing_steps(
    num_tokens: int, length: int, t: float
) -> None:
    """KL(q(z_s | z_t, x) || q(z_s | z_t, x_theta)) / (t - s), extrapolated to s = t."""
    process = process_of(num_tokens)
    denoiser = WrongUniformDenoiser(random_law(num_tokens, length, seed=0), num_tokens)
    ids = (1, 2, 0)[:length]
    found = _terms(process, denoiser, ids, t).flatten()
    probs = denoiser.table(1 - t).flatten(0, 1)
    clean = torch.eye(num_tokens, dtype=torch.float64)[list(ids)].repeat(len(denoiser.states), 1)
    noised = denoiser.states.flatten()

    def rate(gap: float) -> Tensor:
        alphas = (1 - t, 1 - t + gap)
        true = process.reverse_posterior(clean, noised, *alphas)
        ours = process.reverse_posterior(probs, noised, *alphas)
        return (true * (true / ours).log()).sum(-1) / gap

    gap = 2e-3 * min(t, 1 - t)
    table = [rate(gap / 2**i) for i in range(4)]
    while len(table) > 1:  # Richardson: errors are powers of the gap
        order = 2 ** (5 - len(table))
        table = [(order * fine - rough) / (order - 1) for rough, fine in pairwise(table)]
    torch.testing.assert_close(found, table[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("num_tokens", [20, 50_257])
@pytest.mark.parametrize("eps", [0.0, 1e-3])
def test_float32_terms_are_finite_and_right_at_all_times(num_tokens: int, eps: float) -> None:
    process = process_of(num_tokens, eps)
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, num_tokens, dtype=torch.float64, generator=generator)
    clean, noised = torch.arange(4), torch.tensor([0, 5, 2, 7])
    for t in (2e-8, 1e-6, 1e-3, 0.5, 0.999, 1 - 1e-5, 1.0):
        times = torch.full((4,), t)
        wide = process.bound_terms(logits.log_softmax(-1), clean, noised, times)
        narrow = logits.float().requires_grad_()
        terms = process.bound_terms(narrow.log_softmax(-1), clean, noised, times)
        torch.testing.assert_close(terms.double(), wide, rtol=1e-4, atol=2e-7 * num_tokens)
        terms.sum().backward()
        assert bool(narrow.grad.isfinite().all())


def test_processes_by_name_share_an_interface() -> None:
    vocabulary = toy_vocabulary(3)
    tokens, maskable = torch.tensor([[0, 1, 2, 1]]), torch.tensor([[True, True, True, False]])
    uniform = torch.tensor([[0.1, 0.6, 0.9, 0.9]], dtype=torch.float64)
    found = {}
    for name in PROCESSES:
        process = build_process(name, vocabulary)
        noised = process.corrupt(tokens, maskable, torch.tensor([0.5]), uniform)
        found[name] = (noised.tolist(), process.predicted(noised, maskable).tolist())
    assert found["absorbing"] == ([[0, 3, 3, 1]], [[False, True, True, False]])
    assert found["uniform"] == ([[0, 0, 2, 1]], [[True, True, True, False]])
