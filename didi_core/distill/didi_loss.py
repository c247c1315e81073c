"""The mathematics of DiDi-Instruct: times and their weights, rewards, the losses of both networks.

Nothing here holds a network; didi.py names the steps, and says who calls what.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from didi_core.data.batches import TokenBatch, segment_mean, segment_sum
from didi_core.diffusion.draws import Stream, keyed_generator, keyed_uniform
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.distill import terms
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.rollout import ReverseStep


@dataclass(frozen=True)
class Times:
    """Draws when samples and references are masked, and says how much each time counts."""

    settings: DidiSettings
    schedule: LogLinearSchedule
    seed: int

    def draw(
        self, step: int, rows: Int[Tensor, "batch"], stream: Stream = Stream.TIME
    ) -> Float[Tensor, "batch"]:
        """Draw tau, one a group or one a row (step 1); keyed by step and group or row."""
        keys = rows // self.settings.group_size if self.settings.share_tau else rows
        a, b = self.settings.tau_beta
        low, high = self.settings.tau_range
        if (a, b) == (1.0, 1.0):
            tau = keyed_uniform(self.seed, stream, step, keys, device=rows.device)
        else:
            # A Beta draw needs a generator; one per key keeps it independent of the batch.
            drawn = [self._draw_beta(a, b, stream, step, int(key)) for key in keys]
            tau = torch.tensor(drawn, device=rows.device)
        return tau.clamp(low, high).float()

    def _draw_beta(self, a: float, b: float, stream: Stream, step: int, key: int) -> float:
        seed = keyed_generator(self.seed, stream, step, key).initial_seed()
        return float(np.random.default_rng(seed).beta(a, b))

    def weight(self, tau: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """Return omega(tau) / pi(tau), each where it is switched on (step 6).

        The objective is an integral over tau weighted by omega; tau is drawn from pi, so that the
        estimate divides by its density.
        """
        weight = torch.ones_like(tau)
        if self.settings.use_omega:
            weight = weight * self.schedule.weight(tau).clamp(*self.settings.omega_range)
        if self.settings.use_pi:
            weight = weight / beta_density(tau, *self.settings.tau_beta)
        return weight


def beta_density(tau: Float[Tensor, "n"], a: float, b: float) -> Float[Tensor, "n"]:
    """Return the density pi(tau) of Beta(a, b): tau^(a-1) (1-tau)^(b-1) / B(a, b)."""
    log_norm = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return ((a - 1) * tau.log() + (b - 1) * (1 - tau).log() - log_norm).exp()


@dataclass(frozen=True)
class Judgement:
    """Holds what the student's samples are worth."""

    advantage: Float[Tensor, "batch"]
    """Weight of each row's log-probability; a constant to the gradient."""
    reward: Float[Tensor, "batch"]
    """Mean clipped log-odds of each row."""


def discriminator_loss(
    reference: Float[Tensor, "m"],
    student: Float[Tensor, "n"],
    label_smoothing: float,
    shares: tuple[float, float] = (1.0, 1.0),
) -> Float[Tensor, ""]:
    """Return binary cross-entropy with labels 1 - s (reference) and s (student) (step 4).

    The mean of the two sides, however many masked positions each has.

    Args:
        label_smoothing: s.
        shares: of this process in the mean of each side (`share_of_mean`).
    """

    def side(logits: Tensor, label: float) -> Tensor:
        if not len(logits):
            return logits.sum()  # 0 that hangs on the graph: the other processes wait for gradients
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    real, fake = side(reference, 1 - label_smoothing), side(student, label_smoothing)
    return 0.5 * (shares[0] * real + shares[1] * fake)


def row_reward(
    logits: Float[Tensor, "n"], row: Int[Tensor, "n"], num_rows: int, clip: float
) -> Float[Tensor, "rows"]:
    """Return log-odds clipped to +-clip, averaged over each row's masked positions (step 5)."""
    return segment_mean(logits.clamp(-clip, clip), row, num_rows)


def judge(
    settings: DidiSettings, logits: Float[Tensor, "n"], masked: Bool[Tensor, "batch width"]
) -> Judgement:
    """Return rewards and advantages of rows (step 5).

    Args:
        logits: of the discriminator at the masked positions, in row-major order.
    """
    row = masked.nonzero()[:, 0]
    reward = row_reward(logits, row, len(masked), settings.reward_clip)
    return Judgement(advantage(settings, reward, masked.any(-1)), reward)


