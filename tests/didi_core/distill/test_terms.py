"""The terms of the distillation losses on three tokens, each against a value computed by hand."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from didi_core.data.batches import mean_or_zero, segment_mean, segment_sum
from didi_core.distill import didi_loss, terms
from didi_core.distill.matching import matching_loss

P = [0.2, 0.3, 0.5]
Q = [0.6, 0.3, 0.1]
KL_PQ = 0.2 * math.log(0.2 / 0.6) + 0.5 * math.log(0.5 / 0.1)
KL_QP = 0.6 * math.log(0.6 / 0.2) + 0.1 * math.log(0.1 / 0.5)


def logs(*chances: list[float]) -> Tensor:
    return torch.tensor(chances, dtype=torch.float64).log()


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_discriminator_s_loss(smoothing: float) -> None:
    # -y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)); the reference is called 1.
    def entropy(logit: float, label: float) -> float:
        return label * softplus(-logit) + (1 - label) * softplus(logit)

    real, fake = [2.0, -0.5, 1.0], [0.3, -1.5]
    expected = 0.5 * sum(entropy(x, 1 - smoothing) for x in real) / 3
    expected += 0.5 * sum(entropy(x, smoothing) for x in fake) / 2
    found = didi_loss.discriminator_loss(doubles(*real), doubles(*fake), smoothing)
    assert float(found) == pytest.approx(expected)


def test_the_discriminator_s_loss_without_a_side_and_by_shares() -> None:
    real, none = doubles(2.0), doubles()
    one_side = didi_loss.discriminator_loss(real, none, 0.0)
    assert float(one_side) == pytest.approx(0.5 * softplus(-2.0))
    halves = [
        didi_loss.discriminator_loss(doubles(2.0, 1.0, 0.5), doubles(-1.0), 0.1, (1.5, 2 / 3)),
        didi_loss.discriminator_loss(doubles(3.0), doubles(-2.0, 0.5), 0.1, (0.5, 4 / 3)),
    ]
    whole = didi_loss.discriminator_loss(doubles(2.0, 1.0, 0.5, 3.0), doubles(-1.0, -2.0, 0.5), 0.1)
    assert float(sum(halves) / 2) == pytest.approx(float(whole))


def masked_states(sequences: list[tuple[int, ...]]) -> Tensor:
    """Return each sequence under each of the eight masks of three positions; 2 is the mask."""
    masks = torch.tensor(list(itertools.product([False, True], repeat=3)))
    tokens = torch.tensor(sequences).repeat_interleave(len(masks), 0)
    return tokens.masked_fill(masks.repeat(len(sequences), 1), 2)


@pytest.mark.parametrize("smoothing", [0.01, 0.1])
def test_the_best_logit_is_the_whole_state_s_wherever_it_is_read(smoothing: float) -> None:
    """A student with one wrong token: the last is always 0. No position tells which is wrong."""
    sequences = list(itertools.product([0, 1], repeat=3))
    real = masked_states(sequences)
    fake = masked_states([(a, b, 0) for a, b, _ in sequences])  # as many as real ones
    place = 3 ** torch.arange(3)
    counts = [
        torch.bincount((side * place).sum(-1), minlength=27).double() for side in (real, fake)
    ]
    a, b = counts
    best = ((1 - smoothing) * a + smoothing * b).log() - (smoothing * a + (1 - smoothing) * b).log()
    best = best.nan_to_num()  # states that neither has
    table = best[:, None].repeat(1, 3).requires_grad_()  # read at each position of each state
    sides = [table[(side * place).sum(-1)].flatten() for side in (real, fake)]
    (gradient,) = torch.autograd.grad(didi_loss.discriminator_loss(*sides, smoothing), table)
    assert gradient.abs().max() < 1e-15, "one value for all positions is the optimum"

    def of(*state: int) -> float:
        return float(best[(torch.tensor(state) * place).sum()])

    bound = math.log((1 - smoothing) / smoothing)
    assert of(0, 2, 1) == pytest.approx(bound), "never the student's: the ratio itself is infinite"
    assert best.abs().max() <= bound + 1e-12
    s = smoothing  # half as likely in the reference: the ratio is log 1/2, the logit nearer to 0
    half = math.log((1 - s + 2 * s) / (s + 2 * (1 - s)))
    assert [of(2, 2, 0), of(1, 2, 0)] == pytest.approx([half, half]) and half > math.log(0.5)
    assert of(1, 0, 2) == pytest.approx(0.0), "what is masked is not judged"


def test_rewards_are_clipped_and_averaged_by_row() -> None:
    logits, row = doubles(1.0, 20.0, -30.0, 3.0), torch.tensor([0, 0, 2, 2])
    found = didi_loss.row_reward(logits, row, 4, clip=8.0)
    assert found.tolist() == [4.5, 0.0, -2.5, 0.0]
    assert didi_loss.row_reward(logits, row, 4, clip=2.0).tolist() == [1.5, 0.0, 0.0, 0.0]


ALL_JUDGED = torch.ones(8, dtype=torch.bool)


def test_advantages_within_groups() -> None:
    reward = doubles(1.0, 2.0, 3.0, 6.0, 5.0, 5.0, 5.0, 5.0)
    found = didi_loss.grouped_advantage(reward, 4, 3.0, ALL_JUDGED)
    deviation = math.sqrt((4 + 1 + 0 + 9) / 4)
    assert found.tolist() == pytest.approx(
        [-2 / deviation, -1 / deviation, 0, 3 / deviation, 0, 0, 0, 0], abs=1e-5
    )
    clipped = didi_loss.grouped_advantage(reward, 4, 1.2, ALL_JUDGED).tolist()
    assert clipped[:4] == pytest.approx([-2 / deviation, -1 / deviation, 0, 1.2], abs=1e-5)
    # A constant, or the scale, of one group's rewards does not matter: like meets like.
    other = torch.cat([7.0 * reward[:4] - 100, reward[4:]])
    torch.testing.assert_close(
        didi_loss.grouped_advantage(other, 4, 3.0, ALL_JUDGED), found, rtol=1e-5, atol=1e-5
    )
    sample = didi_loss.grouped_advantage(reward, 4, 3.0, ALL_JUDGED, fewer=1)
    expected = (reward[:4] - 3) / reward[:4].std()
    torch.testing.assert_close(sample[:4], expected, rtol=1e-5, atol=1e-5)
    whole = didi_loss.grouped_advantage(reward, 8, 3.0, ALL_JUDGED)
    assert not torch.allclose(whole, found, atol=0.1), "the size of a group acts"


def test_a_row_of_which_nothing_was_masked_is_neither_praised_nor_blamed() -> None:
    reward = doubles(-3.0, -1.0, 0.0, -2.0)
    judged = torch.tensor([True, True, False, True])
    found = didi_loss.grouped_advantage(reward, 4, 3.0, judged).tolist()
    deviation = math.sqrt((1 + 1 + 0) / 3)
    assert found == pytest.approx([-1 / deviation, 1 / deviation, 0, 0], abs=1e-5)
    alone = torch.tensor([False, True, False, False])
    assert didi_loss.grouped_advantage(reward, 4, 3.0, alone, fewer=1).tolist() == [0.0] * 4
    none = didi_loss.grouped_advantage(reward, 4, 3.0, torch.zeros(4, dtype=torch.bool))
    assert none.tolist() == [0.0] * 4


def test_the_density_of_tau() -> None:
    tau = doubles(0.1, 0.5, 0.9)
    assert didi_loss.beta_density(tau, 1.0, 1.0).tolist() == pytest.approx([1.0, 1.0, 1.0])
    found = didi_loss.beta_density(tau, 2.0, 5.0).tolist()
    assert found == pytest.approx([30 * x * (1 - x) ** 4 for x in (0.1, 0.5, 0.9)])
    grid = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)
    assert float(didi_loss.beta_density(grid, 5.0, 2.0).mean()) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "beta", "expected"),
    [
        ("forward", 0.5, KL_QP),  # the teacher q to the student p
        ("backward", 0.5, KL_PQ),
        ("jeffreys", 0.0, KL_QP),  # the released convention: 0 is forward, 1 is reverse
        ("jeffreys", 1.0, KL_PQ),
        ("jeffreys", 0.3, 0.7 * KL_QP + 0.3 * KL_PQ),
    ],
)
def test_divergences_from_the_teacher(kind: str, beta: float, expected: float) -> None:
    found = terms.divergence(logs(P, Q), logs(Q, Q), kind, beta)
    assert found.tolist() == pytest.approx([expected, 0.0], abs=1e-12)


@pytest.mark.parametrize("kind", ["forward", "backward"])
def test_gradients_of_the_divergences(kind: str) -> None:
    logits = logs(P).requires_grad_(True)
    terms.divergence(logits.log_softmax(-1), logs(Q), kind, 0.5).sum().backward()
    if kind == "forward":  # a cross-entropy: student minus teacher
        expected = [p - q for p, q in zip(P, Q, strict=True)]
    else:
        expected = [p * (math.log(p / q) - KL_PQ) for p, q in zip(P, Q, strict=True)]
    assert logits.grad[0].tolist() == pytest.approx(expected)


def test_entropy() -> None:
    expected = -sum(p * math.log(p) for p in P)
    found = terms.entropy(logs(P, [1 / 3] * 3))
    assert found.tolist() == pytest.approx([expected, math.log(3)])


def test_moment_matching_by_hand() -> None:
    auxiliary, teacher, weight = [[0.5, 0.25, 0.25], P], [Q, P], [2.0, 5.0]
    logits = logs(P, Q).requires_grad_(True)
    apart = logs(*auxiliary) - logs(*teacher)
    loss = matching_loss(logits.softmax(-1), apart, doubles(*weight))
    difference = [math.log(a / q) for a, q in zip(auxiliary[0], Q, strict=True)]
    mean = sum(p * d for p, d in zip(P, difference, strict=True))
    assert float(loss.detach()) == pytest.approx(2.0 * mean / 2)
    loss.backward()
    expected = [2.0 * p * (d - mean) / 2 for p, d in zip(P, difference, strict=True)]
    assert logits.grad[0].tolist() == pytest.approx(expected)
    # Where the auxiliary agrees with the teacher there is neither loss nor gradient.
    assert logits.grad[1].tolist() == [0.0, 0.0, 0.0]
    # Token 2 is more probable to the auxiliary than to the teacher: descent makes it rarer.
    assert expected[2] > 0


def test_sums_and_means_of_rows() -> None:
    values, row = doubles(1.0, 2.0, 6.0), torch.tensor([2, 0, 2])
    assert segment_sum(values, row, 4).tolist() == [2.0, 0.0, 7.0, 0.0]
    assert segment_mean(values, row, 4).tolist() == [2.0, 0.0, 3.5, 0.0]
    assert float(mean_or_zero(values)) == 3.0 and float(mean_or_zero(doubles())) == 0.0
