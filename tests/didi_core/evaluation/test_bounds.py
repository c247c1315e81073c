"""Both forms of the likelihood bound equal enumeration, and each other."""

import itertools
import math

import numpy as np
import pytest
import torch
from exact_denoiser import ExactDenoiser, random_law, toy_vocabulary
from exact_uniform import ExactUniformDenoiser, WrongUniformDenoiser
from tiny_models import FRAMED, framed_dit, timed_esm, tiny_denoiser
from torch import nn

from didi_core.data.batches import TokenBatch
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.errors import UserError
from didi_core.evaluation.bounds import BoundSamples, bound_samples, default_form, order_masking
from didi_core.evaluation.masked_nll import row_bound, row_nll

NUM_TOKENS, LENGTH = 4, 3
TOY = toy_vocabulary(NUM_TOKENS)
LAW = random_law(NUM_TOKENS, LENGTH, seed=3)
EXACT = ExactDenoiser([LAW], NUM_TOKENS)


class InconsistentDenoiser(nn.Module):
    """Logits that are no conditionals of any law: the bound is then above every likelihood."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        generator = torch.Generator().manual_seed(0)
        shape = ((NUM_TOKENS + 1) ** LENGTH, LENGTH, NUM_TOKENS + 2)
        self.table = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)

    def logits_at(self, tokens, lengths, at):
        assert bool((lengths == LENGTH).all())
        place = (NUM_TOKENS + 1) ** torch.arange(LENGTH)
        logits = torch.zeros((*tokens.shape, NUM_TOKENS + 2), dtype=torch.float64)
        logits[:, :LENGTH] = self.table[(tokens[:, :LENGTH] * place).sum(-1)]
        return logits[at]


DENOISERS = [EXACT, InconsistentDenoiser()]


def batch_of(ids, count: int) -> TokenBatch:
    tokens = torch.tensor(ids).repeat(count, 1)
    return TokenBatch(tokens, torch.full((count,), LENGTH), torch.ones_like(tokens).bool())


def exact_bound(denoiser, ids) -> float:
    """Nats of the bound itself: a set of m masked tokens has the weight 1 / (m C(length, m))."""
    masked = torch.tensor(list(itertools.product([False, True], repeat=LENGTH))[1:])
    counts = masked.sum(-1)
    share = [1 / (m * math.comb(LENGTH, m)) for m in counts.tolist()]
    batch = batch_of(ids, len(masked))
    nats = row_nll(denoiser, TOY, batch, masked, counts / LENGTH, None)
    return float((nats * torch.tensor(share, dtype=torch.float64)).sum().detach())


def integral_over_time(denoiser, ids) -> float:
    """Every set of masked tokens through the time form, integrated by a rule that is exact here.

    At time t a set of m has probability t^m (1 - t)^(L - m), and the weight is 1/t: polynomials.
    """
    nodes, node_weights = np.polynomial.legendre.leggauss(8)
    process = AbsorbingProcess(TOY.mask_id)
    total = 0.0
    for node, node_weight in zip((nodes + 1) / 2, node_weights / 2, strict=True):
        sets = torch.tensor(list(itertools.product([False, True], repeat=LENGTH)))
        batch = batch_of(ids, len(sets))
        t = torch.full((len(sets),), float(node), dtype=torch.float64)
        uniform = sets.double()  # 1 is masked, 0 is kept
        chance = node ** sets.sum(-1) * (1 - node) ** (~sets).sum(-1)
        found = row_bound(denoiser, TOY, process, batch, t, uniform, None)
        total += float(node_weight * (chance * found).sum())
    return total


def mean_over_orders(denoiser, ids) -> float:
    """Every order and every number of masked tokens through the order form."""
    orders = torch.tensor(list(itertools.permutations(range(LENGTH))))
    total = 0.0
    for count in range(1, LENGTH + 1):
        batch = batch_of(ids, len(orders))
        t = torch.full((len(orders),), (count - 0.5) / LENGTH)
        masked, weight = order_masking(batch.maskable, t, orders.double() / LENGTH)
        assert (masked.sum(-1) == count).all()
        total += float((weight * row_nll(denoiser, TOY, batch, masked, t, None)).mean()) / LENGTH
    return total


@pytest.mark.parametrize("denoiser", DENOISERS, ids=["exact", "inconsistent"])
@pytest.mark.parametrize("ids", [(0, 1, 2), (3, 3, 0), (2, 0, 3)])
def test_both_forms_equal_enumeration(denoiser, ids) -> None:
    chain = {
        order: chain_nll(denoiser, ids, order) for order in itertools.permutations(range(LENGTH))
    }
    expected = sum(chain.values()) / len(chain)
    assert exact_bound(denoiser, ids) == pytest.approx(expected, abs=1e-6)
    assert integral_over_time(denoiser, ids) == pytest.approx(expected, abs=1e-6)
    assert mean_over_orders(denoiser, ids) == pytest.approx(expected, abs=1e-6)
    if denoiser is EXACT:
        assert expected == pytest.approx(-math.log(LAW[ids]), abs=1e-6)
    else:  # negative control: without the weights the forms would disagree with the chains
        assert np.std(list(chain.values())) > 0.1


def chain_nll(denoiser, ids, order) -> float:
    """-log p of revealing the tokens one at a time in this order, straight from the logits."""
    tokens = torch.full((1, LENGTH), TOY.mask_id)
    total = 0.0
    for position in order:
        at = torch.zeros(1, LENGTH, dtype=torch.bool)
        at[0, position] = True
        logits = denoiser.logits_at(tokens, torch.tensor([LENGTH]), at)[0, :NUM_TOKENS]
        total -= float(logits.log_softmax(-1)[ids[position]])
        tokens[0, position] = ids[position]
    return total


@pytest.mark.parametrize("form", ["time", "order"])
def test_estimates_reach_the_bound_within_their_error(form) -> None:
    sequences = [(0, 1, 2), (3, 3, 0), (2, 0, 3), (1, 1, 1)] * 25
    denoiser = DENOISERS[1]
    expected = sum(exact_bound(denoiser, ids) for ids in sequences) / (LENGTH * 100)
    samples = bound_samples(denoiser, TOY, sequences, form=form, draws=100, seed=1)
    found = samples.estimate()
    assert found.nats_per_token == pytest.approx(expected, abs=4 * found.standard_error)
    assert found.standard_error < 0.02 * expected
    assert (found.num_tokens, found.num_sequences, found.draws) == (300, 100, 100)
    spread = bound_samples(denoiser, TOY, sequences[:4], form=form, draws=600, spread="draws")
    for nats, ids in zip(spread.per_sequence(), sequences, strict=False):
        assert nats == pytest.approx(exact_bound(denoiser, ids), rel=0.1)


@pytest.mark.parametrize("form", ["time", "order"])
def test_the_error_is_what_repetition_shows(form) -> None:
    """The mean stated error lies near the deviation of many repeated estimates, or above it."""
    sequences = [(0, 1, 2), (3, 3, 0), (2, 0, 3), (1, 1, 1)] * 5
    found = [
        bound_samples(DENOISERS[1], TOY, sequences, form=form, draws=2, seed=seed).estimate()
        for seed in range(60)
    ]
    actual = np.std([each.nats_per_token for each in found])
    stated = np.mean([each.standard_error for each in found])
    assert 0.8 * actual < stated < 2.5 * actual


def second_moment(denoiser, ids, low: float, high: float) -> float:
    """Of the time form's one-sample estimate, over times in this range, every set enumerated."""
    nodes, node_weights = np.polynomial.legendre.leggauss(40)
    process = AbsorbingProcess(TOY.mask_id)
    sets = torch.tensor(list(itertools.product([False, True], repeat=LENGTH)))
    batch, total = batch_of(ids, len(sets)), 0.0
    half = math.log(high / low) / 2
    for node, node_weight in zip(nodes, node_weights, strict=True):
        time = low * math.exp(half * (node + 1))  # even in log t
        t = torch.full((len(sets),), time, dtype=torch.float64)
        found = row_bound(denoiser, TOY, process, batch, t, sets.double(), None).detach()
        chance = time ** sets.sum(-1) * (1 - time) ** (~sets).sum(-1)
        total += float(half * node_weight * time * (chance * found.square()).sum())
    return total