def advantage(
    settings: DidiSettings, reward: Float[Tensor, "batch"], judged: Bool[Tensor, "batch"]
) -> Float[Tensor, "batch"]:
    """Return rewards normalised within groups, where that is on; else as they are."""
    if not settings.group_normalise:
        return reward
    return grouped_advantage(
        reward,
        settings.group_size,
        settings.advantage_clip,
        judged,
        fewer=int(settings.group_deviation == "sample"),
    )


def grouped_advantage(
    reward: Float[Tensor, "rows"],
    group_size: int,
    clip: float,
    judged: Bool[Tensor, "rows"],
    fewer: int = 0,
    eps: float = 1e-6,
) -> Float[Tensor, "rows"]:
    """Return each reward less its group's mean, over the group's deviation, clipped (step 5).

    A group of equal rewards gets zeros. A row that is not `judged`, because nothing of it was
    masked, gets zero and does not count in its group.

    Args:
        fewer: the variance is divided by so many fewer than the group has rows: 0 is the
            population's, 1 the sample's.
    """
    # Rows of one group are adjacent: one line of the matrix each. `counted` is 1 or 0.
    groups, counted = reward.view(-1, group_size), judged.view(-1, group_size).to(reward)
    number = counted.sum(-1, keepdim=True).clamp_min(1)
    # Centred by the mean of the judged; rows that are not judged are put to 0, and so drop out.
    centred = (groups - (groups * counted).sum(-1, keepdim=True) / number) * counted
    variance = centred.square().sum(-1, keepdim=True) / (number - fewer).clamp_min(1)
    return (centred / (variance.sqrt() + eps)).clamp(-clip, clip).flatten()


TeacherLogProbs = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(tokens, lengths, at) to the teacher's log-probabilities where `at` is True."""


def student_loss(
    settings: DidiSettings,
    batch: TokenBatch,
    reverse: list[ReverseStep],
    advantage: Float[Tensor, "batch"],
    weight: Float[Tensor, "batch"],
    teacher: TeacherLogProbs,
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Return the loss of steps 5 to 7, and its parts as metrics.

    Args:
        reverse: the student's reverse steps, with gradient.
        advantage: of each row.
        weight: omega / pi of each row.
    """
    num_rows = len(batch)
    # log p(x) of a row: over both reverse steps the log-probabilities of the tokens drawn (step 2).
    scored = advantage * sum(segment_sum(s.drawn_log_prob(), s.row, num_rows) for s in reverse)
    if settings.reduce_log_prob == "mean":
        scored = scored / batch.maskable.sum(-1)
    # Score function: d E[A] = E[A d log p]; the advantage carries no gradient.
    policy = -(weight * scored).mean()
    strengths = (settings.kl_start, settings.kl_middle)
    divergence = [_divergence(settings, batch, step, teacher) for step in reverse]
    # The first step starts all-mask, the second at z_tau; where there is one, the second drops out.
    regulariser = sum(c * d for c, d in zip(strengths, divergence, strict=False))
    entropies = [_mean_of_rows(s, terms.entropy(s.log_probs)) for s in reverse]
    entropy = cast(Tensor, sum(entropies)) / len(entropies)
    loss = policy + regulariser - settings.entropy_bonus * entropy
    return loss, {
        "policy_loss": float(policy.detach()),
        "kl_to_teacher": float(sum(each.detach() for each in divergence)) / len(divergence),
        "entropy": float(entropy.detach()),
    }


def _divergence(
    settings: DidiSettings, batch: TokenBatch, step: ReverseStep, teacher: TeacherLogProbs
) -> Float[Tensor, ""]:
    """Return the divergence from the teacher: mean over rows of the mean over masks, in nats."""
    # The teacher, too, is called once on rows that are one input to the network.
    called = slice(None) if step.equal is None else step.equal.called
    expected = teacher(step.before[called], batch.lengths[called], step.masked[called])
    each = terms.divergence(step.log_probs, expected, settings.kl_kind, settings.kl_beta)
    return _mean_of_rows(step, each)


def _mean_of_rows(step: ReverseStep, entries: Float[Tensor, "entries"]) -> Float[Tensor, ""]:
    """Return the mean over rows of the mean over each row's masked positions."""
    return segment_mean(step.at_masked(entries), step.row, len(step.before)).mean()
