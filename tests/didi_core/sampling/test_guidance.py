"""Guidance: its laws by enumeration and by hand, its calls, and what is left without a guide."""

import itertools
import math
from collections.abc import Callable
from collections.abc import Sequence as Rows
from dataclasses import dataclass, field, replace

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
from tiny_models import FRAMED, MASK, framed_dit, tiny_denoiser
from torch import Tensor

from didi_core.sampling.ancestral import PlannedSampler, ancestral, first_hitting, greedy_tail
from didi_core.sampling.apart import ApartSampler
from didi_core.sampling.filling import build_prior
from didi_core.sampling.guidance import Reranked, Tilted
from didi_core.sampling.momentum import MomentumSampler, MomentumSettings
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import DrawSettings, SampleSettings
from didi_core.sampling.step_draw import StepDraw

NUM_SAMPLES = 20_000
LIKED = torch.tensor([[0.7, -0.4, 1.1], [0.2, 1.3, -0.9]], dtype=torch.float64)
"""What the toy guide thinks of each token at each of two positions."""


@dataclass(frozen=True)
class Linear:
    """A score that is linear in the tokens, in both forms; remembers what it was asked."""

    liked: Tensor = LIKED
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def scores(self, sequences: Rows[Rows[int]]) -> Tensor:
        self.asked.extend(tuple(each) for each in sequences)
        tokens = torch.tensor(sequences)
        return self.liked[torch.arange(tokens.shape[1]), tokens].sum(-1)

    def of(self, sequence: tuple[int, ...]) -> float:
        return sum(float(self.liked[i, token]) for i, token in enumerate(sequence))

    def gradient(self, probabilities: Tensor) -> Tensor:
        self.asked.extend([()] * len(probabilities))
        length = probabilities.shape[1]
        return self.liked[:length].expand_as(probabilities)


class Nothing:
    """Prefers nothing."""

    def scores(self, sequences: Rows[Rows[int]]) -> Tensor:
        return torch.zeros(len(sequences))

    def gradient(self, probabilities: Tensor) -> Tensor:
        return torch.zeros_like(probabilities)


def exact(law: Law, num_tokens: int = 3) -> Predictor:
    return Predictor(ExactDenoiser([law], num_tokens), toy_vocabulary(num_tokens))


def guided(predictor: Predictor, draw: StepDraw) -> PlannedSampler:
    return replace(ancestral(predictor), draw=draw)


def test_two_candidates_of_two_tokens_by_hand() -> None:
    # P(a) = p^2 + 2 p q sigmoid(scale (s_a - s_b)): both are a, or one is and is kept.
    law, scale = {(0,): 0.3, (1,): 0.7}, 1.5
    keeps = 1 / (1 + math.exp(-scale * (0.7 - -0.4)))
    first = 0.3**2 + 2 * 0.3 * 0.7 * keeps
    predictor = exact(law, 2)
    sampler = guided(predictor, Reranked(Linear(), scale, 2))
    found = draw_sequences(sampler, predictor, SampleSettings(1), [2], NUM_SAMPLES)
    assert chi_square_p_value(found, {(0,): first, (1,): 1 - first}) > 1e-3
    assert chi_square_p_value(found, law) < 1e-12


def test_a_guide_that_prefers_nothing_changes_nothing_of_momentum_and_apart() -> None:
    predictor = Predictor(tiny_denoiser(num_layers=2), FRAMED)
    prior = build_prior([FRAMED.frame([MASK] * 14)] * 8, range(8), FRAMED, "cpu")
    settings = SampleSettings(4, seed=5)
    apart = MomentumSampler(predictor, MomentumSettings(positions="apart"))
    draws = Reranked(Nothing(), 1.0, 1), Reranked(Nothing(), 0.0, 1), Tilted(Nothing(), 1.0)
    for plain in (MomentumSampler(predictor), apart, ApartSampler(predictor)):
        usual = plain.sample(prior, settings).tokens
        assert not torch.equal(usual, ancestral(predictor).sample(prior, settings).tokens)
        for draw in draws:
            found = replace(plain, draw=draw).sample(prior, settings)
            assert torch.equal(found.tokens, usual)
            assert found.guide_calls is not None and (found.guide_calls > 0).all()


