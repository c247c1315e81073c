"""Saber's rules against a plain reading of them: enumerated for a step, by row for whole runs."""

import itertools
import math
from collections import Counter
from dataclasses import dataclass

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
from torch import Tensor

from didi_core.data.batches import TokenBatch
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, SampleSettings
from didi_core.sampling.saber import SaberSampler, SaberSettings, Standing, highest

NUM_SAMPLES = 50_000
TOKENS = 2
HIDDEN = TOKENS
"""Id of the mask."""


class SeeingDenoiser(ExactDenoiser):
    """Says at a revealed position too what the others make of it, as a trained network may."""

    def _table(self, law: Law) -> Tensor:
        table = super()._table(law)
        length = len(next(iter(law)))
        for state in itertools.product(range(self.base), repeat=length):
            known = {i: token for i, token in enumerate(state) if token < self.num_tokens}
            number = sum(token * self.base**i for i, token in enumerate(state))
            for place in known:
                others = {i: token for i, token in known.items() if i != place}
                chances = conditional(law, others, place, self.num_tokens)
                table[number, place, : self.num_tokens] = torch.tensor(chances).double().log()
        return table


@dataclass
class Row:
    """One row and what is remembered of it, as plain lists."""

    state: list[int]
    first: dict[int, float]
    last: dict[int, float]


