"""DPLM's own sampler: against its enumerated steps, by a plain reading of its rules, and by row."""

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
from tiny_models import FRAMED, MASK, tiny_denoiser

from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.sampling.dplm import DplmSampler, DplmSettings, below_cutoff, noised
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import DrawSettings, SampleSettings

NUM_SAMPLES = 20_000
NO_REDRAW = DplmSettings(max_share=1.0)


def predictor_of(law: Law, num_tokens: int) -> Predictor:
    return Predictor(ExactDenoiser([law], num_tokens), toy_vocabulary(num_tokens))


def test_one_step_draws_every_position_from_the_fully_masked_state() -> None:
    law = random_law(3, 2, seed=1)
    first, second = (conditional(law, {}, position, 3) for position in (0, 1))
    expected = {(a, b): first[a] * second[b] for a, b in law}
    sampler = DplmSampler(predictor_of(law, 3), NO_REDRAW)
    settings = SampleSettings(steps=1, seed=3)
    found = draw_sequences(sampler, sampler.predictor, settings, [3, 3], NUM_SAMPLES)
    assert chi_square_p_value(found, expected) > 1e-3


def _nucleus(chances: list[float], top_p: float) -> list[float]:
    kept, mass = [0.0] * len(chances), 0.0
    for token in sorted(range(len(chances)), key=lambda i: -chances[i]):
        kept[token] = chances[token] if mass < top_p else 0.0
        mass += chances[token]
    return [each / sum(kept) for each in kept]


def test_repeats_are_redrawn_once_given_the_rest() -> None:
    law, top_p = random_law(3, 3, seed=4), 0.8
    marginal = [conditional(law, {}, position, 3) for position in range(3)]
    expected = dict.fromkeys(law, 0.0)
    for guess in law:
        chance = math.prod(marginal[i][token] for i, token in enumerate(guess))
        repeated = [i for i in range(3) if guess.count(guess[i]) > 0.5 * 3]
        known = {i: guess[i] for i in range(3) if i not in repeated}
        redrawn = [_nucleus(conditional(law, known, i, 3), top_p) for i in repeated]
        for tokens in itertools.product(range(3), repeat=len(repeated)):
            result = list(guess)
            for position, token in zip(repeated, tokens, strict=True):
                result[position] = token
            drawn = (chances[token] for chances, token in zip(redrawn, tokens, strict=True))
            expected[tuple(result)] += chance * math.prod(drawn)
    sampler = DplmSampler(predictor_of(law, 3), DplmSettings(max_share=0.5, redraw_top_p=top_p))
    settings = SampleSettings(steps=1, seed=9)
    found = draw_sequences(sampler, sampler.predictor, settings, [3, 3, 3], NUM_SAMPLES)
    expected = {sequence: chance for sequence, chance in expected.items() if chance > 0}
    assert chi_square_p_value(found, expected) > 1e-3


def _two_step_law(law: Law) -> Law:
    """Two positions, two tokens, two steps: the more confident position is filled first.

    The noised log-odds of the first token are logistic about its log-odds, and the score grows
    with their size; the chance that one position's is the larger is an integral, here a sum.
    """
    size = torch.arange(0.0005, 40, 0.001, dtype=torch.float64)
    density = []
    for position in (0, 1):
        chance = conditional(law, {}, position, 2)
        centre = math.log(chance[0] / chance[1])
        # Token 0 is drawn where the log-odds are +size, token 1 where they are -size.
        logistic = [torch.sigmoid(x - centre) * torch.sigmoid(centre - x) for x in (size, -size)]
        density.append(logistic)
    smaller = [sum(each).cumsum(0) * 0.001 for each in density]
    result = {}
    for a, b in law:
        first = float((density[0][a] * smaller[1]).sum() * 0.001)
        second = float((density[1][b] * smaller[0]).sum() * 0.001)
        result[a, b] = first * conditional(law, {0: a}, 1, 2)[b]
        result[a, b] += second * conditional(law, {1: b}, 0, 2)[a]
    assert abs(sum(result.values()) - 1) < 2e-3
    return {sequence: chance / sum(result.values()) for sequence, chance in result.items()}


def test_two_steps_fill_the_more_confident_position_first_and_miss_the_law() -> None:
    law = random_law(2, 2, seed=6)
    expected = _two_step_law(law)
    sampler = DplmSampler(predictor_of(law, 2), NO_REDRAW)
    settings = SampleSettings(steps=2, seed=2)
    found = draw_sequences(sampler, sampler.predictor, settings, [2, 2], NUM_SAMPLES)
    assert chi_square_p_value(found, expected) > 1e-3
    # It seeks modes: with an exact denoiser it does not reach the denoiser's law.
    many = SampleSettings(steps=20, seed=2)
    found = draw_sequences(sampler, sampler.predictor, many, [2, 2], NUM_SAMPLES)
    assert chi_square_p_value(found, law) < 1e-6


