"""SEDD: its terms against the paper's form and against the exact law of a score model."""

import itertools
import math

import numpy as np
import pytest
import torch
from exact_denoiser import (
    ExactDenoiser,
    Law,
    chi_square_p_value,
    draw_sequences,
    random_law,
    toy_vocabulary,
)
from torch import Tensor

from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.score_entropy import ScoreEntropyProcess
from didi_core.errors import UserError
from didi_core.evaluation.bounds import bound_samples
from didi_core.sampling.analytic import AnalyticSampler, reveal_chance
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.registry import check_settings, find_sampler
from didi_core.sampling.request import DrawSettings, SampleSettings

PLAUSIBLE, IMPLAUSIBLE = 1e-3, 1e-12
NUM_SAMPLES = 100_000


class ScoreDenoiser(ExactDenoiser):
    """log mu + log K of a law's conditionals, each state and position by a factor of its own.

    Args:
        spread: of the logarithm of the factors; 0 is the exact score.
    """

    def __init__(self, law: Law, num_tokens: int, spread: float) -> None:
        super().__init__([law], num_tokens)
        generator = torch.Generator().manual_seed(11)
        for length, table in self.tables.items():
            factor = spread * torch.randn(table.shape[:2], generator=generator).double()
            self.tables[length] = table + factor.unsqueeze(-1) + math.log(num_tokens)

    def mu(self, state: tuple[int, ...]) -> Tensor:
        """[length, tokens]."""
        number = sum(token * self.base**i for i, token in enumerate(state))
        table = self.tables[len(state)][number, :, : self.num_tokens]
        return table.exp() / self.num_tokens


def masked_of(state: tuple[int, ...], mask: int) -> list[int]:
    return [i for i, token in enumerate(state) if token == mask]


def with_token(state: tuple[int, ...], position: int, token: int) -> tuple[int, ...]:
    return (*state[:position], token, *state[position + 1 :])


def exact_law(denoiser: ScoreDenoiser, length: int) -> Law:
    """What the score model writes in infinitely many steps.

    In the clock u = -log(1 - alpha) its rates are mu itself, whatever the time: the order and the
    tokens are those of the embedded chain of jumps.
    """
    mask = denoiser.num_tokens

    def from_state(state: tuple[int, ...]) -> Law:
        masked = masked_of(state, mask)
        if not masked:
            return {state: 1.0}
        rates, law = denoiser.mu(state)[masked], {}
        for at, token in itertools.product(range(len(masked)), range(mask)):
            chance = float(rates[at, token] / rates.sum())
            for end, more in from_state(with_token(state, masked[at], token)).items():
                law[end] = law.get(end, 0.0) + chance * more
        return law

    return from_state((mask,) * length)


def few_steps_law(denoiser: ScoreDenoiser, length: int, steps: int) -> Law:
    """The analytic sampler's law, by enumeration of which positions each step reveals."""
    mask, law = denoiser.num_tokens, {(denoiser.num_tokens,) * length: 1.0}
    for step in range(steps):
        new: Law = {}
        for state, before in law.items():
            masked, mu = masked_of(state, mask), denoiser.mu(state)
            rho = 1 / (steps - step)  # on the even grid
            for tokens in itertools.product(range(mask + 1), repeat=len(masked)):
                chance, after = before, state
                for position, token in zip(masked, tokens, strict=True):
                    total = float(mu[position].sum())
                    reveal = 1.0 if step == steps - 1 else min(1.0, rho * total)
                    share = float(mu[position][token]) / total if token < mask else 0.0
                    chance *= reveal * share if token < mask else 1.0 - reveal
                    after = with_token(after, position, token)
                if chance > 0:
                    new[after] = new.get(after, 0.0) + chance
        law = new
    return law


