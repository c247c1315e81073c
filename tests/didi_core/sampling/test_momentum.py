"""Momentum: its law enumerated, ancestral at weight 0 and in one step, and what is kept of rows."""

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
from torch import Tensor

from didi_core.errors import UserError
from didi_core.models.attention_watch import AttentionWatch
from didi_core.models.positions import Places
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.apart import ApartSampler, choose
from didi_core.sampling.filling import build_prior
from didi_core.sampling.momentum import (
    ENTRY,
    MomentumSampler,
    MomentumSettings,
    Past,
    next_revealed,
)
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import SampleSettings
from didi_core.sampling.reveal import NEVER

LENGTH, TOKENS = 3, 2


class Attending(ExactDenoiser):
    """Attends to the second position from the first alone; asks where at the end, as ours do."""

    attention_watch: AttentionWatch | None = None

    def logits_at(self, tokens: Tensor, lengths: Tensor, at: Places) -> Tensor:
        if self.attention_watch is not None:
            attention = torch.zeros(len(tokens), LENGTH, LENGTH)
            attention[:, 0, 1] = 1.0
            self.attention_watch.total, self.attention_watch.count = attention, 1
        return super().logits_at(tokens, lengths, at if isinstance(at, Tensor) else at())


def momentum_law(law: Law, num_steps: int, weight: float) -> Law:
    """The law with an exact denoiser, enumerated over which step reveals which position."""
    result = dict.fromkeys(law, 0.0)
    assignments = list(itertools.product(range(num_steps), repeat=LENGTH))
    for sequence, steps in itertools.product(law, assignments):
        chance = 1.0 / len(assignments)
        for position, step in enumerate(steps):
            # The row's own step before: steps that reveal nothing are not made.
            made = [each for each in sorted(set(steps)) if each < step]
            known = {i: sequence[i] for i in range(LENGTH) if steps[i] < step}
            now = conditional(law, known, position, TOKENS)
            if made:
                past = {i: sequence[i] for i in range(LENGTH) if steps[i] < made[-1]}
                before = conditional(law, past, position, TOKENS)
                moved = [a * (a / b) ** weight for a, b in zip(now, before, strict=True)]
                now = [each / sum(moved) for each in moved]
            chance *= now[sequence[position]]
        result[sequence] += chance
    assert math.isclose(sum(result.values()), 1.0)
    return result


@pytest.mark.parametrize("num_steps", [2, 3])
def test_its_law_is_the_enumerated_one(num_steps: int) -> None:
    law = random_law(TOKENS, LENGTH, seed=3)
    vocabulary = toy_vocabulary(TOKENS)
    predictor = Predictor(ExactDenoiser([law], TOKENS), vocabulary)
    sampler = MomentumSampler(predictor, MomentumSettings(weight=1.5))
    row, settings = [vocabulary.mask_id] * LENGTH, SampleSettings(num_steps)
    counts = draw_sequences(sampler, predictor, settings, row, 20_000)
    expected = momentum_law(law, num_steps, 1.5)
    assert chi_square_p_value(counts, expected) > 1e-3
    assert chi_square_p_value(counts, momentum_law(law, num_steps, 0.0)) < 1e-9


def apart_momentum_law(law: Law, attending: tuple[int, int], weight: float) -> Law:
    """The law in two steps of `apart`: over how many the first reveals, and in which order."""
    result = dict.fromkeys(law, 0.0)
    depends = torch.zeros(1, LENGTH, LENGTH, dtype=torch.bool)
    depends[0, attending[0], attending[1]] = depends[0, attending[1], attending[0]] = True
    orders = list(itertools.permutations(range(LENGTH)))
    for sequence, order, count in itertools.product(law, orders, range(LENGTH + 1)):
        chance = math.comb(LENGTH, count) / 2**LENGTH / len(orders)
        uniform = torch.tensor([order]) / LENGTH
        blank = torch.ones(1, LENGTH, dtype=torch.bool)
        first = choose(depends, blank, uniform, torch.tensor([count]))[0]
        known = {i: sequence[i] for i in range(LENGTH) if first[i]}
        for position in range(LENGTH):
            before = conditional(law, {}, position, TOKENS)
            said = before
            if known and not first[position]:
                now = conditional(law, known, position, TOKENS)
                moved = [a * (a / b) ** weight for a, b in zip(now, before, strict=True)]
                said = [each / sum(moved) for each in moved]
            chance *= said[sequence[position]]
        result[sequence] += chance
    assert math.isclose(sum(result.values()), 1.0)
    return result


