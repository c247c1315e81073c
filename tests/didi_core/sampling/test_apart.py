"""Revealing apart what depends on each other: the choice by hand, the law by enumeration."""

from collections import Counter

import pytest
import torch
from exact_denoiser import (
    ExactDenoiser,
    Law,
    Sequence,
    chi_square_p_value,
    draw_sequences,
    random_law,
    toy_vocabulary,
)
from tiny_models import FRAMED, MASK, timed_esm, tiny_denoiser
from torch import Tensor

from didi_core.data.batches import TokenBatch
from didi_core.errors import UserError
from didi_core.models.attention_watch import AttentionWatch, watched_attention
from didi_core.models.esm import EsmDenoiser
from didi_core.models.positions import Places
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.apart import (
    ApartSampler,
    ApartSettings,
    choose,
    dependence,
    first_independent,
)
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, Sampler, SampleSettings

PAIR = random_law(2, 2, seed=1)
LAW: Law = {(*pair, c): p * (0.3 if c else 0.7) for pair, p in PAIR.items() for c in (0, 1)}
"""The first two tokens depend on each other, the third on nothing."""


class Exact(ExactDenoiser):
    """Asks where it is to predict at the end, as our networks do."""

    def logits_at(self, tokens: Tensor, lengths: Tensor, at: Places) -> Tensor:
        return super().logits_at(tokens, lengths, at if isinstance(at, Tensor) else at())


class Attending(Exact):
    """Attends to the second position from the first alone."""

    attention_watch: AttentionWatch | None = None

    def logits_at(self, tokens: Tensor, lengths: Tensor, at: Places) -> Tensor:
        if self.attention_watch is not None:
            attention = torch.zeros(len(tokens), 3, 3)
            attention[:, 0, 1] = 1.0
            self.attention_watch.total, self.attention_watch.count = attention, 1
        return super().logits_at(tokens, lengths, at)


def exact() -> Predictor:
    return Predictor(Attending([LAW], 2), toy_vocabulary(2))


def marginals(law: Law) -> Law:
    """All positions drawn independently."""
    ones = [sum(p for s, p in law.items() if s[i]) for i in range(3)]
    return {
        s: float(torch.tensor([o if t else 1 - o for o, t in zip(ones, s, strict=True)]).prod())
        for s in law
    }


def counts_of(sampler: Sampler, steps: int) -> Counter[Sequence]:
    settings = SampleSettings(steps=steps)
    return draw_sequences(sampler, exact(), settings, [toy_vocabulary(2).mask_id] * 3, 50_000)


def test_two_steps_part_what_depends_wherever_both_reveal_something() -> None:
    # Each of three positions falls to either step: in 2 cases of 8 all fall to one, else the
    # dependent pair is parted. Ancestral steps part it in half of all cases.
    apart = {s: 0.75 * p + 0.25 * marginals(LAW)[s] for s, p in LAW.items()}
    plain = {s: 0.5 * p + 0.5 * marginals(LAW)[s] for s, p in LAW.items()}
    settings = ApartSettings(threshold=0.5)
    counts = counts_of(ApartSampler(exact(), settings), 2)
    assert chi_square_p_value(counts, apart) > 1e-3
    assert chi_square_p_value(counts, plain) < 1e-6
    assert chi_square_p_value(counts_of(ancestral(exact()), 2), plain) > 1e-3


def test_one_step_reveals_all_of_it() -> None:
    counts = counts_of(ApartSampler(exact()), 1)
    assert chi_square_p_value(counts, marginals(LAW)) > 1e-3


def test_dependence_by_hand() -> None:
    # Three free positions of four; what the last one attends to is no matter.
    attention = torch.tensor([[[0.5, 0.4, 0.0, 9.0], [0.2, 0.5, 0.1, 0.0], [0.0, 0.1, 0.5, 0.0]]])
    attention = torch.cat([attention, torch.full((1, 1, 4), 7.0)], 1)
    free = torch.tensor([[True, True, True, False]])
    found = dependence(attention, free)[0]
    # Mutual attention .6 (0, 1), 0 (0, 2), .2 (1, 2); sums .6, .8, .2 of 1.6 in all.
    excess = torch.tensor([0.6 - 0.48 / 1.6, 0.0 - 0.12 / 1.6, 0.2 - 0.16 / 1.6])
    expected = (excess - excess.mean()) / excess.std(correction=0)
    assert found[0, 1] == found[1, 0] == pytest.approx(float(expected[0]))
    assert found[0, 2] == pytest.approx(float(expected[1]))
    assert found[1, 2] == pytest.approx(float(expected[2]))
    assert torch.isneginf(found.diagonal()).all() and torch.isneginf(found[3]).all()