def bound_of(denoiser: ScoreDenoiser, sequence: tuple[int, ...]) -> float:
    """Mean over t, by quadrature, and over masks, by enumeration, of the process's terms."""
    process, mask = ScoreEntropyProcess(denoiser.num_tokens), denoiser.num_tokens
    length, total = len(sequence), 0.0
    nodes, weights = np.polynomial.legendre.leggauss(8)  # exact for these polynomials
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        for hidden in itertools.product((False, True), repeat=length):
            if not any(hidden):
                continue
            state = tuple(mask if h else x for x, h in zip(sequence, hidden, strict=True))
            at = masked_of(state, mask)
            clean = torch.tensor([sequence[i] for i in at])
            t = torch.full((len(at),), node, dtype=torch.float64)
            terms = process.bound_terms(denoiser.mu(state)[at].log(), clean, clean, t)
            chance = node ** len(at) * (1 - node) ** (length - len(at))
            total += weight * chance * float(terms.sum())
    return total


def test_a_prediction_that_sums_to_one_has_mdlm_s_terms() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 5, generator=generator, dtype=torch.float64)
    clean, t = torch.randint(5, (64,), generator=generator), torch.rand(64, generator=generator)
    terms = (logits.log_softmax(-1), clean, clean, t.double())
    masked, score = AbsorbingProcess(5), ScoreEntropyProcess(5)
    for name in ("bound_terms", "denoising_terms"):
        torch.testing.assert_close(getattr(score, name)(*terms), getattr(masked, name)(*terms))
    # What the logits mean is not normalised, and a fresh network's zeros sum to one.
    assert score.log_prediction(torch.zeros(1, 5)).exp().sum() == pytest.approx(1.0)
    torch.testing.assert_close(score.log_prediction(logits + 1), score.log_prediction(logits) + 1)


def test_the_terms_are_the_paper_s() -> None:
    """sigma' [sum_j s_j - r log s_x + r (log r - 1)], s = mu r and r = alpha / (1 - alpha)."""
    generator = torch.Generator().manual_seed(1)
    log_mu = torch.randn(64, 4, generator=generator, dtype=torch.float64)
    clean = torch.randint(4, (64,), generator=generator)
    t = torch.rand(64, generator=generator, dtype=torch.float64) * 0.98 + 0.01
    alpha = 1 - t
    ratio, rate = alpha / t, 1 / alpha
    score = log_mu.exp() * ratio[:, None]
    of_clean = score.gather(-1, clean[:, None])[:, 0]
    expected = rate * (score.sum(-1) - ratio * of_clean.log() + ratio * (ratio.log() - 1))
    found = ScoreEntropyProcess(4).bound_terms(log_mu, clean, clean, t)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("num_tokens", "length"), [(3, 1), (3, 3), (4, 2), (5, 2)])
def test_the_bound_of_exact_scores_is_the_likelihood(num_tokens: int, length: int) -> None:
    law = random_law(num_tokens, length, seed=length)
    denoiser = ScoreDenoiser(law, num_tokens, spread=0.0)
    for sequence, chance in law.items():
        assert bound_of(denoiser, sequence) == pytest.approx(-math.log(chance), abs=1e-6)


def test_the_bound_of_any_scores_is_above_the_likelihood_of_what_they_write() -> None:
    denoiser = ScoreDenoiser(random_law(3, 3, seed=1), 3, spread=0.7)
    law = exact_law(denoiser, 3)
    assert sum(law.values()) == pytest.approx(1.0)
    excess = [bound_of(denoiser, x) + math.log(chance) for x, chance in law.items()]
    assert min(excess) > 0.01


def test_the_estimate_reaches_the_enumerated_bound() -> None:
    law = random_law(3, 2, seed=1)
    denoiser = ScoreDenoiser(law, 3, spread=0.5)
    sequences = [x for x in law for _ in range(1000)]
    found = bound_samples(denoiser, toy_vocabulary(3), sequences, process="sedd").estimate()
    expected = sum(bound_of(denoiser, x) for x in law) / len(law) / 2
    assert found.nats_per_token == pytest.approx(expected, rel=0.02)


def sampler_of(denoiser: ScoreDenoiser) -> AnalyticSampler:
    return AnalyticSampler(Predictor(denoiser, toy_vocabulary(denoiser.num_tokens)))


