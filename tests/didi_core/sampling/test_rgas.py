"""RGAS: its gradient, scores, enumerated steps, calls, and what is left when guidance is off."""

import itertools
import math
from collections.abc import Callable

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
from tiny_models import FRAMED, MASK, framed_batch, framed_dit, tiny_denoiser, tiny_discriminator
from torch import Tensor, nn

from didi_core.errors import UserError
from didi_core.models.denoiser import told_the_time
from didi_core.models.discriminator import Discriminator
from didi_core.models.soft_tokens import SoftTokens
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, SampleSettings
from didi_core.sampling.rgas import GuidedSampler, RgasSettings, first_rerank_step, without_subs
from didi_core.sampling.sampler_options import from_options

NUM_SAMPLES = 20_000
LIKED = torch.tensor([0.7, -0.4, 1.1, 0.2, -2.0], dtype=torch.float64)
"""What the toy discriminator thinks of each id: three tokens, mask, padding."""


class ToyDiscriminator(Discriminator):
    """Logit of a position: the liking of the row's tokens, soft ones by their probabilities."""

    def __init__(self, liked: Tensor = LIKED) -> None:
        nn.Module.__init__(self)
        self.liked = liked

    def logits_at(
        self,
        tokens: Tensor,
        lengths: Tensor,
        at: Tensor,
        soft: SoftTokens | None = None,
        alpha: Tensor | None = None,
    ) -> Tensor:
        del alpha
        value = self.liked[tokens]
        if soft is not None:
            value = value.masked_scatter(soft.at, soft.probabilities @ self.liked)
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


def _picked_state(
    states: dict[tuple[int, ...], float], score: Callable, released: bool = False
) -> dict[tuple[int, ...], float]:
    """Law of the state kept of two candidates, each of the law `states`."""
    picked = dict.fromkeys(states, 0.0)
    for pair in itertools.product(states, repeat=2):
        # Where nothing is left to fill, candidates are not scored, but as released.
        done = not released and 3 not in pair[0] + pair[1]
        weight = [1.0 if done else math.exp(score(each)) for each in pair]
        for state, each in zip(pair, weight, strict=True):
            picked[state] += states[pair[0]] * states[pair[1]] * each / sum(weight)
    return picked


@pytest.mark.parametrize("positions", ["masked", "all"])
def test_candidates_with_positions_of_their_own_draw_from_their_enumerated_law(
    positions: str,
) -> None:
    law, strong = random_law(3, 2, seed=7), 2 * LIKED
    marginal = [conditional(law, {}, position, 3) for position in (0, 1)]

    def chance(state: tuple[int, ...]) -> float:
        return math.prod(0.5 if t == 3 else 0.5 * marginal[i][t] for i, t in enumerate(state))

    def score(state: tuple[int, ...]) -> float:
        logits = [sum(strong[t].item() for t in state) + 0.1 * (i + 1) for i in (0, 1)]
        if positions == "all":
            return sum(logits)
        left = [logit for logit, t in zip(logits, state, strict=True) if t == 3]
        return 2 * sum(left) / len(left) if left else 0.0

    picked = _picked_state(
        {state: chance(state) for state in itertools.product(range(4), repeat=2)}, score
    )
    expected = dict.fromkeys(law, 0.0)
    for (a, b), each in itertools.product(law, picked.items()):
        state, mass = each
        if all(t in (3, own) for t, own in zip(state, (a, b), strict=True)):
            known = {i: t for i, t in enumerate(state) if t != 3}
            rest = [conditional(law, known, i, 3)[(a, b)[i]] for i in (0, 1) if i not in known]
            expected[a, b] += mass * math.prod(rest)
    assert sum(expected.values()) == pytest.approx(1.0)
    options = {"rerank_share": 1.0, "num_candidates": 2, "rerank_positions": positions}
    predictor = Predictor(ExactDenoiser([law], 3), toy_vocabulary(3))

    def p_value(kind: str) -> float:
        guidance = RgasSettings(candidate_positions=kind, **options)
        sampler = GuidedSampler(predictor, ToyDiscriminator(strong), guidance)
        settings = SampleSettings(steps=2, seed=8)
        found = draw_sequences(sampler, predictor, settings, [3, 3], NUM_SAMPLES)
        return chi_square_p_value(found, expected)

    assert p_value("own") > 1e-3 and p_value("shared") < 1e-4


