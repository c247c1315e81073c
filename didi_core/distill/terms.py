"""The terms of DiDi-Instruct's losses as pure functions, each checked by hand in the tests.

Source: DiDi-Instruct, arXiv 2509.25035; numbering of the steps as in METHODS 2. "Row" is one
sequence; rows of one group are adjacent.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from didi_core.data.batches import segment_mean


def discriminator_loss(
    reference: Float[Tensor, "m"],
    student: Float[Tensor, "n"],
    label_smoothing: float,
    shares: tuple[float, float] = (1.0, 1.0),
) -> Float[Tensor, ""]:
    """Binary cross-entropy with labels 1 - s (reference) and s (student), mean of the two sides.

    Args:
        shares: of this process in the mean of each side (`whole_batch.share_of_mean`).
    """

    def side(logits: Tensor, label: float) -> Tensor:
        if not len(logits):
            return logits.sum()
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    real, fake = side(reference, 1 - label_smoothing), side(student, label_smoothing)
    return 0.5 * (shares[0] * real + shares[1] * fake)


def row_reward(
    logits: Float[Tensor, "n"], row: Int[Tensor, "n"], num_rows: int, clip: float
) -> Float[Tensor, "rows"]:
    """Log-odds clipped to +-clip, averaged over each row's masked positions (step 5)."""
    return segment_mean(logits.clamp(-clip, clip), row, num_rows)


def grouped_advantage(
    reward: Float[Tensor, "rows"],
    group_size: int,
    clip: float,
    judged: Bool[Tensor, "rows"],
    fewer: int = 0,
    eps: float = 1e-6,
) -> Float[Tensor, "rows"]:
    """Reward minus its group's mean, over the group's standard deviation, clipped (step 5).

    A group of equal rewards gets zeros. A row that is not `judged`, because nothing of it was
    masked, gets zero and does not count in its group.

    Args:
        fewer: the variance is divided by so many fewer than the group has rows: 0 is the
            population's, 1 the sample's.
    """
    groups, counted = reward.view(-1, group_size), judged.view(-1, group_size).to(reward)
    number = counted.sum(-1, keepdim=True).clamp_min(1)
    centred = (groups - (groups * counted).sum(-1, keepdim=True) / number) * counted
    variance = centred.square().sum(-1, keepdim=True) / (number - fewer).clamp_min(1)
    return (centred / (variance.sqrt() + eps)).clamp(-clip, clip).flatten()


def beta_density(tau: Float[Tensor, "n"], a: float, b: float) -> Float[Tensor, "n"]:
    """Density pi(tau) of Beta(a, b)."""
    log_norm = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return ((a - 1) * tau.log() + (b - 1) * (1 - tau).log() - log_norm).exp()


def divergence(
    student: Float[Tensor, "n k"], teacher: Float[Tensor, "n k"], kind: str, beta: float
) -> Float[Tensor, "n"]:
    """KL between two sets of log-probabilities, in nats a position (step 7).

    forward is KL(teacher || student); backward KL(student || teacher); jeffreys
    (1 - beta) forward + beta backward, as in the released code's convention.
    """
    if kind == "forward":
        return kl(teacher, student)
    if kind == "backward":
        return kl(student, teacher)
    return (1 - beta) * kl(teacher, student) + beta * kl(student, teacher)


def kl(p: Float[Tensor, "n k"], q: Float[Tensor, "n k"]) -> Float[Tensor, "n"]:
    """KL(p || q) of log-probabilities; the entropy of p is in it, so KL(p, p) is 0."""
    return (p.exp() * (p - q)).sum(-1)


def entropy(log_probs: Float[Tensor, "n k"]) -> Float[Tensor, "n"]:
    """Entropy in nats."""
    return -(log_probs.exp() * log_probs).sum(-1)