@pytest.mark.parametrize("seed", range(20))
def test_dependence_is_standardised_over_blanks_alone(seed: int) -> None:
    """What filled positions attend to, however strongly, changes nothing."""
    generator = torch.Generator().manual_seed(seed)
    blank = torch.rand(2, 9, generator=generator) < 0.6
    attention = torch.rand(2, 9, 9, generator=generator)
    between = blank[:, :, None] & blank[:, None, :]
    other = torch.where(between, attention, 50 * torch.rand(2, 9, 9, generator=generator))
    assert torch.equal(dependence(attention, blank), dependence(other, blank))
    for row, places in enumerate(blank):
        found = dependence(attention[row, places][:, places][None], torch.ones(1, places.sum()) > 0)
        kept = dependence(attention, blank)[row, places][:, places]
        torch.testing.assert_close(found[0], kept)


class Staring(ExactDenoiser):
    """Two blanks attend to each other, and filled positions to each other far more."""

    attention_watch: AttentionWatch | None = None

    def logits_at(self, tokens: Tensor, lengths: Tensor, at: Places) -> Tensor:
        del lengths
        attention = torch.full((len(tokens), *[tokens.shape[1]] * 2), 0.01)
        attention[:, 0, 1] = 1.0
        attention[:, 4:8, 4:8] = 100 * torch.rand(4, 4, generator=torch.Generator().manual_seed(1))
        self.attention_watch.total, self.attention_watch.count = attention, 1
        at = at if isinstance(at, Tensor) else at()
        return torch.zeros(int(at.sum()), 4, dtype=torch.float64)


def test_a_step_does_not_look_at_what_filled_positions_attend_to() -> None:
    vocabulary = toy_vocabulary(2)
    mask = vocabulary.mask_id
    rows = [[mask] * 4 + [0, 1, 0, 1]] * 200
    prior = build_prior(rows, range(200), vocabulary, "cpu")
    # As if a step before had drawn the last four: free, and filled.
    batch = prior.batch
    free = TokenBatch(batch.tokens, batch.lengths, batch.tokens != vocabulary.pad_id)
    sampler = ApartSampler(Predictor(Staring([LAW], 2), vocabulary))
    count, uniform = torch.full((200,), 2), torch.rand(batch.tokens.shape)
    part, settings = Prior(free, prior.records), SampleSettings(steps=4)
    found = sampler.step(part, uniform, count, 0, settings).tokens
    filled = found[:, :4] != mask
    assert filled.sum(-1).eq(2).all() and not (filled[:, 0] & filled[:, 1]).any()


def test_logits_are_computed_where_it_draws_alone() -> None:
    network = tiny_denoiser()
    asked, head = [], network.head
    network.head = lambda hidden: asked.append(len(hidden)) or head(hidden)
    prior = build_prior([FRAMED.frame([MASK] * 100)], [0], FRAMED, "cpu")
    ApartSampler(Predictor(network, FRAMED)).sample(prior, SampleSettings(steps=8))
    assert len(asked) == 8 and max(asked) < 40


def test_a_single_free_position_depends_on_nothing() -> None:
    free = torch.tensor([[True, False]])
    assert torch.isneginf(dependence(torch.rand(1, 2, 2), free)).all()


def test_the_order_decides_and_chains_are_followed() -> None:
    # 0 - 1 - 2 - 3, gone through from 0: 0 is taken, so 1 is not, so 2 is, so 3 is not.
    chain = torch.zeros(1, 4, 4, dtype=torch.bool)
    for one in range(3):
        chain[0, one, one + 1] = chain[0, one + 1, one] = True
    order = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    assert first_independent(chain, order).tolist() == [[True, False, True, False]]
    assert first_independent(chain, order.flip(-1)).tolist() == [[False, True, False, True]]
    left = torch.tensor([[torch.inf, 0.2, 0.3, 0.4]])
    assert first_independent(chain, left).tolist() == [[False, True, False, True]]


