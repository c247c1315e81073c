"""ReMDM: its one-step probabilities and its chain, enumerated; the law it reaches; calls, rows."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from exact_denoiser import (
    ExactDenoiser,
    Law,
    Sequence,
    chi_square_p_value,
    conditional,
    draw_sequences,
    random_law,
    toy_vocabulary,
)
from tiny_models import FRAMED, MASK, Told, tiny_denoiser

from didi_core.data.batches import TokenBatch
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.remdm import RemaskingSampler, RemdmSettings, Transition
from didi_core.sampling.request import DrawSettings, Prior, SampleSettings

NUM_SAMPLES = 100_000
PLAUSIBLE = 1e-3
IMPLAUSIBLE = 1e-12
TOKENS = 3
HIDDEN = TOKENS
"""Id of the mask."""
OF_THE_PAPER = {
    "cap": RemdmSettings("cap", eta=0.3),
    "rescale": RemdmSettings("rescale", eta=0.6),
    "loop": RemdmSettings("loop", eta=0.4, t_on=0.7, t_off=0.2, alpha_on=0.6),
}
SCHEDULES = {**OF_THE_PAPER, "renoise": RemdmSettings("renoise")}
SCHEDULE = pytest.mark.parametrize("remasking", SCHEDULES.values(), ids=SCHEDULES)
CONFIDENCE = RemdmSettings("rescale", eta=1.0, weighting="confidence")


def sampler_of(law: Law, remasking: RemdmSettings) -> RemaskingSampler:
    return RemaskingSampler(
        Predictor(ExactDenoiser([law], TOKENS), toy_vocabulary(TOKENS)), remasking
    )


def one_step(
    law: Law, state: Sequence, move: Transition, certainty: dict[int, float] | None = None
) -> Law:
    """q(z_s | z_t) by the paper's posterior; with `certainty` of the standing tokens, weighted."""
    alpha_t, alpha_s, sigma = move.alpha_t, move.alpha_s, move.sigma
    known = {place: token for place, token in enumerate(state) if token != HIDDEN}
    share, used = dict.fromkeys(known, 1.0), sigma
    if certainty is not None:
        total = sum(math.exp(-certainty[place]) for place in known)
        share, used = {place: math.exp(-certainty[place]) / total for place in known}, 0.0
    choices = []
    for place, token in enumerate(state):
        if place in known:
            again = sigma * share[place]
            choices.append({token: 1 - again, HIDDEN: again})
            continue
        reveal = (alpha_s - (1 - used) * alpha_t) / (1 - alpha_t)
        stay = (1 - alpha_s - used * alpha_t) / (1 - alpha_t)
        drawn = conditional(law, known, place, TOKENS)
        choices.append({**{x: reveal * p for x, p in enumerate(drawn)}, HIDDEN: stay})
    result = {}
    for after in itertools.product(*choices):
        chance = math.prod(each[token] for each, token in zip(choices, after, strict=True))
        if chance > 1e-12:
            result[after] = chance
    return result


def chain(law: Law, moves: list[Transition]) -> list[Law]:
    """Distribution over states after each step, from all masked."""
    states: Law = {(HIDDEN,) * len(next(iter(law))): 1.0}
    trail = []
    for move in moves:
        after: Law = {}
        for state, mass in states.items():
            for new, chance in one_step(law, state, move).items():
                after[new] = after.get(new, 0.0) + mass * chance
        states = after
        trail.append(after)
    return trail


def variation(one: Law, other: Law) -> float:
    return sum(abs(one.get(each, 0.0) - other.get(each, 0.0)) for each in {**one, **other}) / 2


def rows_of(state: Sequence) -> Prior:
    """Many rows in one state; all positions are free."""
    tokens = torch.tensor(state).repeat(NUM_SAMPLES, 1)
    lengths = torch.full((NUM_SAMPLES,), len(state))
    batch = TokenBatch(tokens, lengths, torch.ones_like(tokens, dtype=torch.bool))
    return Prior(batch, torch.arange(NUM_SAMPLES))