def by_the_rules(
    row: Row,
    guess: dict[int, int],
    confidence: dict[int, float],
    saber: SaberSettings,
    left: int,
    mask: int,
) -> int:
    """One step of the docstring's rules, in place; how many tokens were taken back.

    Args:
        guess: the token drawn at each masked position.
        confidence: of each position to fill.
        left: steps that remain, this one included.
    """
    masked, standing = list(guess), list(row.first)
    bar = sum(row.first.values()) / len(standing) if standing else 1.0
    ordered = sorted(masked, key=lambda place: -confidence[place])
    floor = max(saber.min_reveal, math.ceil(len(masked) / left))
    number = max(floor, sum(confidence[place] > bar for place in masked))
    revealed = ordered[:number]
    quota = min(max(1, len(revealed) // saber.mu), len(revealed) - 1) if saber.mu else 0
    fallen = [place for place in standing if confidence[place] < row.last[place]]
    fallen.sort(key=lambda place: confidence[place] - row.last[place])
    doubted = fallen[:quota] if len(revealed) < len(masked) else []
    for place in revealed:
        row.state[place], row.first[place] = guess[place], confidence[place]
    for place in doubted:
        row.state[place] = mask
        del row.first[place]
    row.last = {place: confidence[place] for place in row.first}
    return len(doubted)


def enumerated_step(law: Law, row: Row, saber: SaberSettings, left: int) -> Law:
    """The law of the state after a step, over every way of drawing the masked tokens."""
    known = {i: token for i, token in enumerate(row.state) if token != HIDDEN}
    masked = [i for i in range(len(row.state)) if i not in known]
    chances = {i: conditional(law, known, i, TOKENS) for i in masked}
    seen = {
        i: conditional(law, {j: x for j, x in known.items() if j != i}, i, TOKENS)[token]
        for i, token in known.items()
    }
    result: Law = {}
    for drawn in itertools.product(range(TOKENS), repeat=len(masked)):
        guess = dict(zip(masked, drawn, strict=True))
        confidence = seen | {i: chances[i][token] for i, token in guess.items()}
        copy = Row(list(row.state), dict(row.first), dict(row.last))
        by_the_rules(copy, guess, confidence, saber, left, HIDDEN)
        chance = math.prod(chances[i][token] for i, token in guess.items())
        result[tuple(copy.state)] = result.get(tuple(copy.state), 0.0) + chance
    return result


def seeing(law: Law) -> Predictor:
    return Predictor(SeeingDenoiser([law], TOKENS), toy_vocabulary(TOKENS))


def run_step(sampler: SaberSampler, row: Row, step: int, steps: int) -> Counter[Sequence]:
    tokens = torch.tensor(row.state).repeat(NUM_SAMPLES, 1)
    lengths = torch.full((NUM_SAMPLES,), len(row.state))
    free = torch.ones_like(tokens, dtype=torch.bool)
    memory = Standing(*(torch.zeros_like(tokens, dtype=torch.float64) for _ in range(2)))
    for place in row.first:
        memory.first[:, place] = row.first[place]
        memory.last[:, place] = row.last[place]
    prior = Prior(TokenBatch(tokens, lengths, free), torch.arange(NUM_SAMPLES))
    after, _ = sampler.step(prior, memory, step, SampleSettings(steps, seed=4))
    found, counts = after.unique(dim=0, return_counts=True)
    return Counter({tuple(s): n for s, n in zip(found.tolist(), counts.tolist(), strict=True)})


H = HIDDEN
CASES = {
    "the floor of the first step": (Row([H] * 4, {}, {}), 0, 2, SaberSettings(1)),
    "as many as min_reveal": (Row([H] * 4, {}, {}), 0, 9, SaberSettings(3)),
    "all above the bar": (Row([H, H, 1, H], {2: 0.5}, {2: 0.1}), 1, 9, SaberSettings(1)),
    "one taken back": (
        Row([H, 0, 1, H, H], {1: 0.9, 2: 0.8}, {1: 0.95, 2: 0.9}), 1, 9, SaberSettings(2)
    ),
    "two taken back": (
        Row([H, 0, 1, H, H, H], {1: 0.9, 2: 0.9}, {1: 0.95, 2: 0.9}), 1, 9, SaberSettings(3, mu=1)
    ),
    "none that did not fall": (
        Row([H, 0, 1, H, H], {1: 0.9, 2: 0.8}, {1: 0.0, 2: 0.0}), 1, 9, SaberSettings(2)
    ),
    "none where mu is 0": (Row([H, 0, H, H], {1: 0.9}, {1: 0.95}), 1, 9, SaberSettings(2, mu=0)),
    "none in the last step": (Row([H, 0, H, H], {1: 0.9}, {1: 0.95}), 8, 9, SaberSettings(1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_step_follows_the_rules(name: str) -> None:
    row, step, steps, saber = CASES[name]
    law = half_uniform(random_law(TOKENS, len(row.state), seed=5))
    expected = enumerated_step(law, row, saber, steps - step)
    found = run_step(SaberSampler(seeing(law), saber), row, step, steps)
    assert chi_square_p_value(found, expected) > 1e-3
    taken = [sum(row.state[i] != H == state[i] for i in range(len(state))) for state in found]
    assert max(taken) == ("one taken" in name) + 2 * ("two taken" in name)


def half_uniform(law: Law) -> Law:
    return {each: (chance + 1 / len(law)) / 2 for each, chance in law.items()}


def run_by_the_rules(
    predictor: Predictor, ids: list[int], record: int, steps: int, saber: SaberSettings
) -> tuple[list[int], int, int]:
    """A whole row, its calls, and how many tokens were taken back."""
    free = [i for i, token in enumerate(ids) if token == MASK]
    row, calls, taken = Row(list(ids), {}, {}), 0, 0
    for step in range(steps):
        if MASK not in row.state:
            break
        calls += 1
        at = torch.tensor([[i in free for i in range(len(ids))]])
        answer = predictor.log_probs(torch.tensor([row.state]), torch.tensor([len(ids)]), at)
        chances = dict(zip(free, answer.exp().tolist(), strict=True))
        guess, confidence = {}, {}
        for place in free:
            token = row.state[place]
            if token == MASK:
                uniform = float(keyed_uniform(5, Stream.TOKEN, record, place, step))
                rank = next(
                    k for k in range(3) if sum(chances[place][: k + 1]) >= uniform or k == 2
                )
                token = guess[place] = predictor.vocabulary.generable_ids[rank]
            confidence[place] = chances[place][token - 3]
        taken += by_the_rules(row, guess, confidence, saber, steps - step, MASK)
    return row.state, calls, taken


ROWS = [
    FRAMED.frame([MASK] * 9),
    FRAMED.frame([MASK, 3, MASK, MASK, 5, MASK, MASK]),
    FRAMED.frame([4, 5, 3]),
    FRAMED.frame([MASK] * 30),
    FRAMED.frame([4, 4, 4, MASK]),
]
RECORDS = [7, 2**41 + 1, 3, 0, 12]


@pytest.mark.parametrize("saber", [SaberSettings(), SaberSettings(3, mu=1)], ids=["usual", "rash"])
@pytest.mark.parametrize("steps", [1, 4, 60])
def test_every_row_is_that_of_the_rules_alone_or_in_a_batch_with_padding(
    saber: SaberSettings, steps: int
) -> None:
    predictor = Predictor(tiny_denoiser(seed=4, dtype=torch.float64), FRAMED)
    sampler, settings = SaberSampler(predictor, saber), SampleSettings(steps, seed=5)
    together = sampler.sample(build_prior(ROWS, RECORDS, FRAMED, "cpu"), settings)
    taken_back = 0
    for number, (row, record) in enumerate(zip(ROWS, RECORDS, strict=True)):
        expected, calls, taken = run_by_the_rules(predictor, row, record, steps, saber)
        taken_back += taken
        assert together.tokens[number, : len(row)].tolist() == expected
        assert int(together.denoiser_calls[number]) == calls
        assert calls <= sampler.num_steps(row.count(MASK), settings)
        longer = build_prior([row, FRAMED.frame([MASK] * 40)], [record, 99], FRAMED, "cpu")
        for prior in (build_prior([row], [record], FRAMED, "cpu"), longer):
            alone = sampler.sample(prior, settings)
            assert alone.tokens[0, : len(row)].tolist() == expected
            assert int(alone.denoiser_calls[0]) == calls
        kept = [i for i, token in enumerate(row) if token != MASK]
        assert MASK not in expected and [expected[i] for i in kept] == [row[i] for i in kept]
        assert together.tokens[number, len(row) :].eq(FRAMED.pad_id).all()
    assert bool(taken_back) == (steps > 1), "the rows must exercise the taking back"
    assert not together.discriminator_calls.any()


def test_a_sure_network_is_asked_less_often() -> None:
    """Four equal tokens: the first is any of two, and then there is no doubt."""
    law = dict.fromkeys(itertools.product(range(2), repeat=4), 1e-9)
    law |= {(token,) * 4: 0.5 - 7e-9 for token in (0, 1)}
    sampler = SaberSampler(seeing(law), SaberSettings(min_reveal=1))
    prior = build_prior([[HIDDEN] * 4] * 50, range(50), toy_vocabulary(2), "cpu")
    made = sampler.sample(prior, SampleSettings(steps=4))
    assert made.denoiser_calls.tolist() == [2] * 50
    assert all(len(set(row[:4])) == 1 for row in made.tokens.tolist())
    assert len({row[0] for row in made.tokens.tolist()}) == 2


def test_the_network_is_told_the_share_that_stands() -> None:
    predictor = Told(tiny_denoiser(seed=4), FRAMED)
    sampler = SaberSampler(predictor, SaberSettings(min_reveal=4, mu=0))
    rows = [FRAMED.frame([MASK] * 5), FRAMED.frame([4, MASK])]
    sampler.sample(build_prior(rows, range(2), FRAMED, "cpu"), SampleSettings(steps=2))
    told = [alpha.tolist() for alpha in predictor.alphas]
    assert told == [[0.0, 0.0], [pytest.approx(0.8)]]


def test_it_misses_the_law_and_prefers_the_likely() -> None:
    law = random_law(TOKENS, 4, seed=3)
    sampler, settings = SaberSampler(seeing(law), SaberSettings(1)), SampleSettings(30, seed=1)
    found = draw_sequences(sampler, sampler.predictor, settings, [HIDDEN] * 4, NUM_SAMPLES)
    assert chi_square_p_value(found, law) < 1e-12
    mean = sum(math.log(law[each]) * n for each, n in found.items()) / NUM_SAMPLES
    assert mean > sum(chance * math.log(chance) for chance in law.values())


def test_the_highest_by_hand() -> None:
    values = torch.tensor([[0.1, 0.7, 0.7, 0.3], [0.5, 0.5, 0.5, 0.5], [0.0, 1.0, 2.0, 3.0]])
    assert highest(values, torch.tensor([2, 3, 0])).tolist() == [
        [False, True, True, False],
        [True, True, True, False],  # of equal ones the first
        [False] * 4,
    ]