class SaysMask(ExactDenoiser):
    """Gives the mask a share of every prediction, as a network may whose code has no SUBS."""

    def logits_at(self, tokens: Tensor, lengths: Tensor, at: Tensor) -> Tensor:
        logits = super().logits_at(tokens, lengths, at)
        logits[:, 3] = 0.3
        return logits


@pytest.mark.usefixtures("unchecked")  # its network stands for one of ours
def test_the_released_sampler_draws_from_its_enumerated_law() -> None:
    """One position, three steps: tilted, re-ranked, and the one that cleans up."""
    law = random_law(3, 1, seed=5)
    liked = LIKED.tolist()[:4]
    weight = [*conditional(law, {}, 0, 3), math.exp(0.3)]
    plain = [w / sum(weight) for w in weight]
    mean = sum(p * v for p, v in zip(plain, liked, strict=True))
    slope = [max(-0.15, min(0.15, p * (v - mean))) for p, v in zip(plain, liked, strict=True)]
    weight = [p * math.exp(5.0 * g) for p, g in zip(plain, slope, strict=True)]
    tilted = [w / sum(weight) for w in weight]
    times = [1.0, 1.0 - (1 - 1e-5) / 2, 1e-5]
    alphas = [1 - (1 - 1e-3) * t for t in times]

    def after(law: list[float], alpha: float, later: float) -> list[float]:
        """Of each token, then of staying masked; q_xs of the released code, normalised."""
        weight = [*(p * (later - alpha) for p in law[:3]), 1 - later]
        return [w / sum(weight) for w in weight]

    first = after(tilted, *alphas[:2])
    second = {(i,): p for i, p in enumerate(after(plain, *alphas[1:]))}
    second = _picked_state(second, lambda state: liked[state[0]] + 0.1, released=True)
    last = [p / sum(plain[:3]) for p in plain[:3]]
    expected = {(i,): first[i] + first[3] * (second[i,] + second[3,] * last[i]) for i in range(3)}
    assert sum(expected.values()) == pytest.approx(1.0)
    predictor = without_subs(Predictor(SaysMask([law], 3), toy_vocabulary(3)))
    options = RgasSettings(tilt_start=5.0, gradient_clip=0.15, num_candidates=2, compat="released")
    sampler = GuidedSampler(predictor, ToyDiscriminator(), options)
    assert sampler.alphas(SampleSettings(steps=2)) == pytest.approx([*alphas, 1.0])
    settings = SampleSettings(steps=2, seed=3)
    found = draw_sequences(sampler, predictor, settings, [3], NUM_SAMPLES)
    assert chi_square_p_value(found, expected) > 1e-3
    # The same with the mask's share left out, as SUBS does.
    subs = GuidedSampler(
        Predictor(SaysMask([law], 3), toy_vocabulary(3)), ToyDiscriminator(), options
    )
    found = draw_sequences(subs, predictor, settings, [3], NUM_SAMPLES)
    assert chi_square_p_value(found, expected) < 1e-4


def test_the_released_sampler_re_ranks_the_last_step_and_is_told_the_time() -> None:
    denoiser = framed_dit(3, conditioning_size=6)
    discriminator = Discriminator(denoiser).eval().requires_grad_(False)
    discriminator.trunk = told_the_time(discriminator.trunk)
    predictor = without_subs(Predictor(denoiser, FRAMED))
    heard: dict[str, list[float]] = {"student": [], "discriminator": []}
    for name, network in (("student", denoiser), ("discriminator", discriminator.trunk)):
        network.sigma_embedding.register_forward_pre_hook(
            lambda _, given, name=name: heard[name].append(float(given[0][0]))
        )
    sampler = GuidedSampler(predictor, discriminator, RgasSettings(compat="released"))
    prior = build_prior([FRAMED.frame([MASK] * 40)], [0], FRAMED, "cpu")
    sampled = sampler.sample(prior, SampleSettings(steps=4, seed=1))
    assert not (sampled.tokens == MASK).any() and (sampled.tokens[0, 1:41] >= 3).all()
    sigma = [-math.log(alpha) for alpha in sampler.alphas(SampleSettings(steps=4))]
    assert sigma[0] == pytest.approx(math.log(1000))
    # Student: before each step. Discriminator: before a tilted step, after a re-ranked one.
    assert heard["student"][:4] == pytest.approx(sigma[:4], abs=1e-5)
    assert heard["discriminator"] == pytest.approx([*sigma[:2], *sigma[3:5]], abs=1e-5)
    assert sampled.discriminator_calls.tolist() == [2 + 2 * 4]
    assert not denoiser.settings.time_conditioned, "the network that was given is as it was"
    heard["student"].clear()
    plain = GuidedSampler(Predictor(denoiser, FRAMED), discriminator)
    plain.sample(prior, SampleSettings(steps=4, seed=1))
    assert set(heard["student"]) == {0.0}