@pytest.mark.parametrize("scale", [1e306, -1e306])
def test_a_scale_past_what_numbers_hold_takes_the_best(scale: float) -> None:
    law = {(0, 0): 0.2, (2, 1): 0.3, (1, 2): 0.5}
    predictor, guide = exact(law), Linear(1e5 * LIKED)
    best = (scale * LIKED).argmax(-1)
    settings = SampleSettings(1)
    for draw in (Reranked(guide, scale, 512), Tilted(guide, scale)):
        found = draw_sequences(guided(predictor, draw), predictor, settings, [3, 3], 64)
        assert set(found) == {tuple(best.tolist())}


def reranked_law(law: Law, guide: Linear, scale: float, count: int) -> Law:
    """Law of two positions that two steps reveal, each step re-ranked, enumerated.

    With both in one step all is drawn at once. With one in each the first is scored with the other
    one filled from the law of the same state, independently of the candidate, as all share it.
    """
    marginal = [conditional(law, {}, i, 3) for i in range(2)]
    result = dict.fromkeys(law, 0.0)
    both = {each: marginal[0][each[0]] * marginal[1][each[1]] for each in law}
    for sequence, chance in picked(both, guide, scale, count).items():
        result[sequence] += 0.5 * chance
    for first, second in ((0, 1), (1, 0)):
        for filler, token in itertools.product(range(3), repeat=2):
            states = {order(first, a, filler): marginal[first][a] for a in range(3)}
            chance = picked(states, guide, scale, count)[order(first, token, filler)]
            given = conditional(law, {first: token}, second, 3)
            ends = {order(first, token, a): given[a] for a in range(3)}
            for sequence, last in picked(ends, guide, scale, count).items():
                result[sequence] += 0.25 * marginal[second][filler] * chance * last
    return result


def order(first: int, token: int, other: int) -> tuple[int, int]:
    return (token, other) if first == 0 else (other, token)


def picked(law: Law, guide: Linear, scale: float, count: int) -> Law:
    """Law of what is kept of `count` candidates drawn from `law`."""
    result = dict.fromkeys(law, 0.0)
    for candidates in itertools.product(law, repeat=count):
        chance = math.prod(law[each] for each in candidates)
        weight = [math.exp(scale * guide.of(each)) for each in candidates]
        for candidate, each in zip(candidates, weight, strict=True):
            result[candidate] += chance * each / sum(weight)
    return result


@pytest.mark.parametrize(("scale", "count"), [(1.0, 2), (-2.0, 3)])
def test_reranked_steps_draw_from_their_enumerated_law(scale: float, count: int) -> None:
    law, guide = random_law(3, 2, seed=3), Linear()
    predictor = exact(law)
    sampler = guided(predictor, Reranked(guide, scale, count))
    found = draw_sequences(sampler, predictor, SampleSettings(2, seed=4), [3, 3], NUM_SAMPLES)
    expected = reranked_law(law, guide, scale, count)
    assert sum(expected.values()) == pytest.approx(1)
    assert chi_square_p_value(found, expected) > 1e-3
    assert chi_square_p_value(found, reranked_law(law, guide, 0.0, count)) < 1e-12


def test_many_candidates_approach_the_law_times_the_exponential_of_the_score() -> None:
    law, guide = random_law(3, 1, seed=5), Linear()
    weight = {each: chance * math.exp(guide.of(each)) for each, chance in law.items()}
    expected = {each: value / sum(weight.values()) for each, value in weight.items()}
    apart = [
        max(abs(picked(law, guide, 1.0, count)[each] - expected[each]) for each in law)
        for count in (1, 2, 4, 6)
    ]
    assert apart == sorted(apart, reverse=True) and apart[-1] < apart[0] / 4


def test_the_tilt_of_a_linear_score_is_its_exponential() -> None:
    law, guide, scale = random_law(3, 2, seed=6), Linear(), 0.8
    given = [[conditional(law, {}, i, 3)] for i in range(2)]
    expected = dict.fromkeys(law, 0.0)

    def tilted(chances: list[float], position: int) -> list[float]:
        pairs = zip(chances, LIKED[position].tolist(), strict=True)
        weight = [p * math.exp(scale * value) for p, value in pairs]
        return [each / sum(weight) for each in weight]

    start = [tilted(each[0], i) for i, each in enumerate(given)]
    for sequence in law:
        expected[sequence] += 0.5 * start[0][sequence[0]] * start[1][sequence[1]]
        for first, second in ((0, 1), (1, 0)):
            then = tilted(conditional(law, {first: sequence[first]}, second, 3), second)
            expected[sequence] += 0.25 * start[first][sequence[first]] * then[sequence[second]]
    predictor = exact(law)
    sampler = guided(predictor, Tilted(guide, scale))
    found = draw_sequences(sampler, predictor, SampleSettings(2, seed=7), [3, 3], NUM_SAMPLES)
    assert chi_square_p_value(found, expected) > 1e-3
    assert chi_square_p_value(found, law) < 1e-12


