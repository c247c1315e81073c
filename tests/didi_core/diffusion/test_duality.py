"""T of the diffusion duality: value, slope, ranges, and the argmax of Gaussian noise itself."""

import math

import numpy as np
import pytest
import torch

from didi_core.diffusion.duality import (
    CURRICULUM_ENDS,
    DCD_ENDS,
    GaussianSchedule,
    gamma_of,
    transformation,
)
from didi_core.diffusion.uniform import UniformProcess

SIZES = [2, 3, 20, 50_257]
GAMMAS = torch.tensor([-6.0, -4.0, -3.0, -1.85, -1.0, 0.0, 2.0, 6.0], dtype=torch.float64)


def by_gauss_legendre(gamma: float, num_tokens: int) -> float:
    """T by another rule, another variable (z itself) and another form of Phi."""
    mean = math.exp(-gamma / 2)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    total = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        z = mean + 9.0 * node
        log_phi = math.log1p(-0.5 * math.erfc(z / math.sqrt(2))) if z > -5 else -math.inf
        density = math.exp(-((z - mean) ** 2) / 2) / math.sqrt(2 * math.pi)
        total += 9.0 * weight * density * math.exp((num_tokens - 1) * log_phi)
    return (num_tokens * total - 1) / (num_tokens - 1)


@pytest.mark.parametrize("num_tokens", SIZES)
def test_value_and_slope(num_tokens: int) -> None:
    value, slope = transformation(GAMMAS, num_tokens)
    expected = [by_gauss_legendre(gamma, num_tokens) for gamma in GAMMAS.tolist()]
    assert value.tolist() == pytest.approx(expected, abs=1e-6)
    step = 1e-4
    above = transformation(GAMMAS + step, num_tokens)[0]
    below = transformation(GAMMAS - step, num_tokens)[0]
    torch.testing.assert_close(slope, (above - below) / (2 * step), rtol=1e-6, atol=1e-8)
    gammas = GAMMAS.clone().requires_grad_(True)
    (by_autograd,) = torch.autograd.grad(transformation(gammas, num_tokens)[0].sum(), gammas)
    torch.testing.assert_close(slope, by_autograd, rtol=1e-6, atol=1e-12)
    assert bool((slope[1:] < 0).all()) and bool(((value > 0) & (value < 1 + 1e-12)).all())


def test_two_tokens_have_a_closed_form() -> None:
    """The true token wins against one other with probability Phi(mean / sqrt 2)."""
    wins = torch.special.ndtr((-GAMMAS / 2).exp() / math.sqrt(2))
    torch.testing.assert_close(transformation(GAMMAS, 2)[0], 2 * wins - 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("gamma", [-2.0, 0.5])
def test_the_argmax_of_gaussian_noise_follows_the_uniform_process(gamma: float) -> None:
    num_tokens, count = 4, 200_000
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, num_tokens, generator=generator, dtype=torch.float64)
    kept = torch.sigmoid(torch.tensor(-gamma)).sqrt()
    noise *= torch.sigmoid(torch.tensor(gamma)).sqrt()
    noise[:, 1] += kept
    found = torch.bincount(noise.argmax(-1), minlength=num_tokens) / count
    alpha = float(transformation(torch.tensor(gamma), num_tokens)[0])
    one_hot = torch.eye(num_tokens, dtype=torch.float64)[1]
    expected = UniformProcess(tuple(range(num_tokens))).forward(one_hot, alpha)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=0.004)


@pytest.mark.parametrize("num_tokens", SIZES)
@pytest.mark.parametrize("ends", [(0.9999, 1e-3), CURRICULUM_ENDS, DCD_ENDS])
def test_ranges_are_solved_from_their_ends(ends: tuple[float, float], num_tokens: int) -> None:
    schedule = GaussianSchedule.between(ends, num_tokens)
    t = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert schedule.alpha(t).tolist() == pytest.approx(ends, abs=1e-9)


def test_the_published_ranges_are_those_of_their_vocabularies() -> None:
    """GPT-2's 50,257 tokens, and LM1B's 30,522; with 20 tokens the ranges are others."""

    def ends(which: tuple[float, float], num_tokens: int) -> list[float]:
        return [gamma_of(alpha, num_tokens) for alpha in which]

    assert ends(CURRICULUM_ENDS, 50_257) == pytest.approx([-3.55, -1.85], abs=0.02)
    assert ends(CURRICULUM_ENDS, 30_522) == pytest.approx([-3.5, -1.75], abs=0.03)
    assert ends(DCD_ENDS, 50_257) == pytest.approx([-4.0, -1.0], abs=0.01)
    assert float(transformation(torch.tensor(-1.0), 20)[0]) == pytest.approx(0.4045, abs=1e-4)
    assert ends(CURRICULUM_ENDS, 20) == pytest.approx([-2.643, 1.903], abs=1e-3)


def test_the_schedule_s_slope_and_weight() -> None:
    schedule = GaussianSchedule.between(CURRICULUM_ENDS, 20)
    t = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
    slope = (schedule.alpha(t + 1e-5) - schedule.alpha(t - 1e-5)) / 2e-5
    torch.testing.assert_close(schedule.alpha_derivative(t), slope, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        schedule.weight(t), -slope / (1 - schedule.alpha(t)), rtol=1e-6, atol=0
    )
    assert schedule.alpha(t.float()).dtype == torch.float32
