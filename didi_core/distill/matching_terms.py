"""The terms of moment matching's losses as pure functions, each checked by hand in the tests.

Source: discrete moment matching (D-MMD), arXiv 2603.20155. All laws are log-probabilities of the
clean token at the positions compared.
"""

from jaxtyping import Float, Int
from torch import Tensor

from didi_core.data.batches import mean_or_zero


def matching_loss(
    gradient_carrier: Float[Tensor, "at k"],
    difference: Float[Tensor, "at k"],
    weight: Float[Tensor, "at"],
) -> Float[Tensor, ""]:
    """Weighted mean over positions of sum_c moved(c) (log auxiliary(c) - log teacher(c)).

    Zero, with a zero gradient, where auxiliary and teacher agree.

    Args:
        moved: what carries the gradient, the student's probabilities or a product with them.
        difference: of the log-probabilities of auxiliary and teacher, without gradient.
    """
    return mean_or_zero(weight * (gradient_carrier * difference).sum(-1))


def auxiliary_loss(
    auxiliary: Float[Tensor, "at k"],
    student: Float[Tensor, "at k"],
    teacher: Float[Tensor, "at k"],
    drawn: Int[Tensor, "at"] | None,
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
