"""Moment matching (D-MMD, arXiv 2603.20155): what the methods of all noise processes share.

The student takes one reverse step from z_t to z_s; an auxiliary denoiser learns what the clean
tokens are at the states it makes; where the auxiliary's law differs from the teacher's, the student
is moved along the difference. When the auxiliary equals the teacher the gradient is zero.

What the networks say at a position, its law, is a row of log-probabilities of the clean token.
"""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from didi_core.data.batches import TokenBatch, mean_or_zero
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.distill.distributed_mean import all_reduce_metrics, share_of_mean
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.passes import Pass
from didi_core.distill.reference import GroupedReference, ReferenceBatch
from didi_core.distill.student import DistilledStudent
from didi_core.models.noise import NoiseSettings
from didi_core.number_checks import (
    fraction_errors,
    negative_errors,
    positive_errors,
    positive_int_errors,
    range_errors,
)
from didi_core.sampling.predictor import Predictor


@dataclass
class MatchingSettings:
    """Settings that moment matching has for every noise process."""

    student_steps: int = 8
    """A reverse step of the student is at most 1 / student_steps of the way."""
    reveal_exponent: float = 1.0
    """The student is trained for, and sampled by default with, alpha = (k / K) ** exponent after
    step k of K."""
    start_share: float = 0.25
    """Share of rows at t = 1, where few-step samplers start; the rest have t uniform."""
    weight_range: tuple[float, float] = (0.1, 10.0)
    """Bounds on -alpha'(s) / (1 - alpha(s))."""
    soft_target: bool = True
    """The auxiliary denoiser learns the student's probabilities; else its hard draws."""
    teacher_weight: float = 0.0
    """Weight of the auxiliary denoiser's cross-entropy to the teacher."""
    auxiliary_updates: int = 1
    """Updates of the auxiliary denoiser for each of the student's."""
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    student: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(
            lr=2e-4, betas=(0.9, 0.99), warmup_steps=20, decay_fraction=0.3, clip_norm=1.0
        )
    )
    auxiliary: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(
            lr=4e-4, betas=(0.9, 0.99), warmup_steps=20, clip_norm=1.0
        )
    )
    """The auxiliary denoiser's optimiser."""
    ema: float = 0.99

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        return [
            *self.noise.problems(),
            *positive_int_errors(self, "student_steps", "auxiliary_updates"),
            *positive_errors(self, "reveal_exponent"),
            *fraction_errors(self, "start_share"),
            *range_errors(self, "weight_range", 0.0, math.inf),
            *negative_errors(self, "teacher_weight"),
        ]


@dataclass(frozen=True)
class MatchedState:
    """Holds a state that the student made, and what it thinks there of the clean tokens."""

    state: TokenBatch
    """z_s."""
    at: Bool[Tensor, "batch width"]
    """Positions at which the three networks are compared."""
    law: Float[Tensor, "at generable"]
    """The student's log p(x | z_t, z_s), without gradient: what the auxiliary learns."""
    gradient_carrier: Callable[[], Float[Tensor, "at generable"]]
    """Makes what carries the gradient: its product with the difference of the others is the
    student's loss. Asked for last, because it is as large as the law."""
    drawn: Int[Tensor, "at"] | None = None
    """Rank of the clean token that it drew, in place of `law`."""
    alpha: Float[Tensor, "batch"] | None = None
    """Of z_s, told to networks that are conditioned on time."""