def test_what_compat_sets_can_be_set_otherwise() -> None:
    released = RgasSettings(compat="released")
    assert released.scores_all and released.own_positions
    other = RgasSettings(compat="released", rerank_positions="masked", candidate_positions="shared")
    assert not other.scores_all and not other.own_positions
    assert not RgasSettings().scores_all and not RgasSettings().own_positions
    for name, value in (("compat", "paper"), ("candidate_positions", "all")):
        with pytest.raises(UserError, match=rf"{name}={value} must be"):
            from_options("rgas", RgasSettings, {name: value})


def test_scores_by_hand() -> None:
    law = random_law(3, 3, seed=0)
    before = torch.tensor([[3, 3, 3], [3, 1, 4]])
    lengths = torch.tensor([3, 2])
    prior = Prior(framed_batch([3]).rows(slice(0, 0)), torch.tensor([0, 1]))
    batch = type(prior.batch)(before, lengths, before == 3)
    part = Prior(batch, prior.records)
    candidates = torch.tensor([[[0, 3, 3], [2, 3, 3]], [[3, 1, 4], [3, 1, 4]]])
    # Row 0: liked 0.7 or 1.1, and twice mask (0.2); logits at positions 2 and 3 add 0.2 and 0.3.
    # Row 1: mask 0.2 and token 1 (-0.4); one mask before, at position 1.
    expected = torch.tensor([[3 * (1.1 + 0.25), 3 * (1.5 + 0.25)], [-0.2 + 0.1] * 2]).double()
    found = guided(law).scores(candidates, part)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    # Over all positions of the sequence, padding excluded.
    expected = torch.tensor([[3 * 1.1 + 0.6, 3 * 1.5 + 0.6], [2 * -0.2 + 0.3] * 2]).double()
    found = guided(law, rerank_positions="all").scores(candidates, part)
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


OWN = {"candidate_positions": "own"}


@pytest.mark.parametrize("options", [OWN, {"compat": "released"}], ids=["own", "released"])
def test_a_row_with_positions_of_its_own_is_the_same_alone(options: dict[str, str]) -> None:
    sampler, settings = tiny_guided(**options), SampleSettings(steps=5, seed=6)
    together = sampler.sample(build_prior(ROWS, RECORDS, FRAMED, "cpu"), settings)
    for number, (row, record) in enumerate(zip(ROWS, RECORDS, strict=True)):
        alone = sampler.sample(build_prior([row], [record], FRAMED, "cpu"), settings)
        found = together.tokens[number]
        assert torch.equal(alone.tokens[0, : len(row)], found[: len(row)])
        assert not (found == MASK).any() and found[len(row) :].eq(FRAMED.pad_id).all()
        assert alone.denoiser_calls[0] == together.denoiser_calls[number] <= 6
        assert alone.discriminator_calls[0] == together.discriminator_calls[number]


@pytest.mark.parametrize(
    ("steps", "share", "first"),
    [(8, 0.5, 4), (7, 0.5, 3), (10, 0.9, 1), (10, 0.8, 2), (5, 0.8, 1), (4, 0.0, 4), (4, 1.0, 0)],
)
def test_the_share_of_steps_that_rerank(steps: int, share: float, first: int) -> None:
    assert first_rerank_step(steps, share) == first