def test_the_second_moment_of_the_time_form_has_no_bound() -> None:
    """Each decade of small times adds the same to it: ln 10 times the sum of squared nats."""
    ids = (2, 0, 3)
    tokens = batch_of(ids, LENGTH)
    alone = torch.eye(LENGTH, dtype=torch.bool)
    nats = row_nll(DENOISERS[1], TOY, tokens, alone, torch.ones(LENGTH), None).detach()
    decade = math.log(10) * float(nats.square().sum())
    for low in (1e-6, 1e-9):
        found = second_moment(DENOISERS[1], ids, low, 10 * low)
        assert found == pytest.approx(decade, rel=1e-4)


@pytest.mark.parametrize(
    ("network", "process", "form"),
    [
        (tiny_denoiser(), "absorbing", "order"),
        (tiny_denoiser(), "uniform", "time"),
        (timed_esm(), "absorbing", "time"),  # what it is told differs between the two
        (timed_esm(), "uniform", "time"),
    ],
)
def test_order_is_the_form_of_masked_models(network, process, form) -> None:
    assert default_form(network, process) == form
    sequences = [[3, 4, 5, 3], [5] * 9]
    chosen, default = (
        bound_samples(network, FRAMED, sequences, process=process, form=each, draws=2)
        for each in (form, None)
    )
    assert np.array_equal(chosen.nats, default.nats)


