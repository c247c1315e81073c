"""D-MMD of masked models (arXiv 2603.20155): no discriminator, no policy gradient.

The moment matching of `matching`. At positions that the step reveals the auxiliary denoiser and the
teacher agree, so only those still masked count, and a network's prediction there is the law of the
clean token itself.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.data.batches import TokenBatch, segment_mean
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream
from didi_core.distill import terms
from didi_core.distill.deduplicate import deduplicate
from didi_core.distill.distributed_mean import share_of_mean
from didi_core.distill.dmmd_settings import DmmdSettings
from didi_core.distill.matching import MatchedState, MatchingStudent
from didi_core.distill.method import MethodEntry
from didi_core.distill.on_policy import on_policy_tokens
from didi_core.distill.rollout import ReverseStep, reverse_step
from didi_core.models.sharding import is_sharded


@dataclass(frozen=True)
class StillMasked:
    """Positions masked both before and after the student's step."""

    at: Bool[Tensor, "batch width"]
    among: Bool[Tensor, "masked"]
    """The same, among the positions masked before the step."""


def still_masked(reverse: ReverseStep) -> StillMasked:
    """Positions that the reverse step left masked."""
    among = ~reverse.revealed
    at = torch.zeros_like(reverse.masked)
    at[reverse.masked] = among
    return StillMasked(at, among)


@dataclass(frozen=True)
class MatchedMaskedState(MatchedState):
    """With the step that led to it, which the anchor is made of."""

    reverse: ReverseStep | None = None


class MomentMatching(MatchingStudent):
    """Students of masked teachers, with a noise input where it is asked for."""

    settings: DmmdSettings

    @cached_property
    def process(self) -> AbsorbingProcess:
        return AbsorbingProcess(self.vocabulary.mask_id, self.schedule)

    def student_transition(
        self,
        batch: TokenBatch,
        rows: Int[Tensor, "batch"],
        t: Float[Tensor, "batch"],
        s: Float[Tensor, "batch"],
        key: int,
    ) -> MatchedMaskedState:
        reverse = self.student_step(batch, rows, t, s, key)
        still = still_masked(reverse)
        student = reverse.log_probs[still.among]
        drawn = None if self.settings.soft_target else reverse.drawn[still.among]
        state = batch.with_tokens(reverse.after)
        return MatchedMaskedState(
            state, still.at, student.detach(), student.exp, drawn, reverse=reverse
        )

    def anchor_loss(
        self, batch: TokenBatch, t: Float[Tensor, "batch"], matched: MatchedState
    ) -> Tensor | float:
        if not self.settings.start_anchor:
            return 0.0
        assert isinstance(matched, MatchedMaskedState) and matched.reverse is not None
        anchor = self.start_divergence(batch, t, matched.reverse)
        return share_of_mean(self.fabric, len(batch)) * self.settings.start_anchor * anchor

    def start_divergence(
        self, batch: TokenBatch, t: Float[Tensor, "batch"], reverse: ReverseStep
    ) -> Float[Tensor, ""]:
        """Mean over all rows of KL(teacher || student) a masked position; 0 in rows with t < 1."""
        start = t >= 1.0
        rows = start.nonzero()[:, 0]
        if not len(rows):
            if not is_sharded(self.teacher):
                return reverse.log_probs.new_zeros(())
            rows = rows.new_zeros(1)  # another process may have some, and calls the teacher
        masked = reverse.masked & start[:, None]
        inputs = (reverse.before[rows], batch.lengths[rows], masked[rows])
        # All mask: rows of one length are one input to the teacher.
        equal = deduplicate(*inputs)
        teacher = self.teacher_log_probs(*(each[equal.called] for each in inputs))[equal.entry]
        row = reverse.row
        each = terms.kl(teacher, reverse.log_probs[start[row]])
        return segment_mean(each, row[start[row]], len(batch)).mean()

    def student_step(
        self, batch: TokenBatch, rows: Tensor, t: Tensor, s: Tensor, key: int
    ) -> ReverseStep:
        """References masked at t, then one reverse step of the student to s."""
        uniform = self.corruption(batch, rows, key)
        noised = self.process.corrupt(batch.tokens, batch.maskable, t, uniform)
        state = self._own_states(batch.with_tokens(noised), rows, uniform, key)
        alpha_t, alpha_s = self.schedule.alpha(t), self.schedule.alpha(s)
        reveal = (alpha_s - alpha_t) / (1.0 - alpha_t).clamp_min(1e-12)
        mask_id, student = self.vocabulary.mask_id, self.student_predictor()
        keys = (self.seed, rows, key)
        hard = not self.settings.soft_target
        return reverse_step(student, state, mask_id, reveal, *keys, index=0, draw_all=hard)

    def _own_states(
        self, state: TokenBatch, rows: Tensor, uniform: Float[Tensor, "batch width"], key: int
    ) -> TokenBatch:
        """`state` with the tokens of some rows replaced by the student's own."""
        if not self.settings.own_share:
            return state
        chosen = self._uniform(Stream.TIME, key, rows, 3) < self.settings.own_share
        own = chosen.nonzero()[:, 0]
        student, sharded = self.student_predictor(training=False), is_sharded(self.student.module)
        if not len(own):
            if not sharded:
                return state
            own = torch.zeros(1, dtype=torch.long, device=rows.device)
        progress = uniform[own] ** (1.0 / self.settings.reveal_exponent)
        keys = (self.seed, rows[own], key)
        with self.fabric.autocast():
            tokens = on_policy_tokens(
                student, state.rows(own), progress, self.settings.student_steps, keys, sharded
            )
        kept = chosen[own, None]
        tokens = torch.where(kept, tokens, state.tokens[own])
        return state.with_tokens(state.tokens.index_copy(0, own, tokens))


ENTRY = MethodEntry("dmmd", DmmdSettings, MomentMatching)
