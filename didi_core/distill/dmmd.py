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
from didi_core.distill.distributed_mean import share_of_mean
from didi_core.distill.matching import MatchedState, MatchingSettings, MatchingStudent
from didi_core.distill.method import MethodEntry
from didi_core.distill.rollout import ReverseStep, deduplicate, reverse_step, with_own_tokens
from didi_core.models.sharding import is_sharded
from didi_core.number_checks import fraction_errors, negative_errors


@dataclass
class DmmdSettings(MatchingSettings):
    """Settings of moment matching, with those that belong to masks alone."""

    reveal_exponent: float = 2.0
    """The student is trained for, and sampled by default with, alpha = (k / K) ** exponent after
    step k of K. Above 1 the first steps reveal few positions: those decide what the rest will be,
    and positions revealed together are drawn independently of each other."""
    sampler: str | None = None
    """What the student's folder names for `generate`: ancestral or apart; null: whichever was
    found better in the program's domain."""
    own_share: float = 0.0
    """Share of rows whose step starts from tokens the student drew itself, in its own steps and
    with the noise of the row, in place of the reference's (ours)."""
    start_anchor: float = 0.0
    """Weight of KL(teacher || student) at rows that start all masked (ours). The first step of the
    grid reveals next to nothing, and one position alone is drawn rightly from the teacher."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = super().problems()
        if self.sampler not in (None, "ancestral", "apart"):
            wrong.append(f"sampler={self.sampler} must be ancestral or apart")
        return wrong + fraction_errors(self, "own_share") + negative_errors(self, "start_anchor")


@dataclass(frozen=True)
class StillMasked:
    """Says which positions are masked both before and after the student's step."""

    at: Bool[Tensor, "batch width"]
    among: Bool[Tensor, "masked"]
    """The same, among the positions masked before the step."""


def still_masked(reverse: ReverseStep) -> StillMasked:
    """Return the positions that the reverse step left masked."""
    among = ~reverse.revealed
    at = torch.zeros_like(reverse.masked)
    at[reverse.masked] = among
    return StillMasked(at, among)


@dataclass(frozen=True)
class MatchedMaskedState(MatchedState):
    """Holds the step that led to the state, too: the anchor is made of it."""

    reverse: ReverseStep | None = None


class MomentMatching(MatchingStudent):
    """Trains students of masked teachers, with a noise input where it is asked for."""

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
        """Take the step, and compare where masks are left.

        There the law of the clean token is the student's prediction at z_t as it is, and what
        carries the gradient is its probabilities.
        """
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
        """Return the weighted divergence at the start, this process's part of it."""
        if not self.settings.start_anchor:
            return 0.0
        assert isinstance(matched, MatchedMaskedState) and matched.reverse is not None
        anchor = self.start_divergence(batch, t, matched.reverse)
        return share_of_mean(self.fabric, len(batch)) * self.settings.start_anchor * anchor

    def start_divergence(
        self, batch: TokenBatch, t: Float[Tensor, "batch"], reverse: ReverseStep
    ) -> Float[Tensor, ""]:
        """Return KL(teacher || student) a masked position, a mean over all rows; 0 where t < 1."""
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
        row = reverse.row  # of each masked position; `start[row]` picks those of starting rows
        each = terms.kl(teacher, reverse.log_probs[start[row]])
        return segment_mean(each, row[start[row]], len(batch)).mean()

    def student_step(
        self, batch: TokenBatch, rows: Tensor, t: Tensor, s: Tensor, key: int
    ) -> ReverseStep:
        """Mask references at t, then take one reverse step of the student to s."""
        uniform = self.corruption(batch, rows, key)
        noised = self.process.corrupt(batch.tokens, batch.maskable, t, uniform)
        state = self._own_states(batch.with_tokens(noised), rows, uniform, key)
        alpha_t, alpha_s = self.schedule.alpha(t), self.schedule.alpha(s)
        # q(z_s | z_t, x): a mask is revealed with (alpha_s - alpha_t) / (1 - alpha_t).
        reveal = (alpha_s - alpha_t) / (1.0 - alpha_t).clamp_min(1e-12)
        mask_id, student = self.vocabulary.mask_id, self.student_predictor()
        keys = (self.seed, rows, key)
        # Hard targets need a draw where the mask stays, too; soft ones the probabilities alone.
        hard = not self.settings.soft_target
        return reverse_step(student, state, mask_id, reveal, *keys, index=0, draw_all=hard)

    def _own_states(
        self, state: TokenBatch, rows: Tensor, uniform: Float[Tensor, "batch width"], key: int
    ) -> TokenBatch:
        """Return `state` with the tokens of some rows replaced by the student's own."""
        if not self.settings.own_share:
            return state
        chosen = self._uniform(Stream.TIME, key, rows, 3) < self.settings.own_share
        student, sharded = self.student_predictor(training=False), is_sharded(self.student.module)
        # A position is visible at t where its number u lies below alpha(t) = r ** exponent: it was
        # revealed at progress r = u ** (1 / exponent).
        progress = uniform ** (1.0 / self.settings.reveal_exponent)
        keys = (self.seed, rows, key)
        with self.fabric.autocast():
            tokens = with_own_tokens(
                student, state, chosen, progress, self.settings.student_steps, keys, sharded
            )
        return state.with_tokens(tokens)


ENTRY = MethodEntry(
    "dmmd",
    DmmdSettings,
    MomentMatching,
    summary="moment matching: each position moves by where teacher and student's law differ",
)
