"""From the discriminator's log-odds to what the score function weighs each token by.

`credit=sequence` (published): the discriminator reads masked positions, and a row's mean log-odds
is the reward of all its tokens. `credit=token` (ours): it learns to read every position, and the
log-odds at a token that z'_tau shows are that token's own reward. At a masked position they would
not do: there the discriminator does not see the token, so they say nothing of it. Tokens hidden in
z'_tau get zero: what is not seen was not judged.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.batches import TokenBatch
from didi_core.distill import terms
from didi_core.distill.didi_settings import DidiSettings
from didi_core.rows import row_mean


@dataclass(frozen=True)
class MaskedState:
    """A state z'_tau and where it is masked."""

    tokens: Int[Tensor, "batch width"]
    masked: Bool[Tensor, "batch width"]


@dataclass(frozen=True)
class Judgement:
    """What the student's samples are worth."""

    advantage: Float[Tensor, "batch width"]
    """Weight of each token's log-probability; a constant to the gradient."""
    reward: Float[Tensor, "batch"]
    """Mean clipped log-odds of each row."""


@dataclass(frozen=True)
class Credit:
    """Where the discriminator reads, and how its log-odds become advantages (step 5)."""

    settings: DidiSettings

    def positions(self, batch: TokenBatch, state: MaskedState) -> Bool[Tensor, "batch width"]:
        """Where the discriminator is trained and asked."""
        return batch.maskable if self.settings.credit == "token" else state.masked

    def judge(self, logits: Float[Tensor, "n"], batch: TokenBatch, state: MaskedState) -> Judgement:
        """Advantages from the logits at `positions`, in row-major order."""
        if self.settings.credit == "token":
            return self._by_token(logits, batch, state)
        return self._by_sequence(logits, batch, state)

    def _by_sequence(self, logits: Tensor, batch: TokenBatch, state: MaskedState) -> Judgement:
        row = state.masked.nonzero()[:, 0]
        reward = terms.row_reward(logits, row, len(batch), self.settings.reward_clip)
        advantage = self.normalised(reward, self.settings.group_size, state.masked.any(-1))
        return Judgement(advantage[:, None].expand(batch.tokens.shape), reward)

    def _by_token(self, logits: Tensor, batch: TokenBatch, state: MaskedState) -> Judgement:
        """All visible tokens of a group are normalised together.

        A group's rows have one length and one tau, so their tokens compare; a position alone would
        have at most as many values as the group has rows, too few for a deviation.
        """
        clip = self.settings.reward_clip
        odds = torch.zeros_like(batch.tokens, dtype=logits.dtype)
        odds = odds.masked_scatter(batch.maskable, logits.clamp(-clip, clip))
        visible = batch.maskable & ~state.masked
        together = self.settings.group_size * odds.shape[1]
        advantage = self.normalised(odds.flatten(), together, visible.flatten()).view_as(odds)
        reward = row_mean(odds[visible], visible.nonzero()[:, 0], len(batch))
        return Judgement(advantage * visible, reward)

    def normalised(
        self, reward: Float[Tensor, "n"], together: int, judged: Bool[Tensor, "n"]
    ) -> Float[Tensor, "n"]:
        """Rewards normalised `together` at a time, where that is on."""
        if not self.settings.group_normalise:
            return reward
        return terms.grouped_advantage(reward, together, self.settings.advantage_clip, judged)