def run_step(
    sampler: RemaskingSampler, state: Sequence, move: Transition, certainty: dict[int, float]
) -> Counter[Sequence]:
    """How often each state follows `state`; a row is called where it reveals something."""
    prior = rows_of(state)
    tokens = prior.batch.tokens.clone()
    certain = torch.zeros_like(tokens, dtype=torch.float64)
    for place, chance in certainty.items():
        certain[:, place] = chance
    called = sampler.step(tokens, certain, prior, move, 5, SampleSettings(steps=8, seed=3))
    new = (prior.batch.tokens == HIDDEN) & (tokens != HIDDEN)
    assert torch.equal(called, new.any(-1))
    found, counts = tokens.unique(dim=0, return_counts=True)
    return Counter({tuple(s): n for s, n in zip(found.tolist(), counts.tolist(), strict=True)})


@SCHEDULE
@pytest.mark.parametrize("state", [(HIDDEN,) * 3, (0, HIDDEN, 2)], ids=str)
def test_one_step_is_the_posterior_of_the_paper(remasking: RemdmSettings, state: Sequence) -> None:
    law = random_law(TOKENS, 3, seed=1)
    move = remasking.transitions(8)[5]
    assert move.sigma > 0.2
    found = run_step(sampler_of(law, remasking), state, move, {})
    expected = one_step(law, state, move)
    assert chi_square_p_value(found, expected) > PLAUSIBLE
    # The test could see it if nothing were masked again.
    assert variation(expected, one_step(law, state, replace(move, sigma=0.0))) > 0.1


def test_one_step_with_confidence_shares_sigma_by_uncertainty() -> None:
    law = random_law(TOKENS, 3, seed=1)
    certainty, state = {0: 0.9, 2: 0.1}, (0, HIDDEN, 2)
    move = CONFIDENCE.transitions(8)[5]
    found = run_step(sampler_of(law, CONFIDENCE), state, move, certainty)
    assert chi_square_p_value(found, one_step(law, state, move, certainty)) > PLAUSIBLE
    even = one_step(law, state, move, {0: 0.5, 2: 0.5})
    assert chi_square_p_value(found, even) < IMPLAUSIBLE


def test_certainty_is_the_probability_the_token_was_drawn_with() -> None:
    law = random_law(TOKENS, 2, seed=1)
    sampler = sampler_of(law, CONFIDENCE)
    prior = rows_of((HIDDEN, 1))
    tokens, certainty = prior.batch.tokens.clone(), torch.zeros(NUM_SAMPLES, 2).double()
    draw = DrawSettings(temperature=0.5)
    sampler.step(
        tokens, certainty, prior, Transition(0.0, 1.0, 0.0), 0, SampleSettings(1, draw=draw)
    )
    squared = torch.tensor(conditional(law, {1: 1}, 0, TOKENS)).double() ** 2
    assert torch.allclose(certainty[:, 0], (squared / squared.sum())[tokens[:, 0]])
    assert not certainty[:, 1].any()


@SCHEDULE
def test_the_share_of_masks_after_each_step_is_one_minus_alpha(remasking: RemdmSettings) -> None:
    law = random_law(TOKENS, 2, seed=4)
    moves = remasking.transitions(6, exponent=1.5)
    prior = rows_of((HIDDEN, HIDDEN))
    tokens, certainty = prior.batch.tokens.clone(), torch.zeros(NUM_SAMPLES, 2).double()
    sampler, settings = sampler_of(law, remasking), SampleSettings(6, seed=1)
    assert moves[0].alpha_t == 0 and moves[-1].alpha_s == 1 and moves[-1].sigma == 0
    for step, (move, states) in enumerate(zip(moves, chain(law, moves), strict=True)):
        sampler.step(tokens, certainty, prior, move, step, settings)
        exact = sum(chance * state.count(HIDDEN) / 2 for state, chance in states.items())
        assert exact == pytest.approx(1 - move.alpha_s, abs=1e-9)
        error = math.sqrt(exact * (1 - exact) / (2 * NUM_SAMPLES))
        assert float((tokens == HIDDEN).double().mean()) == pytest.approx(
            exact, abs=5 * error + 1e-9
        )


@SCHEDULE
def test_few_steps_have_their_own_enumerated_law(remasking: RemdmSettings) -> None:
    law = random_law(TOKENS, 2, seed=6)
    expected = chain(law, remasking.transitions(4))[-1]
    assert sum(expected.values()) == pytest.approx(1)
    sampler = sampler_of(law, remasking)
    found = draw_sequences(
        sampler, sampler.predictor, SampleSettings(steps=4, seed=2), [HIDDEN] * 2, NUM_SAMPLES
    )
    assert chi_square_p_value(found, expected) > PLAUSIBLE
    assert chi_square_p_value(found, law) < IMPLAUSIBLE


