"""Contrast: learn the law that lies beyond the teacher, away from what few steps make of it (ours).

1. A weak network A begins as the teacher T and is trained for a moment by the plain masked loss on
   T's own draws in few steps. Their marginals are T's, and the dependences that few steps break are
   broken in them.
2. The student learns the guided law, log p* = log-softmax(log T + w (log T - log A)), at masked
   positions by KL(p* || student). A part of the rows are references, the others the student's own
   draws, masked again. Where nothing is broken A is T, and so is p*.

With `networks=two` the first part is all: T stays as it is, and `--sampler contrast` asks both.

The phases are parts of a run's updates. Each has its own warm-up and decay, and a warm-up takes at
most a tenth of its phase, so that a short run is a small copy of a long one.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from lightning.fabric import Fabric
from torch import Tensor, nn

from didi_core.data.batches import TokenBatch
from didi_core.data.vocabulary import Vocabulary
from didi_core.distill import terms
from didi_core.distill.distributed_mean import all_reduce_metrics, share_of_mean
from didi_core.distill.method import Distillation, MethodEntry, Network
from didi_core.distill.optimizers import OptimizerSettings, TimedSteps
from didi_core.distill.passes import Pass
from didi_core.distill.reference import GroupedReference, ReferenceBatch
from didi_core.distill.states import States
from didi_core.distill.student import DistilledStudent
from didi_core.distill.updates import Trained, mesh_of
from didi_core.models.denoiser import Denoiser
from didi_core.models.ema import ExponentialMovingAverage
from didi_core.models.noise import NoiseKeys, NoiseSettings
from didi_core.models.sharding import skeleton_of, whole_network
from didi_core.models.weak_file import MOST_WEIGHT, POSITIONS_KEY, WEIGHT_KEY, save_weak
from didi_core.number_checks import (
    decay_errors,
    fraction_errors,
    negative_errors,
    positive_errors,
    positive_int_errors,
)
from didi_core.sampling.contrast import ContrastPredictor
from didi_core.sampling.predictor import Predictor

WEAK_SHARE = 0.4
"""Of a run's updates: the most that the first phase takes."""
LEAST_TIME = 0.05
"""Times below it weigh as this one does in the weak network's loss, 1 / t."""
LEAST_SHARE = 0.1
"""The same of the share of a row that is masked, in the student's loss."""


@dataclass
class ContrastSettings:
    """Settings of both phases; the defaults are those of the trials, of 650 updates."""

    networks: str = "one"
    """one: the student learns the guided law; two: the whole run trains the weak network, and the
    result is the teacher as it is, with `weak.safetensors` for `--sampler contrast`."""
    weight: float = 1.0
    """w of the guided law."""
    weak: str = "fixed"
    """fixed: the weak network learns in the first phase alone; online: then also from the student's
    own draws, an update for each of the student's."""
    weak_updates: int = 250
    """Updates of the first phase, at most 0.4 of the run's."""
    weak_steps: int = 4
    """Steps of the draws that the weak network learns from."""
    weak_ema: float = 0.98
    """Decay of the average of the weak network's weights, which is what is asked and saved."""
    own_share: float = 0.5
    """Share of the student's rows that are its own draws, masked again; the rest are references."""
    student_steps: int = 8
    """Steps of those draws."""
    reveal_exponent: float = 1.0
    """All draws are on the grid alpha = (k / K) ** exponent; `generate` follows it."""
    sampler: str | None = None
    """What the student's folder names for `generate`: ancestral or apart; null: the program's own
    choice. With networks=two how the contrast sampler chooses positions: ancestral, at random."""
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    student: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(
            lr=5e-4, betas=(0.9, 0.98), warmup_steps=20, decay_fraction=0.4, clip_norm=1.0
        )
    )
    weak_optimizer: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(
            lr=5e-4, betas=(0.9, 0.98), warmup_steps=20, decay_fraction=0.4, clip_norm=1.0
        )
    )
    """The weak network's optimiser."""
    ema: float = 0.99

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = self.noise.problems()
        choices = {"networks": ("one", "two"), "weak": ("fixed", "online")}
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                wrong.append(f"{name}={value} must be {' or '.join(allowed)}")
        if self.sampler not in (None, "ancestral", "apart"):
            wrong.append(f"sampler={self.sampler} must be ancestral or apart")
        if self.networks == "two" and self.weak != "fixed":
            wrong.append(f"weak={self.weak} learns from a student: it needs networks=one")
        if self.networks == "two" and self.noise.kind != "none":
            wrong.append(f"noise.kind={self.noise.kind} is of a student: it needs networks=one")
        if not 0 <= self.weight <= MOST_WEIGHT:
            wrong.append(f"weight={self.weight:g} must be from 0 to {MOST_WEIGHT:g}")
        wrong += negative_errors(self, "weak_updates") + positive_errors(self, "reveal_exponent")
        wrong += positive_int_errors(self, "weak_steps", "student_steps")
        return wrong + fraction_errors(self, "own_share") + decay_errors(self, "weak_ema")


