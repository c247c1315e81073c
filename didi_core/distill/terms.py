"""Divergences of two laws of tokens, which the losses of several methods are made of."""

from jaxtyping import Float
from torch import Tensor


def divergence(
    student: Float[Tensor, "n k"], teacher: Float[Tensor, "n k"], kind: str, beta: float
) -> Float[Tensor, "n"]:
    """Return a divergence of log-probabilities, in nats a position.

    forward is KL(teacher || student); backward KL(student || teacher); jeffreys
    (1 - beta) forward + beta backward, as in the released code's convention.
    """
    if kind == "forward":
        return kl(teacher, student)
    if kind == "backward":
        return kl(student, teacher)
    return (1 - beta) * kl(teacher, student) + beta * kl(student, teacher)


def kl(p: Float[Tensor, "n k"], q: Float[Tensor, "n k"]) -> Float[Tensor, "n"]:
    """Return KL(p || q) of log-probabilities; the entropy of p is in it, so KL(p, p) is 0."""
    return (p.exp() * (p - q)).sum(-1)


def entropy(log_probs: Float[Tensor, "n k"]) -> Float[Tensor, "n"]:
    """Return the entropy in nats."""
    return -(log_probs.exp() * log_probs).sum(-1)
