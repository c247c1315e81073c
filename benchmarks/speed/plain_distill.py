"""The training steps of DiDi-Instruct and D-MMD in their plain form, written from METHODS.

Logits of the whole vocabulary at all positions, masked afterwards; a forward to draw and another
to carry the gradient; each state judged in a call of its own. Networks, optimisers, precision,
times and references are those of the method they are compared with, so that only the step differs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from benchmarks.speed.plain_samplers import allowed_logits
from didi_core.data.batches import TokenBatch
from didi_core.data.vocabulary import Vocabulary
from didi_core.distill.didi_settings import DidiSettings

LogProbs = Callable[[Tensor], Tensor]
"""Tokens [batch, width] to log-probabilities [batch, width, vocabulary]."""


@dataclass(frozen=True)
class Step:
    """A reverse step of the student: the state before and after."""

    before: Int[Tensor, "batch width"]
    after: Int[Tensor, "batch width"]


def full_log_probs(
    network: torch.nn.Module, lengths: Int[Tensor, "batch"], vocabulary: Vocabulary
) -> LogProbs:
    """All positions, all ids."""

    def log_probs(tokens: Tensor) -> Tensor:
        logits = network.head(network.trunk(tokens, lengths))
        return allowed_logits(logits, vocabulary).log_softmax(-1)

    return log_probs


@torch.no_grad()
def plain_reverse(
    student: LogProbs,
    before: Int[Tensor, "batch width"],
    maskable: Bool[Tensor, "batch width"],
    mask_id: int,
    reveal: Float[Tensor, "batch"],
) -> Step:
    """Draw every position in float64, then keep what the step reveals."""
    probabilities = student(before).double().exp()
    drawn = (probabilities / -torch.rand_like(probabilities).log()).argmax(-1)
    chosen = torch.rand(before.shape, device=before.device) < reveal[:, None]
    return Step(before, torch.where((before == mask_id) & maskable & chosen, drawn, before))


def masked_mean(
    values: Float[Tensor, "batch width"], where: Bool[Tensor, "batch width"]
) -> Float[Tensor, "batch"]:
    """Mean of each row over the marked positions; 0 where it has none."""
    return (values * where).sum(-1) / where.sum(-1).clamp_min(1)


def didi_discriminator_loss(
    real: Float[Tensor, "batch width"],
    fake: Float[Tensor, "batch width"],
    masked: tuple[Bool[Tensor, "batch width"], Bool[Tensor, "batch width"]],
    smoothing: float,
) -> Float[Tensor, ""]:
    """Binary cross-entropy at masked positions, mean of the two sides (METHODS 2, step 4)."""
    sides = []
    for logits, where, label in zip((real, fake), masked, (1 - smoothing, smoothing), strict=True):
        each = F.binary_cross_entropy_with_logits(
            logits, torch.full_like(logits, label), reduction="none"
        )
        sides.append((each * where).sum() / where.sum().clamp_min(1))
    return sum(sides) / 2


def didi_advantage(
    logits: Float[Tensor, "batch width"],
    masked: Bool[Tensor, "batch width"],
    settings: DidiSettings,
) -> Float[Tensor, "batch"]:
    """Clipped log-odds averaged over masked positions, normalised in groups (step 5)."""
    clip = settings.reward_clip
    groups = masked_mean(logits.clamp(-clip, clip), masked).view(-1, settings.group_size)
    spread = groups.std(-1, keepdim=True, correction=0) + 1e-6
    scaled = (groups - groups.mean(-1, keepdim=True)) / spread
    return scaled.clamp(-settings.advantage_clip, settings.advantage_clip).flatten()


def didi_loss(
    settings: DidiSettings,
    batch: TokenBatch,
    steps: list[Step],
    advantage: Float[Tensor, "batch"],
    weight: Float[Tensor, "batch"],
    networks: tuple[LogProbs, LogProbs],
    mask_id: int,
) -> Float[Tensor, ""]:
    """Score function, Jeffreys divergence, entropy bonus (steps 5 to 7): student and teacher."""
    student, teacher = networks
    policy, regulariser, entropy = 0.0, 0.0, 0.0
    for step, strength in zip(steps, (settings.kl_start, settings.kl_middle), strict=True):
        masked = (step.before == mask_id) & batch.maskable
        own = student(step.before)
        with torch.no_grad():
            other = teacher(step.before)
        drawn = own.gather(-1, step.after.unsqueeze(-1)).squeeze(-1)
        revealed = masked & (step.after != mask_id)
        policy = policy - (advantage[:, None] * drawn).where(revealed, 0.0).sum(-1)
        forward = (other.exp() * (other - own)).sum(-1)
        backward = (own.exp() * (own - other)).sum(-1)
        between = (1 - settings.kl_beta) * forward + settings.kl_beta * backward
        regulariser = regulariser + strength * masked_mean(between, masked).mean()
        entropy = entropy + masked_mean(-(own.exp() * own).sum(-1), masked).mean() / len(steps)
    if settings.reduce_log_prob == "mean":
        policy = policy / batch.maskable.sum(-1)
    return (weight * policy).mean() + regulariser - settings.entropy_bonus * entropy


def dmmd_losses(
    student: Float[Tensor, "batch width vocabulary"],
    auxiliary: Float[Tensor, "batch width vocabulary"],
    teacher: Float[Tensor, "batch width vocabulary"],
    still: Bool[Tensor, "batch width"],
    weight: Float[Tensor, "batch"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The auxiliary's cross-entropy to the student, and the student's matching loss.

    METHODS 2b; each is to be differentiated for its own network alone.
    """
    count = still.sum().clamp_min(1)
    cross = -(student.detach().exp() * auxiliary).sum(-1)
    matching = weight[:, None] * (student.exp() * (auxiliary - teacher).detach()).sum(-1)
    return (cross * still).sum() / count, (matching * still).sum() / count
