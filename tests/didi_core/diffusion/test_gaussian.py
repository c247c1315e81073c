"""Gaussian noise by order statistics: the same laws as from all of its normal numbers."""

import itertools
import math

import pytest
import torch
from exact_denoiser import chi_square_p_value
from torch import Tensor

from didi_core.diffusion.duality import transformation
from didi_core.diffusion.gaussian import (
    GaussianNoise,
    distinct,
    log_mean_below,
    noise_of,
    num_uniforms,
)
from didi_core.diffusion.uniform import UniformProcess

NUM_TOKENS, COUNT = 5, 100_000


def drawn(num_others: int, num_tokens: int = NUM_TOKENS, clean: int = 2) -> GaussianNoise:
    generator = torch.Generator().manual_seed(num_others)
    shape = (COUNT, num_uniforms(num_others))
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    return noise_of(torch.full((COUNT,), clean), uniform, num_tokens)


def frequencies(values: Tensor) -> dict:
    from collections import Counter

    return Counter(tuple(row) for row in values.reshape(len(values), -1).tolist())


@pytest.mark.parametrize("count", [2, 3, 4])
def test_distinct_numbers_come_in_every_order_alike(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(COUNT, count, generator=generator, dtype=torch.float64)
    orders = list(itertools.permutations(range(4), count))
    found = frequencies(distinct(uniform, 4))
    assert chi_square_p_value(found, dict.fromkeys(orders, 1 / len(orders))) > 1e-3


@pytest.mark.parametrize("count", [200, 2_046])
def test_many_distinct_numbers_are_distinct(count: int) -> None:
    """All other tokens of the bundled text vocabulary among them (gaussian.top_k=0)."""
    generator = torch.Generator().manual_seed(1)
    uniform = torch.rand(64, count, generator=generator, dtype=torch.float64)
    ranks = distinct(uniform, 2_046)
    ordered = ranks.sort(-1).values
    assert bool((ordered.diff(dim=-1) > 0).all())
    assert int(ordered.min()) >= 0 and int(ordered.max()) < 2_046
    assert float(ranks.double().mean()) == pytest.approx(1_022.5, abs=20)


@pytest.mark.parametrize("num_others", [1, 2, 4])
def test_the_largest_noises_have_the_moments_of_sorted_normals(num_others: int) -> None:
    noise = drawn(num_others)
    generator = torch.Generator().manual_seed(9)
    normals = torch.randn(COUNT, NUM_TOKENS - 1, generator=generator, dtype=torch.float64)
    expected = normals.sort(-1, descending=True).values[:, :num_others]
    for power in (1, 2, 3):
        found = noise.others.pow(power).mean(0)
        torch.testing.assert_close(found, expected.pow(power).mean(0), rtol=0, atol=0.05)
    assert bool((noise.others.diff(dim=-1) <= 0).all())
    assert abs(float(noise.own.mean())) < 0.02 and abs(float(noise.own.var()) - 1) < 0.02
    assert not bool((noise.ranks == 2).any()), "the true token is none of the others"


@pytest.mark.parametrize("uniform", [2.0**-53, 0.5, 1 - 2.0**-40, 1 - 2.0**-53])
@pytest.mark.parametrize("num_tokens", [2, 20, 50_257])
def test_the_largest_noise_is_finite_and_exact_at_both_ends(
    uniform: float, num_tokens: int
) -> None:
    """It exceeds x with probability 1 - u ** (1 / (K - 1)), which float64 has near 0 alone."""
    uniforms = torch.tensor([[0.5, uniform, 0.5]], dtype=torch.float64)
    noise = noise_of(torch.tensor([0]), uniforms, num_tokens)
    beyond = torch.special.ndtr(-noise.others[0, 0])
    expected = -math.expm1(math.log(uniform) / (num_tokens - 1))
    assert float(beyond) == pytest.approx(expected, rel=1e-9)
    softened = noise.softmax(torch.tensor([-3.0], dtype=torch.float64), 0.001)[1]
    assert float(softened.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("num_others", [1, 4])
@pytest.mark.parametrize("gamma", [-2.0, 0.5])
def test_the_argmax_follows_the_uniform_process(num_others: int, gamma: float) -> None:
    gammas = torch.full((COUNT,), gamma, dtype=torch.float64)
    alpha = float(transformation(gammas[0], NUM_TOKENS)[0])
    law = UniformProcess(tuple(range(NUM_TOKENS))).forward(
        torch.eye(NUM_TOKENS, dtype=torch.float64)[2], alpha
    )
    expected = {(i,): float(p) for i, p in enumerate(law)}
    found = frequencies(drawn(num_others).argmax(gammas))
    assert chi_square_p_value(found, expected) > 1e-3


@pytest.mark.parametrize(("bound", "spread"), [(1.3, 0.4), (-0.7, 3.0), (4.2, 1.5)])
def test_the_mean_of_what_is_left_out_is_its_integral(bound: float, spread: float) -> None:
    """Over the density below the bound, by Simpson's rule; and where terms near 4e5 cancel."""
    x = torch.linspace(bound - 30, bound, 60_001, dtype=torch.float64)
    weights = torch.ones_like(x)
    weights[1:-1:2], weights[2:-1:2] = 4.0, 2.0
    density = (-x.square() / 2).exp() * weights
    expected = ((density * (spread * x).exp()).sum() / density.sum()).log()
    at = torch.tensor([bound], dtype=torch.float64)
    found = log_mean_below(at, torch.tensor([spread], dtype=torch.float64))
    assert float(found) == pytest.approx(float(expected), abs=1e-8)
    # Far below the shifted peak, the leading term is that of Mills' ratio:
    # exp(s b) phi(b) / (Phi(b) (s - b)).
    far = float(log_mean_below(at, torch.tensor([900.0])))
    leading = 900.0 * bound - bound**2 / 2 - math.log(2 * math.pi) / 2 - math.log(900.0 - bound)
    assert far == pytest.approx(leading - float(torch.special.log_ndtr(at)), abs=1e-4)


def test_few_tokens_weigh_what_they_do_among_all() -> None:
    """Of one draw of all, the largest two are kept: the sum of the others is right in the mean."""
    whole, gammas = drawn(7, num_tokens=8), torch.full((COUNT,), 0.3, dtype=torch.float64)
    few = GaussianNoise(whole.clean, whole.own, whole.ranks[:, :2], whole.others[:, :2])
    spread = torch.sigmoid(gammas).sqrt() / 0.7
    tail = (spread[:, None] * whole.others[:, 2:]).exp().sum(-1)
    estimate = 5 * log_mean_below(few.others[:, -1], spread).exp()
    assert float(tail.mean() / estimate.mean()) == pytest.approx(1.0, abs=0.01)
    exact = whole.softmax(gammas, 0.7)[1][:, :3]
    plain, counted = few.softmax(gammas, 0.7)[1], few.softmax(gammas, 0.7, num_left=5)[1]
    errors = [float((each - exact).mean(0).abs().max()) for each in (plain, counted)]
    assert errors[1] < 0.01 < errors[0] / 5
    assert torch.equal(few.softmax(gammas, 0.0, num_left=5)[1], few.softmax(gammas, 0.0)[1])


def test_one_path_has_one_wrong_token() -> None:
    """From noise to data a position holds the likeliest other token, then the true one."""
    noise = drawn(1)
    path = torch.stack([noise.argmax(torch.full((COUNT,), g).double()) for g in (3.0, 0.0, -3.0)])
    wrong = path != 2
    assert bool((wrong[1:] <= wrong[:-1]).all()) and 0 < int(wrong[1].sum()) < int(wrong[0].sum())
    assert bool((path[wrong] == noise.ranks[:, 0].expand(3, -1)[wrong]).all())


def test_the_tempered_softmax() -> None:
    gammas, noise = torch.full((COUNT,), 0.3, dtype=torch.float64), drawn(4)
    ranks, probabilities = noise.softmax(gammas, 0.7)
    assert bool((ranks.sort(-1).values == torch.arange(5)).all())
    kept, deviation = torch.sigmoid(-gammas).sqrt(), torch.sigmoid(gammas).sqrt()
    entries = torch.cat(
        [(kept + deviation * noise.own)[:, None], deviation[:, None] * noise.others], 1
    )
    torch.testing.assert_close(probabilities, (entries / 0.7).softmax(-1))
    ranks, cold = noise.softmax(gammas, 0.0)
    assert bool((cold.sum(-1) == 1).all())
    assert torch.equal(ranks.gather(-1, cold.argmax(-1, keepdim=True))[:, 0], noise.argmax(gammas))
    few = drawn(2, num_tokens=50_257).softmax(gammas, 1e-3)[1]
    many = drawn(12, num_tokens=50_257).softmax(gammas, 1e-3)[1]
    assert float(many[:, 3:].sum(-1).mean()) < 0.01, "at the published temperature two others do"
    assert few.shape == (COUNT, 3)
