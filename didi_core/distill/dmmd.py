"""D-MMD, discrete moment matching (arXiv 2603.20155): no discriminator, no policy gradient.

The student takes one reverse step from z_t to z_s; an auxiliary denoiser learns to denoise the
states it makes; where the auxiliary's prediction differs from the teacher's, the student's soft
probabilities are moved along the difference. At positions revealed in z_s both agree, so only
those still masked count. When the auxiliary equals the teacher the gradient is zero.
"""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from didi_core.batches import TokenBatch
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.distill import terms
from didi_core.distill.dmmd_settings import DmmdSettings
from didi_core.distill.dmmd_terms import auxiliary_loss, matching_loss, still_masked
from didi_core.distill.equal_rows import equal_rows
from didi_core.distill.method import MethodEntry
from didi_core.distill.own_states import own_tokens
from didi_core.distill.reference import GroupedReference
from didi_core.distill.rollout import ReverseStep, reverse_step
from didi_core.distill.student import DistilledStudent
from didi_core.distill.whole_batch import share_of_mean, whole_count, whole_figures
from didi_core.models.sharding import is_sharded
from didi_core.rows import row_mean
from didi_core.sampling.predictor import Predictor
from didi_core.vocabulary import Vocabulary


class MomentMatching(DistilledStudent):
    """Beside student and teacher it owns the auxiliary denoiser, which takes no noise."""

    settings: DmmdSettings
    graphs = 2  # the student's and the auxiliary's

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: DmmdSettings,
        seed: int,
    ) -> None:
        super().__init__(teacher, vocabulary, reference, settings, seed)
        self.process = AbsorbingProcess(vocabulary.mask_id)
        auxiliary = copy.deepcopy(teacher).requires_grad_(True)
        self.auxiliary = self.train_beside("auxiliary", auxiliary, settings.auxiliary)

    def step(self, step: int, steps: int) -> dict[str, float]:
        figures: dict[str, float] = {}
        for extra in range(self.settings.auxiliary_updates - 1):
            figures = self._update(step, steps, draw=extra + 1, student_too=False)
        figures |= self._update(step, steps, draw=0, student_too=True)
        return whole_figures(self.fabric, figures)

    def _update(self, step: int, steps: int, draw: int, student_too: bool) -> dict[str, float]:
        """One pass: a student's reverse step, the auxiliary's update, then the student's."""
        fabric, settings = self.fabric, self.settings
        key = step * settings.auxiliary_updates + draw
        reference = self.reference.batch(key, fabric.global_rank, fabric.world_size)
        batch, rows = reference.batch.to(fabric.device), reference.rows.to(fabric.device)
        t, s = self.draw_times(key, rows)
        with torch.set_grad_enabled(student_too):
            reverse = self.student_step(batch, rows, t, s, key)
        still = still_masked(reverse)
        part = share_of_mean(fabric, len(still.row))
        if not whole_count(fabric, len(still.row)):
            return {}  # on every process alike: none may wait for another
        teacher = self.teacher_log_probs(reverse.after, batch.lengths, still.at)
        student = reverse.log_probs[still.among]
        predictor = Predictor(self.auxiliary, self.vocabulary)
        auxiliary = predictor.log_probs(reverse.after, batch.lengths, still.at)
        drawn = None if settings.soft_target else reverse.drawn[still.among]
        loss = part * auxiliary_loss(
            auxiliary, student.detach(), teacher, drawn, settings.teacher_weight
        )
        self.auxiliary.update(loss, step, steps)
        figures = {"auxiliary_loss": float(loss.detach())}
        if student_too:
            weight = self.weight(s)[still.row]
            loss = part * matching_loss(student, auxiliary.detach(), teacher, weight)
            figures |= {"matching_loss": float(loss.detach())}
            if settings.start_anchor:
                anchor = self.start_divergence(batch, t, reverse)
                loss = loss + share_of_mean(fabric, len(batch)) * settings.start_anchor * anchor
            figures["gradient_norm"] = self.update_student(loss, step, steps)
        return figures

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
        equal = equal_rows(*inputs)
        teacher = self.teacher_log_probs(*(each[equal.called] for each in inputs))[equal.entry]
        row = reverse.row
        each = terms.kl(teacher, reverse.log_probs[start[row]])
        return row_mean(each, row[start[row]], len(batch)).mean()

    def draw_times(
        self, key: int, rows: Int[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
        """t, and s < t a random step of at most 1 / student_steps of the way back.

        Progress r runs from 0 (all masked) to 1; alpha = r ** reveal_exponent.
        """
        uniform = [self._uniform(Stream.TIME, key, rows, which) for which in range(3)]
        at_start = uniform[0] < self.settings.start_share
        before = torch.where(at_start, 0.0, uniform[1])
        after = (before + uniform[2] / self.settings.student_steps).clamp_max(1.0)
        exponent = self.settings.reveal_exponent
        return (1.0 - before**exponent).float(), (1.0 - after**exponent).float()

    def student_step(
        self, batch: TokenBatch, rows: Tensor, t: Tensor, s: Tensor, key: int
    ) -> ReverseStep:
        """References masked at t, then one reverse step of the student to s."""
        position = torch.arange(batch.tokens.shape[1], device=rows.device)
        uniform = self._uniform(Stream.CORRUPT, rows[:, None], position, key)
        noised = self.process.corrupt(batch.tokens, batch.maskable, t, uniform)
        state = self._own_states(batch.with_tokens(noised), rows, uniform, key)
        alpha_t, alpha_s = self.process.schedule.alpha(t), self.process.schedule.alpha(s)
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
            tokens = own_tokens(
                student, state.rows(own), progress, self.settings.student_steps, keys, sharded
            )
        kept = chosen[own, None]
        tokens = torch.where(kept, tokens, state.tokens[own])
        return state.with_tokens(state.tokens.index_copy(0, own, tokens))

    def _uniform(self, stream: Stream, *keys: Tensor | int) -> Float[Tensor, "..."]:
        device = next(key.device for key in keys if isinstance(key, Tensor))
        return keyed_uniform(self.seed, stream, *keys, device=device)

    def weight(self, s: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """-alpha'(s) / (1 - alpha(s)), bounded."""
        return self.process.schedule.weight(s).clamp(*self.settings.weight_range)


ENTRY = MethodEntry("dmmd", DmmdSettings, MomentMatching)
