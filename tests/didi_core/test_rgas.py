"""RGAS: its gradient, scores, enumerated steps, calls, and what is left when guidance is off."""

import itertools
import math

import pytest
import torch
from exact_denoiser import (
    ExactDenoiser,
    Law,
    chi_square_p_value,
    conditional,
    draw_sequences,
    random_law,
    toy_vocabulary,
)
from tiny_models import FRAMED, MASK, framed_batch, tiny_denoiser, tiny_discriminator
from torch import Tensor, nn

from didi_core.models.discriminator import Discriminator
from didi_core.models.soft_tokens import SoftTokens
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, SampleSettings
from didi_core.sampling.rgas import GuidedSampler, RgasSettings, first_rerank_step

NUM_SAMPLES = 20_000
LIKED = torch.tensor([0.7, -0.4, 1.1, 0.2, -2.0], dtype=torch.float64)
"""What the toy discriminator thinks of each id: three tokens, mask, padding."""


class ToyDiscriminator(Discriminator):
    """Logit of a position: the liking of the row's tokens, soft ones by their probabilities."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def logits_at(
        self, tokens: Tensor, lengths: Tensor, at: Tensor, soft: SoftTokens | None = None
    ) -> Tensor:
        value = LIKED[tokens]
        if soft is not None:
            value = value.masked_scatter(soft.at, soft.probabilities @ LIKED)
        position = torch.arange(1, tokens.shape[1] + 1)
        real = position <= lengths[:, None]
        return ((value * real).sum(-1, keepdim=True) + 0.1 * position)[at]


def guided(law: Law, **settings: object) -> GuidedSampler:
    predictor = Predictor(ExactDenoiser([law], 3), toy_vocabulary(3))
    return GuidedSampler(predictor, ToyDiscriminator(), RgasSettings(**settings))


def test_the_gradient_by_hand() -> None:
    sampler = guided(random_law(3, 2, seed=0))
    tokens = torch.tensor([[3, 1], [3, 3]])
    masked = tokens == 3
    chances = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]).double()
    found = sampler.reward_gradient(tokens, torch.tensor([2, 2]), masked, chances.log())
    # d/da_c of sum_c' softmax(a)_c' v_c' is p_c (v_c - mean); each masked position's logit holds
    # the whole row, so the two masks of the second row count it twice.
    value = LIKED[:3]
    expected = [p * (value - (p * value).sum()) for p in chances]
    torch.testing.assert_close(found, torch.stack([expected[0], *(2 * e for e in expected[1:])]))


def test_the_gradient_against_finite_differences() -> None:
    denoiser = tiny_denoiser(seed=1, dtype=torch.float64)
    sampler = GuidedSampler(Predictor(denoiser, FRAMED), tiny_discriminator(2, torch.float64))
    batch = framed_batch([MASK, 4, MASK, 3], [5, MASK])
    masked = batch.tokens == MASK
    log_probs = sampler.predictor.log_probs(batch.tokens, batch.lengths, masked).detach()
    found = sampler.reward_gradient(batch.tokens, batch.lengths, masked, log_probs)

    def reward(values: Tensor) -> float:
        soft = torch.zeros(len(values), FRAMED.size, dtype=torch.float64)
        soft[:, list(FRAMED.generable_ids)] = values.softmax(-1)
        logits = sampler.discriminator.logits_at(
            batch.tokens, batch.lengths, masked, SoftTokens(masked, soft)
        )
        return float(logits.sum())

    for place in itertools.product(range(3), range(3)):
        ahead, behind = log_probs.clone(), log_probs.clone()
        ahead[place] += 1e-5
        behind[place] -= 1e-5
        difference = (reward(ahead) - reward(behind)) / 2e-5
        assert float(found[place]) == pytest.approx(difference, rel=1e-5, abs=1e-9)
    assert found.abs().max() > 1e-4, "a gradient of zero would agree with anything"


def test_a_tilted_step_draws_from_its_enumerated_law() -> None:
    law = random_law(3, 1, seed=5)
    plain = conditional(law, {}, 0, 3)
    mean = sum(p * v for p, v in zip(plain, LIKED.tolist()[:3], strict=True))
    slope = [p * (v - mean) for p, v in zip(plain, LIKED.tolist()[:3], strict=True)]
    clipped = [max(-0.15, min(0.15, each)) for each in slope]
    assert clipped != slope, "the clip must act"
    weight = [p * math.exp(5.0 * g) for p, g in zip(plain, clipped, strict=True)]
    # One position: the first of two steps, which tilts, reveals it half of the time.
    expected = {(i,): 0.5 * weight[i] / sum(weight) + 0.5 * plain[i] for i in range(3)}
    sampler = guided(law, tilt_start=5.0, tilt_end=9.0, gradient_clip=0.15)
    settings = SampleSettings(steps=2, seed=1)
    found = draw_sequences(sampler, sampler.predictor, settings, [3], NUM_SAMPLES)
    assert chi_square_p_value(found, expected) > 1e-3
    assert chi_square_p_value(found, law) < 1e-12


def test_the_strength_of_tilting_is_linear_in_the_step() -> None:
    sampler = guided(random_law(3, 1, seed=0))
    assert [sampler._tilt(step, 5) for step in range(5)] == [30.0, 32.5, 35.0, 37.5, 40.0]
    assert sampler._tilt(0, 1) == 30.0


def _picked(chances: list[float], count: int) -> list[float]:
    """Law of the first token when `count` candidates of it are re-ranked; the other is masked.

    Position 2 is masked: its logit is liked(token) + liked(mask) + 0.2, times two masks before.
    """
    picked = [0.0] * 3
    for candidates in itertools.product(range(3), repeat=count):
        chance = math.prod(chances[c] for c in candidates)
        weight = [math.exp(2 * (float(LIKED[c] + LIKED[3]) + 0.2)) for c in candidates]
        for candidate, each in zip(candidates, weight, strict=True):
            picked[candidate] += chance * each / sum(weight)
    return picked


def test_a_reranked_step_draws_from_its_enumerated_law() -> None:
    law = random_law(3, 2, seed=7)
    marginal = [conditional(law, {}, position, 3) for position in (0, 1)]
    picked = [_picked(chances, 3) for chances in marginal]
    expected = {}
    for a, b in law:
        together = marginal[0][a] * marginal[1][b]
        first = picked[0][a] * conditional(law, {0: a}, 1, 3)[b]
        second = picked[1][b] * conditional(law, {1: b}, 0, 3)[a]
        expected[a, b] = 0.5 * together + 0.25 * first + 0.25 * second
    sampler = guided(law, rerank_share=1.0, num_candidates=3)
    settings = SampleSettings(steps=2, seed=8)
    found = draw_sequences(sampler, sampler.predictor, settings, [3, 3], NUM_SAMPLES)
    assert chi_square_p_value(found, expected) > 1e-3


def test_scores_by_hand() -> None:
    law = random_law(3, 3, seed=0)
    before = torch.tensor([[3, 3, 3], [3, 1, 4]])
    lengths = torch.tensor([3, 2])
    prior = Prior(framed_batch([3]).rows(slice(0, 0)), torch.tensor([0, 1]))
    batch = type(prior.batch)(before, lengths, before == 3)
    part = Prior(batch, prior.records)
    candidates = torch.tensor([[[0, 3, 3], [2, 3, 3]], [[3, 1, 4], [3, 1, 4]]])
    remaining = candidates[:, 0] == 3
    # Row 0: liked 0.7 or 1.1, and twice mask (0.2); logits at positions 2 and 3 add 0.2 and 0.3.
    # Row 1: mask 0.2 and token 1 (-0.4); one mask before, at position 1.
    expected = torch.tensor([[3 * (1.1 + 0.25), 3 * (1.5 + 0.25)], [-0.2 + 0.1] * 2]).double()
    found = guided(law).scores(candidates, part, remaining)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    # Over all positions of the sequence, padding excluded.
    expected = torch.tensor([[3 * 1.1 + 0.6, 3 * 1.5 + 0.6], [2 * -0.2 + 0.3] * 2]).double()
    found = guided(law, rerank_positions="all").scores(candidates, part, remaining)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


ROWS = [
    FRAMED.frame([MASK] * 9),
    FRAMED.frame([MASK, 3, MASK, MASK, 5, MASK, MASK]),
    FRAMED.frame([4, 5, 3]),
    FRAMED.frame([MASK] * 14),
    FRAMED.frame([MASK]),
]
RECORDS = [7, 2**41 + 1, 3, 0, 12]


def tiny_guided(**settings: object) -> GuidedSampler:
    denoiser = tiny_denoiser(seed=1, dtype=torch.float64)
    discriminator = tiny_discriminator(seed=2, dtype=torch.float64)
    return GuidedSampler(Predictor(denoiser, FRAMED), discriminator, RgasSettings(**settings))


def test_without_guidance_it_is_ancestral_sampling() -> None:
    sampler = tiny_guided(tilt_start=0.0, tilt_end=0.0, num_candidates=1)
    prior, settings = build_prior(ROWS, RECORDS, FRAMED, "cpu"), SampleSettings(steps=4, seed=3)
    plain = ancestral(sampler.predictor).sample(prior, settings)
    found = sampler.sample(prior, settings)
    assert torch.equal(found.tokens, plain.tokens)
    assert torch.equal(found.denoiser_calls, plain.denoiser_calls)


@pytest.mark.parametrize(
    "part",
    [
        {"tilt_start": 40.0, "num_candidates": 1},
        {"tilt_start": 0.0, "tilt_end": 0.0},
        {"tilt_start": 0.0, "tilt_end": 0.0, "rerank_positions": "all"},
    ],
    ids=["tilting", "re-ranking", "re-ranking-all"],
)
def test_each_part_of_the_guidance_changes_designs(part: dict[str, object]) -> None:
    sampler, settings = tiny_guided(**part), SampleSettings(steps=4, seed=3)
    prior = build_prior([FRAMED.frame([MASK] * 14)] * 30, range(30), FRAMED, "cpu")
    plain = ancestral(sampler.predictor).sample(prior, settings)
    assert not torch.equal(sampler.sample(prior, settings).tokens, plain.tokens)


def test_calls_of_eight_steps() -> None:
    rows = [FRAMED.frame([MASK] * 60), FRAMED.frame([MASK]), FRAMED.frame([3])]
    found = tiny_guided().sample(build_prior(rows, range(3), FRAMED, "cpu"), SampleSettings(8))
    # 60 positions: each step reveals some. Four tilted steps; of the four that re-rank 4
    # candidates the last leaves no mask. One position: one call, tilted or not re-ranked at all.
    assert found.denoiser_calls.tolist() == [8, 1, 0]
    assert found.discriminator_calls[0] == 4 + 4 * 3
    assert found.discriminator_calls[1] in (0, 1)
    assert found.discriminator_calls[2] == 0


def test_padding_and_neighbours_do_not_change_a_row() -> None:
    sampler, settings = tiny_guided(), SampleSettings(steps=5, seed=6)
    together = sampler.sample(build_prior(ROWS, RECORDS, FRAMED, "cpu"), settings)
    for number, (row, record) in enumerate(zip(ROWS, RECORDS, strict=True)):
        alone = sampler.sample(build_prior([row], [record], FRAMED, "cpu"), settings)
        found = together.tokens[number]
        assert torch.equal(alone.tokens[0, : len(row)], found[: len(row)])
        assert found[len(row) :].eq(FRAMED.pad_id).all()
        assert all(found[i] == token for i, token in enumerate(row) if token != MASK)
        assert not (found == MASK).any()
        assert alone.discriminator_calls[0] == together.discriminator_calls[number]


@pytest.mark.parametrize(
    ("steps", "share", "first"),
    [(8, 0.5, 4), (7, 0.5, 3), (10, 0.9, 1), (10, 0.8, 2), (5, 0.8, 1), (4, 0.0, 4), (4, 1.0, 0)],
)
def test_the_share_of_steps_that_rerank(steps: int, share: float, first: int) -> None:
    assert first_rerank_step(steps, share) == first