def weak_loss(
    log_probs: Float[Tensor, "masked k"], clean: Int[Tensor, "masked"], t: Float[Tensor, "masked"]
) -> Float[Tensor, ""]:
    """Return the sum of -log A(x) / max(t, 0.05) over masked positions.

    Args:
        clean: rank of the true token.
        t: time of the position's row.
    """
    each = log_probs.gather(-1, clean.unsqueeze(-1)).squeeze(-1)
    return -(each / t.clamp_min(LEAST_TIME)).sum()


def student_loss(
    student: Float[Tensor, "masked k"],
    target: Float[Tensor, "masked k"],
    share: Float[Tensor, "masked"],
) -> Float[Tensor, ""]:
    """Return the sum of KL(p* || student) / max(share, 0.1) over masked positions.

    Args:
        target: log p*.
        share: of the maskable positions of the position's row that are masked.
    """
    return (terms.kl(target, student) / share.clamp_min(LEAST_SHARE)).sum()


def masked_share(
    masked: Bool[Tensor, "batch width"], maskable: Bool[Tensor, "batch width"]
) -> Float[Tensor, "masked"]:
    """Return, at each masked position, the share of its row that is masked."""
    share = masked.sum(-1) / maskable.sum(-1).clamp_min(1)
    return share[masked.nonzero()[:, 0]]


class ContrastTraining(DistilledStudent):
    """Trains a network on the few-step draws of another, as both forms of the method do."""

    settings: ContrastSettings

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: ContrastSettings,
        seed: int,
    ) -> None:
        super().__init__(teacher, vocabulary, reference, settings, seed)
        self.states = States(vocabulary, seed, settings.reveal_exponent)

    def few_step_pass(
        self, part: ReferenceBatch, learner: Trained, source: Predictor, key: int
    ) -> Pass:
        """Take the plain masked loss of `learner` on draws of `source`, a mean over tokens.

        Args:
            part: sequences of the lengths to draw.
        """
        batch, rows = part.batch, part.rows
        every = torch.ones_like(rows, dtype=torch.bool)
        with torch.no_grad(), self.fabric.autocast():
            drawn = self.states.drawn(source, batch, rows, every, self.settings.weak_steps, key)
        state, t = self.states.masked(drawn, rows, key)
        masked = self.states.where_masked(state)
        whole, whole_tokens = yield [int(masked.sum()), int(batch.maskable.sum())]
        if not whole:
            return {}
        predictor = Predictor(learner, self.vocabulary)
        log_probs = predictor.log_probs(state.tokens, batch.lengths, masked)
        clean = self.vocabulary.rank_of_id.to(rows.device)[drawn.tokens[masked]]
        loss = weak_loss(log_probs, clean, t[masked.nonzero()[:, 0]])
        loss = self.over_tokens(loss, batch, whole_tokens)
        learner.backward(loss)
        return {"weak_loss": float(loss.detach())}

    def over_tokens(
        self, total: Float[Tensor, ""], batch: TokenBatch, whole_tokens: int
    ) -> Float[Tensor, ""]:
        """Return this pass's part of a mean over all maskable tokens, from its sum."""
        count = int(batch.maskable.sum())
        return share_of_mean(self.fabric, count, whole_tokens) * total / max(1, count)