def test_the_filler_of_a_step_is_shared_by_its_candidates_and_asks_the_network_nothing() -> None:
    predictor, guide = exact(random_law(3, 2, seed=8)), Linear()
    prior = build_prior([[3, 3]] * 50, range(50), predictor.vocabulary, "cpu")
    calls: list[int] = []
    sampler = guided(replace(predictor, on_call=calls.append), Reranked(guide, 1.0, 3))
    sampled = sampler.sample(prior, SampleSettings(2, seed=1))
    assert sum(calls) == int(sampled.denoiser_calls.sum())
    assert sampled.guide_calls is not None
    assert sampled.guide_calls.tolist() == (3 * sampled.denoiser_calls).tolist()
    assert len(guide.asked) == int(sampled.guide_calls.sum())
    guide.asked.clear()
    one = build_prior([[3, 3]], [1], predictor.vocabulary, "cpu")
    sampler.sample(one, SampleSettings(9))
    assert len(guide.asked) == 6, "each position in a step of its own"
    for step in (guide.asked[:3], guide.asked[3:]):
        assert min(len({each[i] for each in step}) for i in range(2)) == 1


@pytest.mark.parametrize("draw", [Reranked(Linear(), 2.0, 3), Tilted(Linear(), 2.0)])
@pytest.mark.parametrize("build", [ancestral, first_hitting, greedy_tail])
def test_a_design_does_not_depend_on_the_batch(
    build: Callable[[Predictor], PlannedSampler], draw: StepDraw
) -> None:
    predictor = exact(random_law(3, 2, seed=9))
    sampler = replace(build(predictor), draw=draw)
    settings = SampleSettings(None if build is first_hitting else 2, seed=3)
    keys = list(range(20))
    whole = sampler.sample(build_prior([[3, 3]] * 20, keys, predictor.vocabulary, "cpu"), settings)
    for key in (0, 7, 19):
        alone = sampler.sample(build_prior([[3, 3]], [key], predictor.vocabulary, "cpu"), settings)
        assert alone.tokens[0].tolist() == whole.tokens[key].tolist()


def test_what_is_kept_stays_and_what_is_forbidden_is_never_scored() -> None:
    predictor, guide = exact(random_law(3, 2, seed=2)), Linear()
    bias = torch.tensor([0.0, 0.0, -math.inf], dtype=torch.float64)
    settings = SampleSettings(1, draw=DrawSettings(log_bias=bias))
    prior = build_prior([[3, 2]] * 200, range(200), predictor.vocabulary, "cpu")
    for draw in (Reranked(guide, 1.0, 4), Tilted(guide, 5.0)):
        tokens = guided(predictor, draw).sample(prior, settings).tokens[:, :2]
        assert (tokens[:, 1] == 2).all() and set(tokens[:, 0].tolist()) == {0, 1}
    assert all(each[0] != 2 for each in guide.asked if each)


class Padded:
    """Checks that no framing and no padding is among what it is given."""

    def scores(self, sequences: Rows[Rows[int]]) -> Tensor:
        for each in sequences:
            assert each[0] == FRAMED.bos_id and each[-1] == FRAMED.eos_id
            assert set(each[1:-1]) <= set(FRAMED.generable_ids)
        return torch.zeros(len(sequences))

    def gradient(self, probabilities: Tensor) -> Tensor:
        assert probabilities.shape[1] in (3, 5)
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:2]))
        return torch.zeros_like(probabilities)


@pytest.mark.parametrize("draw", [Reranked(Padded(), 1.0, 2), Tilted(Padded(), 1.0)])
def test_guides_see_sequences_without_padding_and_a_flat_score_changes_no_tilted_design(
    draw: StepDraw,
) -> None:
    predictor = Predictor(framed_dit(0), FRAMED)
    rows = [FRAMED.frame([MASK] * n) for n in (3, 5, 3)]
    prior = build_prior(rows, range(3), FRAMED, "cpu")
    settings = SampleSettings(2, seed=5)
    found = guided(predictor, draw).sample(prior, settings)
    plain = ancestral(predictor).sample(prior, settings)
    assert found.denoiser_calls.tolist() == plain.denoiser_calls.tolist()
    if isinstance(draw, Tilted):
        assert found.tokens.tolist() == plain.tokens.tolist()
