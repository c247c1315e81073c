"""D-MMD of masked models (arXiv 2603.20155): no discriminator, no policy gradient.

The moment matching of `matching`. At positions that the step reveals the auxiliary denoiser and the
teacher agree, so only those still masked count, and a network's prediction there is the law of the
clean token itself.

With `renoise` the step is another: the student fills all masks of z_t, and z_s is what a fresh mask
at s leaves of that clean sequence, of tokens that z_t showed as well (arXiv 2609.40235 has it ahead
of the bridge). The auxiliary then learns the clean sequences the student makes, whatever z_t was.
With times s that have nothing to do with t besides (`coupled_time` off) this is IDLM (arXiv
2602.19066); docs/methods.md derives it.
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
from didi_core.distill.rollout import (
    ReverseStep,
    deduplicate,
    draw_revealed,
    reverse_step,
    with_own_tokens,
)
from didi_core.models.sharding import is_sharded
from didi_core.number_checks import fraction_errors, negative_errors

RENOISING_SAMPLER = "remdm(schedule=renoise)"
"""What samples as a student with `renoise` is trained: by masking its clean draws afresh."""
SAMPLERS = ("ancestral", "apart", "momentum", "momentum(positions=apart)", RENOISING_SAMPLER)
"""What a student's folder may name for `generate`."""


