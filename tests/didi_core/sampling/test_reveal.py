"""Which step reveals which position: the grids by hand, and the law of a bent one."""

import itertools

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

from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import SampleSettings
from didi_core.sampling.reveal import NEVER, alpha_grid, ancestral_plan, first_hitting_plan

VOCABULARY = toy_vocabulary(3)
MASK = VOCABULARY.mask_id


@pytest.mark.parametrize("exponent", [1.0, 2.0, 0.5])
def test_each_step_reveals_its_share(exponent: float) -> None:
    prior = build_prior([[MASK] * 200] * 300, range(300), VOCABULARY, "cpu")
    steps = 5
    plan = ancestral_plan(prior, SampleSettings(steps, reveal_exponent=exponent))
    shown = plan[plan != NEVER]
    assert len(shown) == 60_000
    alphas = [(k / steps) ** exponent for k in range(steps + 1)]
    shares = [float((shown == k).double().mean()) for k in range(steps)]
    expected = [alphas[k + 1] - alphas[k] for k in range(steps)]
    assert shares == pytest.approx(expected, abs=0.01)
    # Among those still masked, each step reveals with the posterior's probability.
    process, masked = AbsorbingProcess(MASK), 1.0
    for k in range(steps):
        reveal = process.reveal_probability(alphas[k], alphas[k + 1])
        assert shares[k] / masked == pytest.approx(reveal, abs=0.02)
        masked -= shares[k]


def _law_of_grid(law: Law, shares: list[float], num_tokens: int) -> Law:
    """Each position falls into step k with chance `shares[k]`; those of a step are independent."""
    length = len(next(iter(law)))
    result = dict.fromkeys(law, 0.0)
    for sequence, when in itertools.product(
        law, itertools.product(range(len(shares)), repeat=length)
    ):
        chance = 1.0
        for position, step in enumerate(when):
            known = {i: sequence[i] for i in range(length) if when[i] < step}
            chance *= (
                shares[step] * conditional(law, known, position, num_tokens)[sequence[position]]
            )
        result[sequence] += chance
    return result


def test_a_bent_grid_has_its_own_enumerated_law() -> None:
    law = random_law(3, 3, seed=3)
    predictor = Predictor(ExactDenoiser([law], 3), VOCABULARY)
    settings = SampleSettings(steps=2, seed=4, reveal_exponent=2.0)
    found = draw_sequences(ancestral(predictor), predictor, settings, [MASK] * 3, 20_000)
    assert chi_square_p_value(found, _law_of_grid(law, [0.25, 0.75], 3)) > 1e-3
    assert chi_square_p_value(found, _law_of_grid(law, [0.5, 0.5], 3)) < 1e-3


def test_the_best_grid_has_its_own_enumerated_law() -> None:
    law = random_law(3, 3, seed=3)
    predictor = Predictor(ExactDenoiser([law], 3), VOCABULARY)
    settings = SampleSettings(steps=2, seed=4, grid="best", kept=(0.0, 0.3, 1.0))
    found = draw_sequences(ancestral(predictor), predictor, settings, [MASK] * 3, 20_000)
    assert chi_square_p_value(found, _law_of_grid(law, [0.3, 0.7], 3)) > 1e-3
    assert chi_square_p_value(found, _law_of_grid(law, [0.5, 0.5], 3)) < 1e-3


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_shares_of_the_usual_grids_give_their_plan_again(exponent: float) -> None:
    prior = build_prior([[MASK] * 200, [1, MASK]], [3, 8], VOCABULARY, "cpu")
    usual = SampleSettings(steps=7, seed=5, reveal_exponent=exponent)
    best = SampleSettings(steps=7, seed=5, grid="best", kept=tuple(alpha_grid(usual)))
    assert torch.equal(ancestral_plan(prior, best), ancestral_plan(prior, usual))
    assert alpha_grid(best) == alpha_grid(usual)


def test_first_hitting_reveals_one_position_a_step_in_random_order() -> None:
    prior = build_prior([[MASK, 1, MASK, MASK]] * 6000, range(6000), VOCABULARY, "cpu")
    plan = first_hitting_plan(prior, SampleSettings(None))
    assert (plan[:, 1] == NEVER).all() and (plan[:, 4:] == NEVER).all()
    orders, counts = plan[:, [0, 2, 3]].unique(dim=0, return_counts=True)
    assert sorted(map(tuple, orders.tolist())) == sorted(itertools.permutations(range(3)))
    assert ((counts - 1000).abs() < 150).all()


def test_a_plan_depends_on_the_record_alone() -> None:
    together = build_prior([[MASK] * 9, [MASK] * 30, [MASK] * 4], [5, 6, 7], VOCABULARY, "cpu")
    settings = SampleSettings(4, seed=2)
    for row, (record, length) in enumerate(((5, 9), (6, 30), (7, 4))):
        alone = build_prior([[MASK] * length], [record], VOCABULARY, "cpu")
        plans = [ancestral_plan(prior, settings) for prior in (together, alone)]
        assert torch.equal(plans[0][row, :length], plans[1][0, :length])


def test_each_position_is_revealed_where_alpha_passes_its_uniform() -> None:
    """Step k of 4 with exponent 2 reveals u in [(k/4)^2, ((k+1)/4)^2)."""
    prior = build_prior([[MASK] * 20_000], [0], VOCABULARY, "cpu")
    uniform = keyed_uniform(5, Stream.REVEAL, 0, torch.arange(20_000))
    edges = torch.tensor([1, 4, 9], dtype=torch.float64) / 16
    plan = ancestral_plan(prior, SampleSettings(steps=4, seed=5, reveal_exponent=2.0))
    assert torch.equal(plan[0, :20_000], torch.bucketize(uniform, edges, right=True))
