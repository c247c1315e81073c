"""SDTT, self-distillation through time (arXiv 2410.21035): one step of the student for two of the
teacher's.

From z_t the teacher takes two small steps. The student learns, from z_t alone, what the teacher
thought of each masked position in the step that revealed it, or in the last one. The run is divided
into rounds; each doubles the size of the steps, and the student's average becomes the teacher.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from didi_core.data.batches import TokenBatch, mean_or_zero
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.distill import terms
from didi_core.distill.distributed_mean import all_reduce_metrics, share_of_mean
from didi_core.distill.method import MethodEntry
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.passes import Pass
from didi_core.distill.reference import GroupedReference, ReferenceBatch
from didi_core.distill.rollout import reverse_step
from didi_core.distill.rounds import StudentInRounds, round_problems
from didi_core.models.noise import NoiseKeys, NoiseSettings, without_noise
from didi_core.number_checks import positive_errors, positive_int_errors
from didi_core.sampling.predictor import Predictor


@dataclass
class SdttSettings:
    """Published: 7 rounds at most, 10,000 updates each, backward divergence best."""

    student_steps: int = 8
    """A step of the last round's student is 1 / student_steps of the way."""
    rounds: int = 3
    """Rounds of equal length; in each the steps are twice as large as in the one before."""
    reveal_exponent: float = 1.0
    """Steps are even in r, where alpha = r ** exponent; `generate` follows it. Published: 1."""
    teacher_update: str = "average"
    """What becomes the next round's teacher: the average of the student's weights, or student."""
    kl_kind: str = "backward"
    """forward, backward or jeffreys divergence of the student from its target."""
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    student: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(lr=6e-5, warmup_steps=20, clip_norm=1.0)
    )
    ema: float = 0.99

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = self.noise.problems() + round_problems(self)
        wrong += positive_int_errors(self, "student_steps")
        return wrong + positive_errors(self, "reveal_exponent")


class SelfDistillation(StudentInRounds):
    """Trains a student to do in one step what the present round's teacher does in two."""

    settings: SdttSettings

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: SdttSettings,
        seed: int,
    ) -> None:
        super().__init__(teacher, vocabulary, reference, settings, seed)
        self.process = AbsorbingProcess(vocabulary.mask_id)

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Move the student towards what the teacher thought in its two steps from z_t."""
        self.enter_round(step, steps)
        figures = self.accumulate([self.student], step, partial(self._learn, step=step))
        if not figures:
            return {}  # on every process alike: none may wait for another
        figures["gradient_norm"] = self.update_student(step, steps)
        return all_reduce_metrics(self.fabric, {**figures, "round": float(self.round)})

    def _learn(self, part: ReferenceBatch, step: int) -> Pass:
        """Compare student and target at the masked positions of a pass."""
        batch, rows = part.batch, part.rows
        t, middle = self.draw_times(step, rows)
        state = batch.with_tokens(self._mask(batch, t, rows, step))
        masked = (state.tokens == self.vocabulary.mask_id) & batch.maskable
        (whole,) = yield [int(masked.sum())]
        if not whole:
            return {}
        expected = self.targets(state, masked, t, middle, rows, step)
        keys = NoiseKeys(self.seed, rows, 0, update=step)
        student = self.student_predictor().log_probs(state.tokens, batch.lengths, masked, keys)
        each = terms.divergence(student, expected, self.settings.kl_kind, beta=0.5)
        loss = share_of_mean(self.fabric, len(each), whole) * mean_or_zero(each)
        self.student.backward(loss)
        return {"divergence": float(loss.detach())}

    def draw_times(self, step: int, rows: Tensor) -> tuple[Float[Tensor, "b"], Float[Tensor, "b"]]:
        """Draw t, and the time after the first of the teacher's two steps from there.

        Progress r runs from 0 (all masked) to 1; t begins a whole step of the present round.
        """
        # The last round's student takes `student_steps`; each round before it twice as many.
        student_steps = self.settings.student_steps * 2 ** (self.settings.rounds - 1 - self.round)
        uniform = keyed_uniform(self.seed, Stream.TIME, step, rows, device=rows.device)
        # r on the grid of the student's steps; the teacher stops half a step further on.
        before = (uniform * student_steps).floor() / student_steps
        after, exponent = before + 0.5 / student_steps, self.settings.reveal_exponent
        return (1.0 - before**exponent).float(), (1.0 - after**exponent).float()

    def _mask(self, batch: TokenBatch, t: Tensor, rows: Tensor, step: int) -> Tensor:
        """Return the tokens with each maskable one masked at its row's time."""
        position = torch.arange(batch.tokens.shape[1], device=rows.device)
        keys = (rows[:, None], position, step)
        uniform = keyed_uniform(self.seed, Stream.CORRUPT, *keys, device=rows.device)
        return self.process.corrupt(batch.tokens, batch.maskable, t, uniform)

    @torch.no_grad()
    def targets(
        self,
        state: TokenBatch,
        masked: Bool[Tensor, "batch width"],
        t: Tensor,
        middle: Tensor,
        rows: Tensor,
        step: int,
    ) -> Float[Tensor, "masked k"]:
        """Return what the teacher says in the step that reveals a position, or in the second."""
        # The first round's teacher is the teacher, which knows no noise.
        noise = without_noise(self.target)[1] if self.round else None
        target = Predictor(self.target, self.vocabulary, noise)
        alpha_t, alpha_s = self.process.schedule.alpha(t), self.process.schedule.alpha(middle)
        # q(z_s | z_t, x): a mask is revealed with (alpha_s - alpha_t) / (1 - alpha_t).
        reveal = (alpha_s - alpha_t) / (1.0 - alpha_t)
        with self.fabric.autocast():
            first = reverse_step(
                target, state, self.vocabulary.mask_id, reveal, self.seed, rows, step, index=0
            )
            # Where the first step left a mask, what the second step says there counts.
            still = (first.after == self.vocabulary.mask_id) & masked
            keys = NoiseKeys(self.seed, rows, 1, update=step)
            second = target.log_probs(first.after, state.lengths, still, keys)
        expected = first.log_probs.clone()
        expected[~first.revealed] = second
        return expected


ENTRY = MethodEntry(
    "sdtt",
    SdttSettings,
    SelfDistillation,
    summary="one step for two of the teacher's, in steps that double each round",
)