def test_what_depends_comes_first_and_what_is_left_out_last() -> None:
    dependent = torch.zeros(1, 5, 5, dtype=torch.bool)
    dependent[0, 3, 4] = dependent[0, 4, 3] = dependent[0, 0, 1] = dependent[0, 1, 0] = True
    masked = torch.tensor([[False, True, True, True, True]])  # 1 has lost its partner
    order = torch.tensor([[0.0, 0.3, 0.1, 0.9, 0.8]])

    def chosen(count: int) -> list[int]:
        found = choose(dependent, masked, order, torch.tensor([count]))
        return found[0].nonzero()[:, 0].tolist()

    assert [chosen(n) for n in range(5)] == [[], [4], [2, 4], [1, 2, 4], [1, 2, 3, 4]]


@pytest.mark.parametrize("padded", [False, True])
def test_watched_attention_is_the_mean_over_blocks_and_heads(padded: bool) -> None:
    network: EsmDenoiser = tiny_denoiser(num_layers=2, dtype=torch.float64)
    tokens = torch.tensor([[1, 3, MASK, 5, 2], [1, MASK, 4, 2, 0]])
    lengths = torch.tensor([5, 4 if padded else 5])
    heard = []

    def softmax_by_hand(query: Tensor, key: Tensor, keep: Tensor | None) -> None:
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        if keep is not None:
            scores = scores.masked_fill(~keep[:, None, None, :], -1e30)
        heard.append(scores.softmax(-1).mean(1))

    class Hearing(AttentionWatch):
        add = staticmethod(softmax_by_hand)

    with torch.no_grad():
        for block in network.blocks:
            block.attention_watch = Hearing()
        network.trunk(tokens, lengths)
        with watched_attention(network) as watch:
            watched = network.trunk(tokens, lengths)
        assert all(block.attention_watch is None for block in network.blocks)
        assert torch.equal(watched, network.trunk(tokens, lengths)), "watching changes nothing"
    mean = watch.mean()
    assert (mean - torch.stack(heard).mean(0)).abs().max() < 1e-6
    assert mean.sum(-1) == pytest.approx(1.0)
    assert not padded or (mean[1, :, 4] == 0).all()


def test_as_many_calls_as_the_ancestral_sampler() -> None:
    predictor = Predictor(tiny_denoiser(), FRAMED)
    prior = build_prior([FRAMED.frame([MASK] * n) for n in (3, 9, 20)], [0, 1, 2], FRAMED, "cpu")
    settings = SampleSettings(steps=6, reveal_exponent=2.0)
    apart, plain = (make(predictor).sample(prior, settings) for make in (ApartSampler, ancestral))
    assert apart.denoiser_calls.tolist() == plain.denoiser_calls.tolist()
    assert not (apart.tokens == MASK).any()


def test_where_nothing_depends_it_is_the_ancestral_sampler() -> None:
    predictor = Predictor(tiny_denoiser(), FRAMED)
    rows = [FRAMED.frame([MASK] * 9), FRAMED.frame([3, MASK, MASK, 4, MASK])]
    prior = build_prior(rows, [4, 7], FRAMED, "cpu")
    for settings in (SampleSettings(steps=5), SampleSettings(steps=5, reveal_exponent=2.0)):
        never = ApartSampler(predictor, ApartSettings(threshold=torch.inf))
        found = never.sample(prior, settings).tokens
        assert torch.equal(found, ancestral(predictor).sample(prior, settings).tokens)
        assert found[1, [1, 4]].tolist() == [3, 4], "what is given stays"


def test_a_network_without_attention_is_refused() -> None:
    predictor = Predictor(Exact([LAW], 2), toy_vocabulary(2))
    prior = build_prior([[2, 2, 2]], [0], toy_vocabulary(2), "cpu")
    with pytest.raises(UserError, match="apart needs a network of this package"):
        ApartSampler(predictor).sample(prior, SampleSettings(steps=2))


def test_a_network_told_the_time_is_told_it() -> None:
    prior = build_prior([FRAMED.frame([MASK] * 12)], [0], FRAMED, "cpu")
    sampled = ApartSampler(Predictor(timed_esm(), FRAMED)).sample(prior, SampleSettings(steps=4))
    assert not (sampled.tokens == MASK).any()