def test_with_positions_of_apart_its_law_is_the_enumerated_one() -> None:
    law, vocabulary = random_law(TOKENS, LENGTH, seed=3), toy_vocabulary(TOKENS)
    predictor = Predictor(Attending([law], TOKENS), vocabulary)
    options = MomentumSettings(weight=1.5, positions="apart", threshold=0.5)
    row, settings = [vocabulary.mask_id] * LENGTH, SampleSettings(2)
    counts = draw_sequences(MomentumSampler(predictor, options), predictor, settings, row, 20_000)
    assert chi_square_p_value(counts, apart_momentum_law(law, (0, 1), 1.5)) > 1e-3
    assert chi_square_p_value(counts, apart_momentum_law(law, (0, 1), 0.0)) < 1e-9
    assert chi_square_p_value(counts, momentum_law(law, 2, 1.5)) < 1e-6


def test_with_positions_of_apart_rows_do_not_depend_on_their_batch() -> None:
    predictor = Predictor(tiny_denoiser(num_layers=2), FRAMED)
    sampler = MomentumSampler(predictor, MomentumSettings(positions="apart"))
    rows = [FRAMED.frame([MASK] * length) for length in (14, 9, 3, 20)]
    settings = SampleSettings(4, seed=5)
    together = sampler.sample(build_prior(rows, range(4), FRAMED, "cpu"), settings)
    for record, row in enumerate(rows):
        alone = sampler.sample(build_prior([row], [record], FRAMED, "cpu"), settings)
        assert torch.equal(together.tokens[record, : len(row)], alone.tokens[0, : len(row)])
        assert together.denoiser_calls[record] == alone.denoiser_calls[0]


def test_without_weight_it_is_apart_where_positions_are() -> None:
    predictor = Predictor(tiny_denoiser(num_layers=2), FRAMED)
    prior = build_prior([FRAMED.frame([MASK] * 14)] * 8, range(8), FRAMED, "cpu")
    usual = ApartSampler(predictor).sample(prior, SampleSettings(4, seed=5))
    for weight, same in ((0.0, True), (1.0, False)):
        sampler = MomentumSampler(predictor, MomentumSettings(weight, "apart"))
        found = sampler.sample(prior, SampleSettings(4, seed=5))
        assert torch.equal(found.tokens, usual.tokens) == same
        assert torch.equal(found.denoiser_calls, usual.denoiser_calls), "no call more"


def test_without_weight_and_in_one_step_it_is_ancestral() -> None:
    predictor = Predictor(tiny_denoiser(num_layers=2), FRAMED)
    prior = build_prior([FRAMED.frame([MASK] * 14)] * 8, range(8), FRAMED, "cpu")
    for weight, steps, same in ((0.0, 4, True), (1.0, 1, True), (1.0, 4, False)):
        settings = SampleSettings(steps, seed=5)
        sampler = MomentumSampler(predictor, MomentumSettings(weight))
        found, usual = (s.sample(prior, settings) for s in (sampler, ancestral(predictor)))
        assert torch.equal(found.tokens, usual.tokens) == same
        assert torch.equal(found.denoiser_calls, usual.denoiser_calls), "no call more"


def test_what_a_row_reveals_next() -> None:
    plan = torch.tensor([[0, 2, 2, NEVER], [3, 1, 0, 0], [0, 0, NEVER, NEVER]])
    assert next_revealed(plan, 0).long().tolist() == [[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert next_revealed(plan, 1).long().tolist()[1] == [1, 0, 0, 0]


def test_rows_keep_what_was_said_of_them_until_they_are_asked_again() -> None:
    past = Past(torch.zeros(2, 3, dtype=torch.long))
    law = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]).double().log()
    both = torch.tensor([[True, False, True], [False, True, False]])
    past.keep(torch.tensor([0, 1]), both, law)
    # The second row goes on; the first waits, and loses nothing.
    at = torch.tensor([[False, False, False], [True, False, False]])
    past.keep(torch.tensor([1]), at[1:], law[:1])
    now = torch.tensor([[True, False, True], [True, False, True]])
    said = torch.tensor([[0.5, 0.5]]).double().log().expand(4, 2)
    found = past.guided(now, said, weight=1.0).exp()
    # p* is in proportion to 0.25 / past: 3 to 7 of (0.7, 0.3), and so on; the last has no past.
    expected = torch.tensor([[0.3, 0.7], [0.6, 0.4], [0.3, 0.7], [0.5, 0.5]]).double()
    torch.testing.assert_close(found, expected)


def test_positions_and_threshold_are_checked() -> None:
    for options, named in (
        ({"positions": "near"}, "positions=near"),
        ({"threshold": "1.5"}, "positions=apart"),
        ({"positions": "apart", "threshold": "0"}, "threshold"),
    ):
        with pytest.raises(UserError, match=named):
            ENTRY.read(options)


@pytest.mark.parametrize("weight", ["-1", "nan", "inf", "much"])
def test_weights_without_sense_are_refused(weight: str) -> None:
    with pytest.raises(UserError, match="weight"):
        ENTRY.read({"weight": weight})