@SCHEDULE
def test_one_position_has_the_law_in_few_steps(remasking: RemdmSettings) -> None:
    law = random_law(5, 1, seed=2)
    predictor = Predictor(ExactDenoiser([law], 5), toy_vocabulary(5))
    for weighting in ("uniform", "confidence"):
        sampler = RemaskingSampler(predictor, replace(remasking, weighting=weighting))
        settings = SampleSettings(steps=4, seed=5)
        found = draw_sequences(sampler, predictor, settings, [5], NUM_SAMPLES)
        assert chi_square_p_value(found, law) > PLAUSIBLE


@pytest.mark.parametrize("remasking", OF_THE_PAPER.values(), ids=OF_THE_PAPER)
def test_many_steps_and_a_small_eta_reach_the_law(remasking: RemdmSettings) -> None:
    # Half uniform: the 60 steps' own bias is far below what so many samples can tell.
    law = {each: (chance + 1 / 9) / 2 for each, chance in random_law(TOKENS, 2, seed=6).items()}
    few, more, many = (
        variation(chain(law, replace(remasking, eta=2.0 / steps).transitions(steps))[-1], law)
        for steps in (25, 50, 100)
    )
    assert few > 1.5 * more > 2.25 * many, "the distance falls about as one over the steps"
    sampler = sampler_of(law, replace(remasking, eta=0.02))
    for steps, reached in ((60, True), (2, False)):
        settings = SampleSettings(steps=steps, seed=4)
        found = draw_sequences(sampler, sampler.predictor, settings, [HIDDEN] * 2, NUM_SAMPLES)
        p_value = chi_square_p_value(found, law)
        assert p_value > PLAUSIBLE if reached else p_value < IMPLAUSIBLE


def test_confidence_misses_the_law_and_still_fills_everything() -> None:
    law = random_law(TOKENS, 2, seed=6)
    sampler, settings = sampler_of(law, CONFIDENCE), SampleSettings(steps=8, seed=4)
    found = draw_sequences(sampler, sampler.predictor, settings, [HIDDEN] * 2, NUM_SAMPLES)
    assert all(HIDDEN not in sequence for sequence in found)
    assert chi_square_p_value(found, law) < IMPLAUSIBLE


def test_eta_zero_moves_as_ancestral_sampling_does() -> None:
    moves = RemdmSettings("cap", eta=0.0).transitions(4, exponent=2.0)
    assert [move.alpha_s for move in moves] == pytest.approx([1 / 16, 4 / 16, 9 / 16, 1])
    assert not any(move.sigma for move in moves)


def test_schedules_by_hand() -> None:
    def sigmas(schedule: str, eta: float) -> list[float]:
        return [move.sigma for move in RemdmSettings(schedule, eta=eta).transitions(4)]

    # alpha_t 0, 1/4, 1/2, 3/4: at most 1, 1, 1/2, 0.
    assert sigmas("cap", 0.7) == pytest.approx([0.7, 0.7, 0.5, 0])
    assert sigmas("rescale", 0.7) == pytest.approx([0.7, 0.7, 0.35, 0])
    loop = RemdmSettings("loop", eta=0.2).transitions(20)  # times 1, 0.95, ..., 0.05
    assert [k for k, move in enumerate(loop) if move.sigma] == list(range(9, 19))
    assert [move.sigma for move in loop[9:18]] == pytest.approx([0.1 / 0.9] * 9)  # the cap binds
    assert loop[4].alpha_s == pytest.approx(0.5) and loop[8].alpha_s == pytest.approx(0.9)
    assert loop[18].alpha_s == pytest.approx(0.9) and loop[19].alpha_s == 1


@pytest.mark.parametrize("state", [(HIDDEN,) * 2, (0, HIDDEN), (1, 2)], ids=str)
def test_renoised_a_step_masks_the_predicted_sequence_afresh(state: Sequence) -> None:
    law, move = random_law(TOKENS, 2, seed=1), RemdmSettings("renoise").transitions(8)[5]
    known = {place: token for place, token in enumerate(state) if token != HIDDEN}
    choices = []
    for place, token in enumerate(state):
        drawn = [float(token == x) for x in range(TOKENS)]
        if token == HIDDEN:
            drawn = list(conditional(law, known, place, TOKENS))
        # Of the clean sequence each token is kept with alpha_s, wherever it came from.
        kept = {x: move.alpha_s * chance for x, chance in enumerate(drawn) if chance}
        choices.append({**kept, HIDDEN: 1 - move.alpha_s})
    afresh = {
        after: math.prod(each[token] for each, token in zip(choices, after, strict=True))
        for after in itertools.product(*choices)
    }
    assert one_step(law, state, move) == pytest.approx(afresh)
    capped = replace(move, sigma=RemdmSettings("rescale", eta=1.0).transitions(8)[5].sigma)
    if known:
        assert variation(one_step(law, state, capped), afresh) > 0.1, "no other schedule is that"


