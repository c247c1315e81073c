"""Drawing together: the fixed point is the sequential draw, and an exact head gives the law."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

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
from tiny_models import FRAMED, MASK, randomise, tiny_denoiser
from torch import Tensor

from didi_core.models.joint_head import JointHead, JointHeadShape, draw_order
from didi_core.models.joint_head_file import head_for
from didi_core.sampling.ancestral import PlannedSampler, ancestral, first_hitting, greedy_tail
from didi_core.sampling.apart import ApartSampler
from didi_core.sampling.filling import build_prior
from didi_core.sampling.joint_draw import Choose, corrected, draw_together, keyed_choice
from didi_core.sampling.predictor import Prediction, Predictor
from didi_core.sampling.request import DrawSettings, Sampler, SampleSettings

LENGTH, TOKENS = 3, 3


class ExactHead(JointHead):
    """Corrects by what an enumerated law says of tokens drawn before, from the all-masked state.

    Its hidden state is the number of the position, in the only channel.
    """

    def __init__(self, law: Law) -> None:
        super().__init__(JointHeadShape(2, 1, TOKENS))
        self.law = law

    def forward(self, hidden: Tensor, rank: Tensor, position: Tensor) -> Tensor:
        del hidden
        out = torch.zeros(*rank.shape, TOKENS, dtype=torch.float64)
        for row in range(len(rank)):
            known: dict[int, int] = {}
            for place in range(rank.shape[1]):
                where = int(position[row, place])
                told = torch.tensor(conditional(self.law, known, where, TOKENS)).double()
                alone = torch.tensor(conditional(self.law, {}, where, TOKENS)).double()
                out[row, place] = told.log() - alone.log()
                known[where] = int(rank[row, place])
        return out


class WithStates(ExactDenoiser):
    """The exact denoiser, with hidden states that nobody looks at."""

    def states_at(self, tokens: Tensor, lengths: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits_at(tokens, lengths, at)
        return logits.new_zeros(len(logits), 2), logits


def one_call(law: Law, build: Callable[[Predictor], Sampler], head: JointHead | None) -> Counter:
    """Count the sequences that one call draws from an exact denoiser."""
    vocabulary = toy_vocabulary(TOKENS)
    predictor = Predictor(WithStates([law], TOKENS), vocabulary, joint_head=head)
    row = [vocabulary.mask_id] * LENGTH
    return draw_sequences(build(predictor), predictor, SampleSettings(steps=1), row, 3000)


def test_one_call_with_an_exact_head_draws_from_the_law() -> None:
    law = random_law(TOKENS, LENGTH, seed=2)
    assert chi_square_p_value(one_call(law, ancestral, ExactHead(law)), law) > 1e-3
    alone = one_call(law, ancestral, None)
    assert chi_square_p_value(alone, law) < 1e-12, "without the head the law is another"


def test_the_likeliest_tokens_are_those_given_the_ones_before() -> None:
    law = random_law(TOKENS, LENGTH, seed=3)
    assert set(one_call(law, greedy_tail, ExactHead(law))) == greedy_ends(law)
    assert not set(one_call(law, greedy_tail, None)) & greedy_ends(law)


def greedy_ends(law: Law) -> set[tuple[int, ...]]:
    """Return where taking the likeliest token ends, in each order of the positions."""
    found = set()
    for order in torch.cartesian_prod(*[torch.arange(LENGTH)] * LENGTH).tolist():
        if len(set(order)) == LENGTH:
            known: dict[int, int] = {}
            for where in order:
                chances = conditional(law, known, where, TOKENS)
                known[where] = chances.index(max(chances))
            found.add(tuple(known[i] for i in range(LENGTH)))
    return found


@dataclass(frozen=True)
class Call:
    """One call's prediction and positions, with a head whose corrections are large."""

    head: JointHead
    prediction: Prediction
    at: Tensor
    order: Tensor
    choose: Choose


def some_call(seed: int, temperature: float = 1.0) -> Call:
    generator = torch.Generator().manual_seed(seed)
    head = JointHead(JointHeadShape(8, 2, 5))
    randomise(head, seed)
    at = torch.rand(6, 12, generator=generator) < 0.5
    at[0] = False
    count = int(at.sum())
    law = torch.randn(count, 5, generator=generator).log_softmax(-1)
    prediction = Prediction(law, torch.randn(count, 8, generator=generator))
    order = torch.rand(6, 12, generator=generator)
    settings = SampleSettings(1, seed, draw=DrawSettings(temperature, top_p=0.95))
    row, position = at.nonzero(as_tuple=True)
    return Call(head, prediction, at, order, keyed_choice(settings, row, position, 0))