@pytest.mark.parametrize("form", ["time", "order"])
@pytest.mark.parametrize(
    "network", [tiny_denoiser(dtype=torch.float64), framed_dit().double()], ids=["esm", "dit"]
)
def test_neither_batch_nor_padding_matters(form, network) -> None:
    sequences = [[3, 4, 5, 3], [5] * 17, [4, 3], [3, 5] * 6, [4]]
    together = bound_samples(network, FRAMED, sequences, form=form, draws=3)
    alone = bound_samples(network, FRAMED, sequences, form=form, draws=3, tokens_per_batch=1)
    assert together.nats == pytest.approx(alone.nats, rel=1e-10)
    longer = bound_samples(network, FRAMED, [*sequences, [3] * 60], form=form, draws=1)
    assert np.isfinite(longer.nats).all() and (longer.nats >= 0).all()


def test_context_is_seen_and_never_masked() -> None:
    denoiser = tiny_denoiser(dtype=torch.float64)
    sequence = [3, 4, 5, 4, 3]
    samples = bound_samples(
        denoiser, FRAMED, [sequence], scored_from=[4], form="order", draws=1, spread="draws"
    )
    tokens = torch.tensor([FRAMED.frame(sequence)])
    at = torch.zeros_like(tokens).bool()
    at[0, 5] = True
    masked = tokens.masked_fill(at, FRAMED.mask_id)
    log_probs = FRAMED.log_probs(denoiser.logits_at(masked, torch.tensor([7]), at))
    assert samples.per_sequence()[0] == pytest.approx(-log_probs[0, 0].item(), rel=1e-9)
    assert samples.lengths.tolist() == [1]
    with pytest.raises(ValueError, match="nothing is scored"):
        bound_samples(denoiser, FRAMED, [sequence], scored_from=[5])


def test_order_form_masks_exactly_as_many_as_it_says() -> None:
    maskable = torch.ones(6, 9).bool()
    maskable[:, :2] = maskable[:, 7:] = False
    t = torch.tensor([0.01, 0.19, 0.21, 0.5, 0.99, 1.0])
    uniform = torch.rand(6, 9, generator=torch.Generator().manual_seed(0))
    masked, weight = order_masking(maskable, t, uniform)
    assert masked.sum(-1).tolist() == [1, 1, 2, 3, 5, 5]
    assert not (masked & ~maskable).any()
    assert weight.tolist() == pytest.approx([5, 5, 2.5, 5 / 3, 1, 1])


def test_one_sequence_has_no_error_to_state() -> None:
    samples = BoundSamples(np.array([[4.0]]), np.array([[0.5]]), np.array([2]))
    found = samples.estimate()
    assert found.nats_per_token == 2 and math.isnan(found.standard_error)


@pytest.mark.parametrize("network", ["exact", "wrong"])
def test_the_estimate_of_a_uniform_model_reaches_its_bound(network: str) -> None:
    """Of an exact reverse process the bound is the likelihood; another is above the entropy."""
    law = random_law(3, 2, seed=5)
    build = {"exact": ExactUniformDenoiser, "wrong": WrongUniformDenoiser}[network]
    sequences = [ids for ids, chance in law.items() for _ in range(round(20_000 * chance))]
    found = bound_samples(build(law, 3), toy_vocabulary(3), sequences, process="uniform", seed=1)
    expected = -sum(chance * math.log(chance) for chance in law.values()) / 2
    estimate = found.estimate()
    if network == "exact":
        within = 4 * estimate.standard_error
        assert estimate.nats_per_token == pytest.approx(expected, abs=within)
        assert within < 0.15 * expected
    else:
        assert estimate.nats_per_token > expected + 0.1
    with pytest.raises(UserError, match="uniform process takes --form time"):
        bound_samples(build(law, 3), TOY, sequences[:1], process="uniform", form="order")