class ContrastStudent(ContrastTraining):
    """Trains the weak network, then the student (`networks=one`)."""

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: ContrastSettings,
        seed: int,
    ) -> None:
        super().__init__(teacher, vocabulary, reference, settings, seed)
        weak = copy.deepcopy(teacher).requires_grad_(True)
        self.weak_average = ExponentialMovingAverage(weak, settings.weak_ema)
        self.weak = self.train_beside("weak", weak, settings.weak_optimizer)
        self.first_of_student = -1
        """Update at which the second phase began; -1 before it."""

    def setup(self, fabric: Fabric) -> None:
        super().setup(fabric)
        self.weak_average.place(fabric.device, mesh_of(fabric))

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Update the weak network in the first phase, in the second the student."""
        length = weak_length(self.settings.weak_updates, steps)
        # Once begun the second phase goes on, also where a slow clock makes the first one longer.
        if self.first_of_student < 0 and step < length:
            teacher = Predictor(self.teacher, self.vocabulary)
            figures = self.update_weak(teacher, step, 2 * step, step, length)
            return all_reduce_metrics(self.fabric, figures)
        if self.first_of_student < 0:
            self.first_of_student = step
        number, length = step - self.first_of_student, steps - self.first_of_student
        figures = self.update_towards_guided(step, number, length)
        if self.settings.weak == "online":
            own = self.student_predictor(training=False)
            figures |= self.update_weak(own, step, 2 * step + 1, number, length)
        return all_reduce_metrics(self.fabric, figures)

    def update_weak(
        self, source: Predictor, step: int, key: int, number: int, length: int
    ) -> dict[str, float]:
        """Update the weak network and its average, on draws of `source`.

        Args:
            key: of the draws.
            number: of the update in its phase, which has `length`.
        """
        learn = partial(self.few_step_pass, learner=self.weak, source=source, key=key)
        figures = self.accumulate([self.weak], step, learn)
        if not figures:
            return {}
        figures["weak_gradient_norm"] = self.weak.update(number, TimedSteps(length))
        self.weak_average.update(self.weak.module)
        return figures

    def update_towards_guided(self, step: int, number: int, length: int) -> dict[str, float]:
        """Move the student towards the guided law; arguments as of `update_weak`."""
        figures = self.accumulate([self.student], step, partial(self.learn, key=2 * step))
        if figures:
            figures["gradient_norm"] = self.update_student(number, TimedSteps(length))
        return figures

    def learn(self, part: ReferenceBatch, key: int) -> Pass:
        """Compare the student with the guided law at the masked positions of a pass."""
        batch, rows = part.batch, part.rows
        state = self.student_state(batch, rows, key)
        masked = self.states.where_masked(state)
        whole, whole_tokens = yield [int(masked.sum()), int(batch.maskable.sum())]
        if not whole:
            return {}
        target = self.target(state, masked)
        noise = NoiseKeys(self.seed, rows, 0, update=key)
        student = self.student_predictor().log_probs(state.tokens, batch.lengths, masked, noise)
        share = masked_share(masked, batch.maskable)
        loss = self.over_tokens(student_loss(student, target, share), batch, whole_tokens)
        self.student.backward(loss)
        return {"divergence": float(loss.detach())}

    def student_state(self, batch: TokenBatch, rows: Int[Tensor, "batch"], key: int) -> TokenBatch:
        """Return what the student is asked at: references and its own draws, masked."""
        own = self.states.chosen(self.settings.own_share, rows, key)
        source = self.student_predictor(training=False)
        with torch.no_grad(), self.fabric.autocast():
            drawn = self.states.drawn(source, batch, rows, own, self.settings.student_steps, key)
        return self.states.masked(drawn, rows, key)[0]

    @torch.no_grad()
    def target(
        self, state: TokenBatch, masked: Bool[Tensor, "batch width"]
    ) -> Float[Tensor, "masked k"]:
        """Return log p* at masked positions."""
        teacher = Predictor(self.teacher, self.vocabulary)
        weak = Predictor(self.weak_average.module, self.vocabulary)
        both = ContrastPredictor(teacher, weak, self.settings.weight)
        with self.fabric.autocast():
            return both.predict(state.tokens, state.lengths, masked).log_probs

    def networks(self) -> list[Network]:
        return [*super().networks(), Network("weak average", self.weak_average.module)]

    def state_dict(self) -> dict[str, Any]:
        own = {"weak_average": self.weak_average.state_dict()}
        return {**super().state_dict(), **own, "first_of_student": self.first_of_student}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.weak_average.load_state_dict(state["weak_average"])
        self.first_of_student = int(state["first_of_student"])


class WeakTraining(ContrastTraining):
    """Trains the weak network alone (`networks=two`): it stands where a student would.

    The result is the teacher as it is.
    """

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: ContrastSettings,
        seed: int,
    ) -> None:
        own = replace(settings, student=settings.weak_optimizer, ema=settings.weak_ema)
        super().__init__(teacher, vocabulary, reference, own, seed)
        self._skeleton: nn.Module | None = None

    def setup(self, fabric: Fabric) -> None:
        if mesh_of(fabric) is not None:
            self._skeleton = skeleton_of(self.teacher)
        super().setup(fabric)

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Update the weak network on the teacher's draws."""
        source = Predictor(self.teacher, self.vocabulary)
        learn = partial(self.few_step_pass, learner=self.student, source=source, key=2 * step)
        figures = self.accumulate([self.student], step, learn)
        if not figures:
            return {}
        figures["weak_gradient_norm"] = self.update_student(step, TimedSteps(steps))
        return all_reduce_metrics(self.fabric, figures)

    def sampled(self) -> nn.Module:
        return self.teacher

    def result(self) -> nn.Module:
        return whole_network(self.teacher, self._skeleton)

    def extra_weights(self) -> dict[str, Callable[[Path], None]]:
        return {"weak": partial(save_weak, cast(Denoiser, self.ema.whole()))}

    def folder_defaults(self) -> dict[str, Any]:
        """Return that both networks are to be sampled, and how."""
        positions = "apart" if self.settings.sampler == "apart" else "random"
        return {
            "sampler": "contrast",
            WEIGHT_KEY: self.settings.weight,
            POSITIONS_KEY: positions,
        }


def weak_length(weak_updates: int, steps: int) -> int:
    """Return the updates of the first phase in a run of `steps`.

    >>> weak_length(250, 1_000), weak_length(250, 100), weak_length(250, 2), weak_length(250, 1)
    (250, 40, 1, 0)
    """
    # A short run keeps a beginning of each phase.
    longest = min(max(1, int(WEAK_SHARE * steps)), steps - 1)
    return min(weak_updates, longest)


def build(
    teacher: nn.Module,
    vocabulary: Vocabulary,
    reference: GroupedReference,
    settings: ContrastSettings,
    seed: int,
) -> Distillation:
    """Return the method for one network or two."""
    kind = WeakTraining if settings.networks == "two" else ContrastStudent
    return kind(teacher, vocabulary, reference, settings, seed)


ENTRY = MethodEntry(
    "contrast",
    ContrastSettings,
    build,
    summary="the law beyond the teacher's, away from a weak copy trained on its few-step draws",
)