def test_renoised_many_steps_come_near_the_law() -> None:
    law = {each: (chance + 1 / 9) / 2 for each, chance in random_law(TOKENS, 2, seed=6).items()}
    far = [
        variation(chain(law, RemdmSettings("renoise").transitions(steps))[-1], law)
        for steps in (1, 20, 200)
    ]
    assert far[0] > 4 * far[1] > 12 * far[2], "about as one over the root of the steps"


ROWS = [
    FRAMED.frame([MASK] * 9),
    FRAMED.frame([MASK, 3, MASK, MASK, 5]),
    FRAMED.frame([4, 5, 3]),
    FRAMED.frame([MASK] * 14),
]
RECORDS = [7, 2**41 + 1, 3, 0]
KINDS = [*SCHEDULES.values(), replace(CONFIDENCE, eta=0.9)]


@pytest.mark.parametrize("remasking", KINDS, ids=[*SCHEDULES, "confidence"])
def test_rows_keep_their_template_and_depend_on_nothing_beside_them(
    remasking: RemdmSettings,
) -> None:
    predictor = Predictor(tiny_denoiser(seed=3, dtype=torch.float64), FRAMED)
    sampler, settings = RemaskingSampler(predictor, remasking), SampleSettings(steps=12, seed=5)
    together = sampler.sample(build_prior(ROWS, RECORDS, FRAMED, "cpu"), settings)
    for number, (row, record) in enumerate(zip(ROWS, RECORDS, strict=True)):
        found = together.tokens[number, : len(row)].tolist()
        assert MASK not in found
        assert [found[i] for i, token in enumerate(row) if token != MASK] == [
            token for token in row if token != MASK
        ]
        assert together.tokens[number, len(row) :].eq(FRAMED.pad_id).all()
        longer = build_prior([row, FRAMED.frame([MASK] * 40)], [record, 99], FRAMED, "cpu")
        for prior in (build_prior([row], [record], FRAMED, "cpu"), longer):
            alone = sampler.sample(prior, settings)
            assert alone.tokens[0, : len(row)].tolist() == found
            assert alone.denoiser_calls[0] == together.denoiser_calls[number]
    assert not together.discriminator_calls.any()


def test_the_network_is_told_the_share_before_the_step() -> None:
    predictor = Told(tiny_denoiser(seed=3), FRAMED)
    sampler = RemaskingSampler(predictor, RemdmSettings(eta=0.0))
    prior = build_prior([FRAMED.frame([MASK] * 30)] * 4, range(4), FRAMED, "cpu")
    sampler.sample(prior, SampleSettings(steps=4, reveal_exponent=2.0))
    assert predictor.alphas == pytest.approx([0, 1 / 16, 4 / 16, 9 / 16])


def test_calls_are_those_made_and_more_than_positions_where_tokens_are_drawn_again() -> None:
    made = []
    predictor = Predictor(tiny_denoiser(seed=3), FRAMED)
    sampler = RemaskingSampler(replace(predictor, on_call=made.append), SCHEDULES["cap"])
    settings = SampleSettings(steps=40, seed=5)
    calls = sampler.sample(build_prior(ROWS, RECORDS, FRAMED, "cpu"), settings).denoiser_calls
    assert int(calls.sum()) == sum(made)
    free = [row.count(MASK) for row in ROWS]
    assert calls[2] == 0 == sampler.num_steps(0, settings)
    assert all(int(n) <= sampler.num_steps(m, settings) for n, m in zip(calls, free, strict=True))
    assert calls[0] > free[0]
    assert (calls[1] < 40).item(), "a step that reveals nothing makes no call"
    plain = ancestral(predictor).sample(build_prior(ROWS, RECORDS, FRAMED, "cpu"), settings)
    assert (calls >= plain.denoiser_calls).all()