class MatchingStudent(DistilledStudent):
    """Owns the auxiliary denoiser, which takes no noise, beside student and teacher."""

    settings: MatchingSettings
    graphs = 2  # the student's and the auxiliary's

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: MatchingSettings,
        seed: int,
    ) -> None:
        super().__init__(teacher, vocabulary, reference, settings, seed)
        self.schedule = LogLinearSchedule()
        auxiliary = copy.deepcopy(teacher).requires_grad_(True)
        self.auxiliary = self.train_beside("auxiliary", auxiliary, settings.auxiliary)

    @abstractmethod
    def student_transition(
        self,
        batch: TokenBatch,
        rows: Int[Tensor, "batch"],
        t: Float[Tensor, "batch"],
        s: Float[Tensor, "batch"],
        key: int,
    ) -> MatchedState:
        """Take the student's step from references noised at t to s; `key` is of its draws."""

    @abstractmethod
    def num_matched(
        self,
        batch: TokenBatch,
        rows: Int[Tensor, "batch"],
        t: Float[Tensor, "batch"],
        s: Float[Tensor, "batch"],
        key: int,
    ) -> int:
        """Count the positions that `student_transition` compares, without a network."""

    def clean_law(
        self,
        log_probs: Float[Tensor, "at generable"],
        matched: MatchedState,
        s: Float[Tensor, "batch"],
    ) -> Float[Tensor, "at generable"]:
        """Return log p(x | z_s) of a network's prediction at z_s: for masks the prediction."""
        del matched, s
        return log_probs

    def anchor_loss(
        self, batch: TokenBatch, t: Float[Tensor, "batch"], matched: MatchedState, whole_rows: int
    ) -> Tensor | float:
        """Return what is added to the student's loss; `whole_rows` are all of the update."""
        del batch, t, matched, whole_rows
        return 0.0

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Update the auxiliary as often as it is set to, and the student once, with the last."""
        figures: dict[str, float] = {}
        for extra in range(self.settings.auxiliary_updates - 1):
            figures = self._update(step, steps, draw=extra + 1, student_too=False)
        figures |= self._update(step, steps, draw=0, student_too=True)
        return all_reduce_metrics(self.fabric, figures)

    def _update(self, step: int, steps: int, draw: int, student_too: bool) -> dict[str, float]:
        """Update the auxiliary, and the student where it is its turn."""
        # Updates of one step draw references and numbers of their own.
        key = step * self.settings.auxiliary_updates + draw
        networks = [self.auxiliary, self.student] if student_too else [self.auxiliary]
        learn = partial(self._match, key=key, student_too=student_too)
        figures = self.accumulate(networks, key, learn)
        if not figures:
            return {}  # on every process alike: none may wait for another
        self.auxiliary.update(step, steps)
        if student_too:
            figures["gradient_norm"] = self.update_student(step, steps)
        return figures

    def _match(self, part: ReferenceBatch, key: int, student_too: bool) -> Pass:
        """Take a student's reverse step; gather the gradients of auxiliary and student there."""
        fabric, settings = self.fabric, self.settings
        batch, rows = part.batch, part.rows
        t, s = self.draw_times(key, rows)
        count = self.num_matched(batch, rows, t, s, key)
        whole, whole_rows = yield [count, len(batch)]
        if not whole:
            return {}
        with torch.set_grad_enabled(student_too):
            matched = self.student_transition(batch, rows, t, s, key)
        row = matched.at.nonzero()[:, 0]
        assert len(row) == count
        share = share_of_mean(fabric, count, whole)
        # Teacher and auxiliary are asked at z_s, where the student's step led, not at z_t.
        state, at = matched.state, matched.at
        asked = (state.tokens, state.lengths, at)
        teacher = self.teacher_log_probs(*asked, alpha=matched.alpha)
        predictor = Predictor(self.auxiliary, self.vocabulary)
        auxiliary = predictor.log_probs(*asked, alpha=matched.alpha)
        teacher, auxiliary = (self.clean_law(each, matched, s) for each in (teacher, auxiliary))
        loss = share * auxiliary_loss(
            auxiliary, matched.law, teacher, matched.drawn, settings.teacher_weight
        )
        self.auxiliary.backward(loss)
        figures = {"auxiliary_loss": float(loss.detach())}
        if student_too:
            # What the auxiliary said is a constant to the student's gradient.
            weight, difference = self.weight(s)[row], auxiliary.detach() - teacher
            # The metric is the loss at the student's own law; the carrier has its gradient alone.
            found = share * matching_loss(matched.law.exp(), difference, weight)
            figures |= {"matching_loss": float(found)}
            loss = share * matching_loss(matched.gradient_carrier(), difference, weight)
            loss = loss + self.anchor_loss(batch, t, matched, whole_rows)
            self.student.backward(loss)
        return figures

    def draw_times(
        self, key: int, rows: Int[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
        """Draw t, and s < t a random step of at most 1 / student_steps of the way back.

        Progress r runs from 0 (all noise) to 1; alpha = r ** reveal_exponent.
        """
        # Three numbers a row: whether it starts at t = 1, where else it starts, how far it goes.
        uniform = [self._uniform(Stream.TIME, key, rows, which) for which in range(3)]
        at_start = uniform[0] < self.settings.start_share
        before = torch.where(at_start, 0.0, uniform[1])
        after = (before + uniform[2] / self.settings.student_steps).clamp_max(1.0)
        exponent = self.settings.reveal_exponent
        # On the linear schedule alpha(t) = 1 - t.
        return (1.0 - before**exponent).float(), (1.0 - after**exponent).float()

    def corruption(
        self, batch: TokenBatch, rows: Int[Tensor, "batch"], key: int
    ) -> Float[Tensor, "batch width"]:
        """Draw the random number of each position by which the reference is noised."""
        position = torch.arange(batch.tokens.shape[1], device=rows.device)
        return self._uniform(Stream.CORRUPT, rows[:, None], position, key)

    def _uniform(self, stream: Stream, *keys: Tensor | int) -> Float[Tensor, "..."]:
        device = next(key.device for key in keys if isinstance(key, Tensor))
        return keyed_uniform(self.seed, stream, *keys, device=device)

    def weight(self, s: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """Return -alpha'(s) / (1 - alpha(s)), bounded."""
        return self.schedule.weight(s).clamp(*self.settings.weight_range)


def matching_loss(
    gradient_carrier: Float[Tensor, "at k"],
    difference: Float[Tensor, "at k"],
    weight: Float[Tensor, "at"],
) -> Float[Tensor, ""]:
    """Return the weighted mean of sum_c carrier(c) (log auxiliary(c) - log teacher(c)).

    Zero, with a zero gradient, where auxiliary and teacher agree.

    Args:
        gradient_carrier: the student's probabilities, or a product with them.
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
    """Return the cross-entropy to the student's step, and a share of that to the teacher.

    Args:
        drawn: the student's draws, to learn those; None to learn its probabilities.
    """
    if drawn is None:
        own = -(student.exp() * auxiliary).sum(-1)
    else:
        own = -auxiliary.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
    anchor = -(teacher.exp() * auxiliary).sum(-1)
    return mean_or_zero(own + teacher_weight * anchor)