def test_the_cut_by_hand() -> None:
    inf = math.inf
    score = torch.tensor([[-3.0, inf, -1.0, -2.0], [-1.0, -1.0, -1.0, -2.0], [0.0, inf, -1.0, inf]])
    lowest = below_cutoff(score, torch.tensor([2, 2, 0]))
    assert lowest.tolist() == [
        [True, False, False, True],
        [False, False, False, True],  # a tie at the cut masks none of the tied
        [False] * 4,
    ]


def test_the_score_by_hand() -> None:
    log_probs = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log()
    uniform = torch.tensor([[0.2, 0.9, 0.4]], dtype=torch.float64)
    weights = [p / -math.log(u) for p, u in zip((0.5, 0.3, 0.2), (0.2, 0.9, 0.4), strict=True)]
    expected = [math.log(weight / sum(weights)) for weight in weights]
    for precision, tolerance in (("float64", 1e-12), ("float32", 1e-6)):
        found = noised(log_probs, uniform, DrawSettings(precision=precision))
        assert found[0].tolist() == pytest.approx(expected, rel=tolerance)
        assert str(found.dtype) == f"torch.{precision}"


def _row_by_the_rules(
    predictor: Predictor, ids: list[int], record: int, steps: int, seed: int
) -> tuple[list[int], int]:
    """One row by a plain reading of METHODS 5, position by position."""
    free = [i for i, token in enumerate(ids) if token == MASK]
    state, calls = list(ids), 0

    def guess(row: list[int], where: list[int], step: int, stream: Stream, top_p: float):
        at = torch.tensor([[i in where for i in range(len(row))]])
        log_probs = predictor.log_probs(torch.tensor([row]), torch.tensor([len(row)]), at)
        found = {}
        for position, chances in zip(where, log_probs.double().exp().tolist(), strict=True):
            weights = []
            for token, chance in enumerate(_nucleus(chances, top_p)):
                uniform = float(keyed_uniform(seed, stream, record, position, step, token))
                weights.append(chance / -math.log(uniform))
            best = max(range(len(weights)), key=weights.__getitem__)
            token = predictor.vocabulary.generable_ids[best]
            found[position] = (token, math.log(weights[best] / sum(weights)))
        return found

    for step in range(steps):
        found = guess(state, free, step, Stream.TOKEN, 1.0)
        calls += 1
        predicted = [found[i][0] for i in free]
        repeats = [i for i in free if predicted.count(found[i][0]) > 0.25 * len(free)]
        if repeats:
            row = [found[i][0] if i in free else token for i, token in enumerate(ids)]
            row = [MASK if i in repeats else token for i, token in enumerate(row)]
            found |= guess(row, repeats, step, Stream.REDRAW, 0.95)
            calls += 1
        keep_masked = len(free) * (steps - step - 1) // steps
        lowest = sorted(free, key=lambda i: found[i][1])[:keep_masked]
        state = [found[i][0] if i in free and t == MASK else t for i, t in enumerate(state)]
        state = [MASK if i in lowest else token for i, token in enumerate(state)]
    return state, calls


ROWS = [
    FRAMED.frame([MASK] * 9),
    FRAMED.frame([MASK, 3, MASK, MASK, 5, MASK, MASK]),
    FRAMED.frame([4, 5, 3]),
    FRAMED.frame([MASK] * 14),
    FRAMED.frame([4, 4, 4, MASK]),
]


def test_every_row_is_that_of_the_rules_alone_or_in_a_batch_with_padding() -> None:
    predictor = Predictor(tiny_denoiser(seed=3, dtype=torch.float64), FRAMED)
    sampler, settings = DplmSampler(predictor), SampleSettings(steps=6, seed=5)
    records = [7, 2**41 + 1, 3, 0, 12]
    together = sampler.sample(build_prior(ROWS, records, FRAMED, "cpu"), settings)
    redrawn = 0
    for number, (row, record) in enumerate(zip(ROWS, records, strict=True)):
        expected, calls = row, 0
        if MASK in row:
            expected, calls = _row_by_the_rules(predictor, row, record, 6, seed=5)
        redrawn += calls > 6
        assert together.tokens[number, : len(row)].tolist() == expected
        assert int(together.denoiser_calls[number]) == calls
        alone = sampler.sample(build_prior([row], [record], FRAMED, "cpu"), settings)
        assert torch.equal(alone.tokens[0, : len(row)], together.tokens[number, : len(row)])
        kept = [i for i, token in enumerate(row) if token != MASK]
        assert [together.tokens[number, i] for i in kept] == [row[i] for i in kept]
        assert together.tokens[number, len(row) :].eq(FRAMED.pad_id).all()
    assert redrawn, "the rows must exercise the redraw"
    assert not together.discriminator_calls.any()
