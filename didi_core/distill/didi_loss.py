"""DiDi-Instruct's student loss: score function, divergence from the teacher, entropy bonus."""

from collections.abc import Callable
from typing import cast

from jaxtyping import Float
from torch import Tensor

from didi_core.data.batches import TokenBatch, segment_mean, segment_sum
from didi_core.distill import terms
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.rollout import ReverseStep

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
    """The loss of METHODS 2, steps 5 to 7, and its parts as figures.

    Args:
        reverse: the student's reverse steps, with gradient.
        advantage: of each row.
        weight: omega / pi of each row.
    """
    num_rows = len(batch)
    scored = advantage * sum(segment_sum(s.drawn_log_prob(), s.row, num_rows) for s in reverse)
    if settings.reduce_log_prob == "mean":
        scored = scored / batch.maskable.sum(-1)
    policy = -(weight * scored).mean()
    strengths = (settings.kl_start, settings.kl_middle)
    divergence = [_divergence(settings, batch, step, teacher) for step in reverse]
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
    """Mean over rows of the mean over masked positions, in nats."""
    called = slice(None) if step.equal is None else step.equal.called
    expected = teacher(step.before[called], batch.lengths[called], step.masked[called])
    each = terms.divergence(step.log_probs, expected, settings.kl_kind, settings.kl_beta)
    return _mean_of_rows(step, each)


def _mean_of_rows(step: ReverseStep, entries: Float[Tensor, "entries"]) -> Float[Tensor, ""]:
    """Mean over rows of the mean over masked positions."""
    return segment_mean(step.at_masked(entries), step.row, len(step.before)).mean()