def one_after_the_other(call: Call) -> Tensor:
    """Draw each row's positions in their order, each from the law that the earlier ones give."""
    plan = draw_order(call.at, call.order)
    assert call.prediction.hidden is not None
    rank = torch.zeros(len(call.prediction.log_probs), dtype=torch.long)
    for row in range(len(call.at)):
        for place in range(int(plan.count[row])):
            entries = plan.entry[row : row + 1, : place + 1]
            inputs = (call.prediction.hidden[entries], rank[entries])
            correction = call.head(*inputs, plan.position[row : row + 1, : place + 1])[:, -1]
            entry = entries[0, -1:]
            law = corrected(call.prediction.log_probs[entry], correction)
            rank[entry] = call.choose(law, entry)
    return rank


@pytest.mark.parametrize("seed", range(8))
def test_the_fixed_point_is_the_draw_of_one_after_the_other(seed: int) -> None:
    call = some_call(seed, temperature=0.7 + 0.1 * seed)
    drawn = draw_together(call.head, call.prediction, call.at, call.order, call.choose)
    assert torch.equal(drawn.rank, one_after_the_other(call))
    count = call.at.sum(-1)
    assert (drawn.head_passes <= (count - 1).clamp_min(0)).all()
    assert (drawn.head_passes >= (count > 1).long()).all()
    alone = draw_together(None, call.prediction, call.at, call.order, call.choose)
    assert not alone.head_passes.any() and not torch.equal(alone.rank, drawn.rank)


def test_rows_do_not_depend_on_their_neighbours() -> None:
    call = some_call(3)
    together = draw_together(call.head, call.prediction, call.at, call.order, call.choose)
    row_of = call.at.nonzero()[:, 0]
    for row in range(len(call.at)):
        mine = (row_of == row).nonzero()[:, 0]
        assert call.prediction.hidden is not None
        part = Prediction(call.prediction.log_probs[mine], call.prediction.hidden[mine])
        chosen = slice(row, row + 1)
        alone = draw_together(
            call.head, part, call.at[chosen], call.order[chosen],
            lambda law, entry, mine=mine: call.choose(law, mine[entry]),
        )  # fmt: skip
        assert torch.equal(alone.rank, together.rank[mine])
        assert alone.head_passes[0] == together.head_passes[row]


def samplers(predictor: Predictor) -> dict[str, PlannedSampler | ApartSampler]:
    named = {"ancestral": ancestral, "greedy-tail": greedy_tail, "first-hitting": first_hitting}
    return {name: build(predictor) for name, build in named.items()} | {
        "apart": ApartSampler(predictor)
    }


def test_a_new_head_leaves_every_sampler_as_it_is_and_a_trained_one_does_not() -> None:
    denoiser = tiny_denoiser(num_layers=2)
    new, trained = (head_for(denoiser, FRAMED.num_generable) for _ in range(2))
    new.initialise(0)
    randomise(trained, 0)
    prior = build_prior([FRAMED.frame([MASK] * 14)] * 6, range(6), FRAMED, "cpu")
    plain = samplers(Predictor(denoiser, FRAMED))
    for name, sampler in plain.items():
        settings = SampleSettings(steps=None if name == "first-hitting" else 3, seed=4)
        usual = sampler.sample(prior, settings)
        same = samplers(Predictor(denoiser, FRAMED, joint_head=new))[name].sample(prior, settings)
        other = samplers(Predictor(denoiser, FRAMED, joint_head=trained))[name]
        changed = other.sample(prior, settings)
        assert torch.equal(same.tokens, usual.tokens), name
        assert torch.equal(same.denoiser_calls, usual.denoiser_calls), name
        assert same.head_passes is not None and changed.head_passes is not None
        # One token a call: there is nothing to draw together, and the law is the network's own.
        assert torch.equal(changed.tokens, usual.tokens) == (name == "first-hitting"), name
        assert bool(changed.head_passes.any()) == (name != "first-hitting"), name
        assert changed.denoiser_calls.max() <= other.num_steps(14, settings)


def test_infilling_keeps_what_is_given() -> None:
    denoiser = tiny_denoiser()
    head = head_for(denoiser, FRAMED.num_generable)
    randomise(head, 1)
    row = torch.tensor(FRAMED.frame([3, MASK, 4, MASK, MASK, 5, MASK]))
    prior = build_prior([row.tolist()] * 4, range(4), FRAMED, "cpu")
    for name, sampler in samplers(Predictor(denoiser, FRAMED, joint_head=head)).items():
        steps = None if name == "first-hitting" else 2
        tokens = sampler.sample(prior, SampleSettings(steps)).tokens[:, : len(row)]
        assert (tokens == row)[:, row != MASK].all(), name
        assert not (tokens == MASK).any(), name
