"""D-MMD, discrete moment matching (arXiv 2603.20155): no discriminator, no policy gradient.

The student takes one reverse step from z_t to z_s; an auxiliary denoiser learns to denoise the
states it makes; where the auxiliary's prediction differs from the teacher's, the student's soft
probabilities are moved along the difference. At positions revealed in z_s both agree, so only
those still masked count. When the auxiliary equals the teacher the gradient is zero.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from lightning.fabric import Fabric
from torch import Tensor, nn

from didi_core.batches import TokenBatch
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.distill.dmmd_settings import DmmdSettings
from didi_core.distill.reference import GroupedReference
from didi_core.distill.rollout import ReverseStep, reverse_step
from didi_core.distill.updates import Trained
from didi_core.distill.whole_batch import share_of_mean, whole_count, whole_figures
from didi_core.models.ema import ExponentialMovingAverage
from didi_core.rows import mean_or_zero
from didi_core.sampling.predictor import Predictor
from didi_core.vocabulary import Vocabulary


@dataclass(frozen=True)
class StillMasked:
    """Positions masked both before and after the student's step."""

    at: Bool[Tensor, "batch width"]
    among: Bool[Tensor, "masked"]
    """The same, among the positions masked before the step."""
    row: Int[Tensor, "still"]


class MomentMatching:
    """Owns the student, the frozen teacher and the auxiliary denoiser."""

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: DmmdSettings,
        seed: int,
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.vocabulary = vocabulary
        self.reference = reference
        self.process = AbsorbingProcess(vocabulary.mask_id)
        self.teacher = teacher.eval().requires_grad_(False)
        student = copy.deepcopy(teacher).requires_grad_(True)
        auxiliary = copy.deepcopy(teacher).requires_grad_(True)
        self.student = Trained(student, settings.student, forward_methods=("logits_at",))
        self.auxiliary = Trained(auxiliary, settings.auxiliary, forward_methods=("logits_at",))
        self.ema = ExponentialMovingAverage(student, settings.ema)

    def setup(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.student.setup(fabric)
        self.auxiliary.setup(fabric)
        self.teacher.to(fabric.device)
        self.ema.module.to(fabric.device)

    def step(self, step: int, steps: int) -> dict[str, float]:
        figures: dict[str, float] = {}
        for extra in range(self.settings.auxiliary_updates - 1):
            figures = self._update(step, steps, draw=extra + 1, student_too=False)
        figures |= self._update(step, steps, draw=0, student_too=True)
        return whole_figures(self.fabric, figures)

    def _update(self, step: int, steps: int, draw: int, student_too: bool) -> dict[str, float]:
        """One pass: a student's reverse step, the auxiliary's update, then the student's."""
        fabric = self.fabric
        key = step * self.settings.auxiliary_updates + draw
        reference = self.reference.batch(key, fabric.global_rank, fabric.world_size)
        batch, rows = reference.batch.to(fabric.device), reference.rows.to(fabric.device)
        t, s = self.draw_times(key, rows)
        with torch.set_grad_enabled(student_too):
            reverse = self.student_step(batch, rows, t, s, key)
        still = still_masked(reverse)
        part = share_of_mean(fabric, len(still.row))
        if not whole_count(fabric, len(still.row)):
            return {}  # on every process alike: none may wait for another
        teacher = self._teacher(reverse.after, batch.lengths, still.at)
        student = reverse.log_probs[still.among]
        predictor = Predictor(self.auxiliary, self.vocabulary)
        auxiliary = predictor.log_probs(reverse.after, batch.lengths, still.at)
        weight = self._weight(s)[still.row]
        drawn = reverse.drawn[still.among]
        loss = part * self.auxiliary_loss(auxiliary, student.detach(), drawn, teacher)
        self.auxiliary.update(loss, step, steps)
        figures = {"auxiliary_loss": float(loss.detach())}
        if student_too:
            loss = part * matching_loss(student, auxiliary.detach(), teacher, weight)
            figures |= {"matching_loss": float(loss.detach())}
            figures["gradient_norm"] = self.student.update(loss, step, steps)
            self.ema.update(self.student.module)
        return figures

    def draw_times(
        self, key: int, rows: Int[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
        """t, and s < t a random step of at most 1 / student_steps of the way back.

        Progress r runs from 0 (all masked) to 1; alpha = r ** reveal_exponent.
        """
        uniform = [
            keyed_uniform(self.seed, Stream.TIME, key, rows, which, device=rows.device)
            for which in range(3)
        ]
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
        uniform = keyed_uniform(
            self.seed, Stream.CORRUPT, rows[:, None], position, key, device=rows.device
        )
        noised = self.process.corrupt(batch.tokens, batch.maskable, t, uniform)
        alpha_t, alpha_s = self.process.schedule.alpha(t), self.process.schedule.alpha(s)
        reveal = (alpha_s - alpha_t) / (1.0 - alpha_t).clamp_min(1e-12)
        student = Predictor(self.student, self.vocabulary)
        return reverse_step(
            student,
            batch.with_tokens(noised),
            self.vocabulary.mask_id,
            reveal,
            self.seed,
            rows,
            key,
            0,
        )

    @torch.no_grad()
    def _teacher(self, tokens: Tensor, lengths: Tensor, at: Tensor) -> Float[Tensor, "still k"]:
        with self.fabric.autocast():
            return Predictor(self.teacher, self.vocabulary).log_probs(tokens, lengths, at)

    def _weight(self, s: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        return self.process.schedule.weight(s).clamp(*self.settings.weight_range)

    def auxiliary_loss(
        self,
        auxiliary: Float[Tensor, "still k"],
        student: Float[Tensor, "still k"],
        drawn: Int[Tensor, "still"],
        teacher: Float[Tensor, "still k"],
    ) -> Float[Tensor, ""]:
        """Cross-entropy to the student's step, and a share of that to the teacher."""
        if self.settings.soft_target:
            own = -(student.exp() * auxiliary).sum(-1)
        else:
            own = -auxiliary.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
        anchor = -(teacher.exp() * auxiliary).sum(-1)
        return mean_or_zero(own + self.settings.teacher_weight * anchor)

    def result(self) -> nn.Module:
        return self.ema.module

    def state_dict(self) -> dict[str, Any]:
        return {
            "student": self.student.state_dict(),
            "auxiliary": self.auxiliary.state_dict(),
            "ema": self.ema.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.student.load_state_dict(state["student"])
        self.auxiliary.load_state_dict(state["auxiliary"])
        self.ema.load_state_dict(state["ema"])


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

    All three are log-probabilities; only the student's carry a gradient. Zero, with a zero
    gradient, when auxiliary and teacher agree.
    """
    difference = auxiliary - teacher
    return mean_or_zero(weight * (student.exp() * difference).sum(-1))