@dataclass
class DmmdSettings(MatchingSettings):
    """Settings of moment matching, with those that belong to masks alone."""

    reveal_exponent: float = 2.0
    """The student is trained for, and sampled by default with, alpha = (k / K) ** exponent after
    step k of K. Above 1 the first steps reveal few positions: those decide what the rest will be,
    and positions revealed together are drawn independently of each other."""
    sampler: str | None = None
    """What the student's folder names for `generate`: ancestral, apart, momentum,
    momentum(positions=apart) or remdm(schedule=renoise); null: the last with renoise, else
    whichever was found best in the program's domain."""
    renoise: bool = False
    """Mask the student's clean draw afresh at s, as tokens of its own; else keep what z_t showed
    and reveal some of its masks. Published with four `auxiliary_updates`."""
    coupled_time: bool = True
    """s is at most one step after t; else, with renoise alone, drawn by itself (IDLM)."""
    own_share: float = 0.0
    """Share of rows whose step starts from tokens the student drew itself, in its own steps and
    with the noise of the row, in place of the reference's (ours)."""
    start_anchor: float = 0.0
    """Weight of KL(teacher || student) at rows that start all masked (ours). The first step of the
    grid reveals next to nothing, and one position alone is drawn rightly from the teacher."""

    def __post_init__(self) -> None:
        if self.renoise and self.sampler is None:
            self.sampler = RENOISING_SAMPLER

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = super().problems()
        if self.sampler not in (None, *SAMPLERS):
            wrong.append(f"sampler={self.sampler} must be one of {', '.join(SAMPLERS)}")
        if not (self.coupled_time or self.renoise):
            wrong.append(
                "coupled_time=false needs renoise=true: a mask is not revealed backwards in time"
            )
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
        if self.settings.renoise:
            clean = batch.with_tokens(reverse.after)
            return self.renoised(batch, reverse, self._masked_afresh(clean, rows, s, key))
        still = still_masked(reverse)
        student = reverse.log_probs[still.among]
        drawn = None if self.settings.soft_target else reverse.drawn[still.among]
        state = batch.with_tokens(reverse.after)
        return MatchedMaskedState(
            state, still.at, student.detach(), student.exp, drawn, reverse=reverse
        )

    def num_matched(
        self,
        batch: TokenBatch,
        rows: Int[Tensor, "batch"],
        t: Float[Tensor, "batch"],
        s: Float[Tensor, "batch"],
        key: int,
    ) -> int:
        """Count the masks left at s: which positions they are does not depend on the tokens."""
        mask_id = self.vocabulary.mask_id
        if self.settings.renoise:
            tokens = self._masked_afresh(batch, rows, s, key)
            return int(((tokens == mask_id) & batch.maskable).sum())
        noised = self.process.corrupt(
            batch.tokens, batch.maskable, t, self.corruption(batch, rows, key)
        )
        masked = (noised == mask_id) & batch.maskable
        revealed = draw_revealed(masked, self._reveal(t, s), self.seed, rows, key, index=0)
        return int((~revealed).sum())

    def _masked_afresh(
        self,
        clean: TokenBatch,
        rows: Int[Tensor, "batch"],
        s: Float[Tensor, "batch"],
        key: int,
    ) -> Int[Tensor, "batch width"]:
        """Return z_s: the clean sequences after the step, masked at s by numbers of their own."""
        position = torch.arange(clean.tokens.shape[1], device=rows.device)
        uniform = self._uniform(Stream.REDRAW, rows[:, None], position, key)
        return self.process.corrupt(clean.tokens, clean.maskable, s, uniform)

    def renoised(
        self, batch: TokenBatch, reverse: ReverseStep, tokens: Int[Tensor, "batch width"]
    ) -> MatchedMaskedState:
        """Compare at every mask of z_s = `tokens`, made of the clean sequences of `reverse`.

        Where z_t was masked, too, the student's law of the clean token is its prediction there.
        Where z_t showed the token that is the law: all on one token, without gradient. The
        auxiliary has to learn there as well, or it would know only what stands at masks of z_t.
        """
        at = (tokens == self.vocabulary.mask_id) & batch.maskable
        rank = self.vocabulary.rank_of_id.to(at.device)[reverse.after[at]]
        # Both lists are in row-major order, so that the positions in both are in one order.
        predicted, among = reverse.masked[at].unsqueeze(-1), at[reverse.masked]
        none = reverse.log_probs.new_zeros(len(rank), self.vocabulary.num_generable)
        shown = none.scatter(-1, rank.unsqueeze(-1), 1.0)
        student = reverse.log_probs[among]
        law = shown.log().masked_scatter(predicted, student.detach())

        def gradient_carrier() -> Float[Tensor, "at generable"]:
            return shown.masked_scatter(predicted, student.exp())

        drawn = None if self.settings.soft_target else rank
        state = batch.with_tokens(tokens)
        return MatchedMaskedState(state, at, law, gradient_carrier, drawn, reverse=reverse)

    def draw_times(
        self, key: int, rows: Int[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
        """Draw t and s; where they are not coupled, the progress at s is uniform as well."""
        t, s = super().draw_times(key, rows)
        if self.settings.coupled_time:
            return t, s
        after = self._uniform(Stream.TIME, key, rows, 4)
        return t, (1.0 - after**self.settings.reveal_exponent).float()

    def anchor_loss(
        self, batch: TokenBatch, t: Float[Tensor, "batch"], matched: MatchedState, whole_rows: int
    ) -> Tensor | float:
        """Return the weighted divergence at the start, this pass's part of it."""
        if not self.settings.start_anchor:
            return 0.0
        assert isinstance(matched, MatchedMaskedState) and matched.reverse is not None
        anchor = self.start_divergence(batch, t, matched.reverse)
        share = share_of_mean(self.fabric, len(batch), whole_rows)
        return share * self.settings.start_anchor * anchor

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
        """Mask references at t, then take one reverse step of the student to s.

        With `renoise` it goes to the end: every mask is filled.
        """
        uniform = self.corruption(batch, rows, key)
        noised = self.process.corrupt(batch.tokens, batch.maskable, t, uniform)
        state = self._own_states(batch.with_tokens(noised), rows, uniform, key)
        reveal = self._reveal(t, s)
        mask_id, student = self.vocabulary.mask_id, self.student_predictor()
        keys = (self.seed, rows, key)
        # Hard targets need a draw where the mask stays, too; soft ones the probabilities alone.
        hard = not self.settings.soft_target
        return reverse_step(student, state, mask_id, reveal, *keys, index=0, draw_all=hard)

    def _reveal(
        self, t: Float[Tensor, "batch"], s: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch"]:
        """Return the probability by which a step from t to s reveals a mask."""
        if self.settings.renoise:
            return torch.ones_like(t)
        alpha_t, alpha_s = self.schedule.alpha(t), self.schedule.alpha(s)
        # q(z_s | z_t, x): a mask is revealed with (alpha_s - alpha_t) / (1 - alpha_t).
        return (alpha_s - alpha_t) / (1.0 - alpha_t).clamp_min(1e-12)

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