@pytest.mark.parametrize("spread", [0.0, 0.6])
def test_many_steps_reach_the_law(spread: float) -> None:
    law = {ids: (chance + 1 / 9) / 2 for ids, chance in random_law(3, 2, seed=3).items()}
    denoiser = ScoreDenoiser(law, 3, spread)
    if spread == 0.0:
        assert exact_law(denoiser, 2) == pytest.approx(law)
    settings = SampleSettings(steps=96, seed=2)
    sampler = sampler_of(denoiser)
    found = draw_sequences(sampler, sampler.predictor, settings, [3, 3], NUM_SAMPLES)
    assert chi_square_p_value(found, exact_law(denoiser, 2)) > PLAUSIBLE


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_few_steps_have_their_enumerated_law(steps: int) -> None:
    denoiser = ScoreDenoiser(random_law(3, 2, seed=5), 3, spread=0.6)
    expected = few_steps_law(denoiser, 2, steps)
    assert sum(expected.values()) == pytest.approx(1.0)
    sampler, settings = sampler_of(denoiser), SampleSettings(steps, seed=3)
    found = draw_sequences(sampler, sampler.predictor, settings, [3, 3], NUM_SAMPLES)
    assert chi_square_p_value(found, expected) > PLAUSIBLE
    if steps == 2:  # the control: normalised predictions have another law
        plain = few_steps_law(ScoreDenoiser(random_law(3, 2, seed=5), 3, spread=0.0), 2, steps)
        assert chi_square_p_value(found, plain) < IMPLAUSIBLE


def test_the_chance_of_a_reveal_by_hand() -> None:
    log_mu = torch.tensor([[0.2, 0.3], [0.5, 0.5], [2.0, 1.0]]).log()
    assert reveal_chance(log_mu, 0.5).tolist() == pytest.approx([0.25, 0.5, 1.0])


def test_rows_alone_in_a_batch_and_with_padding_are_the_same_and_calls_are_counted() -> None:
    denoiser = ScoreDenoiser(random_law(3, 3, seed=1), 3, spread=0.6)
    denoiser.tables |= ScoreDenoiser(random_law(3, 2, seed=1), 3, spread=0.6).tables
    sampler, settings = sampler_of(denoiser), SampleSettings(4, seed=1)
    rows = [[3, 3, 3], [3, 1, 3], [0, 1, 2], [3, 0], [3, 3]] * 20
    prior = build_prior(rows, range(len(rows)), sampler.predictor.vocabulary, "cpu")
    made = sampler.sample(prior, settings)
    assert bool((made.tokens != 3).all())
    assert bool((made.denoiser_calls <= 4).all()), "no clean-up call"
    assert made.denoiser_calls[2::5].tolist() == [0] * 20
    assert len(made.denoiser_calls[0::5].unique()) > 1, "a finished row is asked no more"
    for record, row in enumerate(rows):
        alone = build_prior([row], [record], sampler.predictor.vocabulary, "cpu")
        found = sampler.sample(alone, settings).tokens[0]
        assert torch.equal(found[: len(row)], made.tokens[record, : len(row)])
    kept = made.tokens[1::5]
    assert bool((kept[:, 1] == 1).all())


def test_draw_settings_shape_the_token_and_not_the_reveal() -> None:
    law = random_law(3, 1, seed=2)
    draw = DrawSettings(temperature=0.5, log_bias=torch.tensor([0.0, 1.0, -torch.inf]))
    settings = SampleSettings(3, seed=4, draw=draw)
    sampler = sampler_of(ScoreDenoiser(law, 3, spread=0.6))
    weight = {0: law[0,] ** 2, 1: law[1,] ** 2 * math.e}
    expected = {(i,): w / sum(weight.values()) for i, w in weight.items()}
    found = draw_sequences(sampler, sampler.predictor, settings, [3], NUM_SAMPLES)
    assert chi_square_p_value(found, expected) > PLAUSIBLE


def test_a_published_grid_is_refused() -> None:
    with pytest.raises(UserError, match="analytic has no such grid"):
        check_settings(find_sampler("analytic"), SampleSettings(4, grid="published"))
