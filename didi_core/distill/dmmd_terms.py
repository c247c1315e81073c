"""The terms of D-MMD's losses as pure functions, each checked by hand in the tests.

Source: discrete moment matching, arXiv 2603.20155. All distributions are log-probabilities at the
positions masked both before and after the student's step.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.distill.rollout import ReverseStep
from didi_core.rows import mean_or_zero


@dataclass(frozen=True)
class StillMasked:
    """Positions masked both before and after the student's step."""

    at: Bool[Tensor, "batch width"]
    among: Bool[Tensor, "masked"]
    """The same, among the positions masked before the step."""
    row: Int[Tensor, "still"]


def still_masked(reverse: ReverseStep) -> StillMasked:
    """Positions that the reverse step left masked."""
    among = ~reverse.revealed
    at = torch.zeros_like(reverse.masked)
    at[reverse.masked] = among
    return StillMasked(at, among, reverse.row[among])


def matching_loss(
    student: Float[Tensor, "still k"],
    auxiliary: Float[Tensor, "still k"],
    teacher: Float[Tensor, "still k"],
    weight: Float[Tensor, "still"],
) -> Float[Tensor, ""]:
    """Weighted mean over positions of sum_c student(c) (log auxiliary(c) - log teacher(c)).

    Only the student's log-probabilities carry a gradient. Zero, with a zero gradient, when
    auxiliary and teacher agree.
    """
    difference = auxiliary - teacher
    return mean_or_zero(weight * (student.exp() * difference).sum(-1))


def auxiliary_loss(
    auxiliary: Float[Tensor, "still k"],
    student: Float[Tensor, "still k"],
    teacher: Float[Tensor, "still k"],
    drawn: Int[Tensor, "still"] | None,
    teacher_weight: float,
) -> Float[Tensor, ""]:
    """Cross-entropy to the student's step, and a share of that to the teacher.

    Args:
        drawn: the student's draws, to learn those; None to learn its probabilities.
    """
    if drawn is None:
        own = -(student.exp() * auxiliary).sum(-1)
    else:
        own = -auxiliary.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
    anchor = -(teacher.exp() * auxiliary).sum(-1)
    return mean_or_zero(own + teacher_weight * anchor)
