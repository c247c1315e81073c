"""From the discriminator's log-odds to what the score function weighs each row by.

The discriminator reads masked positions, and a row's mean log-odds is the reward of all its tokens:
every position sees the whole state under one label, so that the best log-odds are the same
everywhere, and no position's say more of one token than of another.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.distill import terms
from didi_core.distill.didi_settings import DidiSettings


@dataclass(frozen=True)
class MaskedState:
    """A state z'_tau and where it is masked."""

    tokens: Int[Tensor, "batch width"]
    masked: Bool[Tensor, "batch width"]


@dataclass(frozen=True)
class Judgement:
    """What the student's samples are worth."""

    advantage: Float[Tensor, "batch"]
    """Weight of each row's log-probability; a constant to the gradient."""
    reward: Float[Tensor, "batch"]
    """Mean clipped log-odds of each row."""


def judge(
    settings: DidiSettings, logits: Float[Tensor, "n"], masked: Bool[Tensor, "batch width"]
) -> Judgement:
    """Return rewards and advantages of rows (step 5).

    Args:
        logits: of the discriminator at the masked positions, in row-major order.
    """
    row = masked.nonzero()[:, 0]
    reward = terms.row_reward(logits, row, len(masked), settings.reward_clip)
    return Judgement(advantage(settings, reward, masked.any(-1)), reward)


def advantage(
    settings: DidiSettings, reward: Float[Tensor, "batch"], judged: Bool[Tensor, "batch"]
) -> Float[Tensor, "batch"]:
    """Return rewards normalised within groups, where that is on; else as they are."""
    if not settings.group_normalise:
        return reward
    return terms.grouped_advantage(
        reward,
        settings.group_size,
        settings.advantage_clip,
        judged,
        fewer=int(settings.group_deviation == "sample"),
    )
