"""DCD, discrete consistency distillation of uniform-state models (Duo, 2506.10892, section 4.2).

One draw of Gaussian noise makes a whole path of states of a sequence, by the argmax at each time
(`didi_core.diffusion.gaussian`). The student at z_t learns what the teacher says at z_s, a step
delta nearer to the data on the same path. Each round doubles delta, and the student, or the average
of its weights, becomes the teacher.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from didi_core.data.batches import mean_or_zero
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.diffusion.duality import DCD_ENDS, GaussianSchedule
from didi_core.diffusion.gaussian import GaussianNoise, noise_of, num_uniforms
from didi_core.distill import terms
from didi_core.distill.distributed_mean import all_reduce_metrics, share_of_mean
from didi_core.distill.method import MethodEntry
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.passes import Pass
from didi_core.distill.reference import GroupedReference, ReferenceBatch
from didi_core.distill.rounds import StudentInRounds, round_problems
from didi_core.models.noise import NoiseSettings
from didi_core.sampling.predictor import Predictor


@dataclass
class DcdSettings:
    """Published: 5 rounds of 10,000 updates, batch 128, warm-up 500, average 0.999."""

    rounds: int = 5
    """Rounds of equal length; in each the step is twice as long as in the one before."""
    first_step: float = 1 / 512
    """delta of the first round, as a share of the schedule's time."""
    teacher_update: str = "student"
    """What becomes the next round's teacher: student (published), or the average of its weights."""
    kl_kind: str = "backward"
    """forward, backward (published) or jeffreys divergence of the student from the teacher."""
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    """No part of this method: leave kind at none."""
    student: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(lr=6e-5, warmup_steps=20, clip_norm=1.0)
    )
    ema: float = 0.99

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = round_problems(self)
        if self.rounds >= 1 and not 0 < self.first_step * 2 ** (self.rounds - 1) <= 1:
            wrong.append(
                f"first_step={self.first_step:g} must be above 0, and at most 1 when doubled "
                f"{self.rounds - 1} times"
            )
        if self.noise.kind != "none":
            wrong.append(f"noise.kind={self.noise.kind} is for masked models: leave it at none")
        return wrong


class ConsistencyDistillation(StudentInRounds):
    """Trains a student to say at z_t what the teacher says at z_s, on one path of noise.

    The schedule's range is that of T = 0.9987 to 0.0062, solved for the number of tokens.
    """

    settings: DcdSettings

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: DcdSettings,
        seed: int,
    ) -> None:
        super().__init__(teacher, vocabulary, reference, settings, seed)
        self.schedule = GaussianSchedule.between(DCD_ENDS, vocabulary.num_generable)

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Move the student at z_t towards the teacher at z_s, at every position."""
        self.enter_round(step, steps)
        figures = self.accumulate([self.student], step, partial(self._learn, step=step))
        figures["gradient_norm"] = self.update_student(step, steps)
        return all_reduce_metrics(self.fabric, {**figures, "round": float(self.round)})

    def _learn(self, reference: ReferenceBatch, step: int) -> Pass:
        """Compare student and teacher at every position of a pass."""
        at, lengths = reference.batch.maskable, reference.batch.lengths
        (whole,) = yield [int(at.sum())]
        t, s = self.draw_times(step, reference.rows)
        noise = self.draw_noise(step, reference)  # one draw for both times: one path
        student = self.student_predictor().log_probs(
            self.state(reference, noise, t), lengths, at, alpha=self.schedule.alpha(t)
        )
        with torch.no_grad(), self.fabric.autocast():
            teacher = Predictor(self.target, self.vocabulary).log_probs(
                self.state(reference, noise, s), lengths, at, alpha=self.schedule.alpha(s)
            )
        each = terms.divergence(student, teacher, self.settings.kl_kind, beta=0.5)
        loss = share_of_mean(self.fabric, len(each), whole) * mean_or_zero(each)
        self.student.backward(loss)
        return {"divergence": float(loss.detach())}

    def draw_times(self, step: int, rows: Tensor) -> tuple[Float[Tensor, "b"], Float[Tensor, "b"]]:
        """Draw t in (delta, 1), and s = t - delta."""
        # delta doubles with each round.
        delta = self.settings.first_step * 2**self.round
        uniform = keyed_uniform(self.seed, Stream.TIME, step, rows, device=rows.device)
        s = (1.0 - delta) * uniform
        return (s + delta).float(), s.float()

    def draw_noise(self, step: int, reference: ReferenceBatch) -> GaussianNoise:
        """Draw the noise of each position that may be noised: of the true token and one other.

        Only the largest noise beside the true token's can win the argmax.
        """
        batch, device = reference.batch, reference.rows.device
        row, position = batch.maskable.nonzero(as_tuple=True)
        number = torch.arange(num_uniforms(1), device=device)
        keys = (step, reference.rows[row][:, None], position[:, None], number)
        uniform = keyed_uniform(self.seed, Stream.NOISE, *keys, device=device)
        clean = self.vocabulary.rank_of_id.to(device)[batch.tokens[batch.maskable]]
        return noise_of(clean, uniform, self.vocabulary.num_generable)

    def state(
        self, reference: ReferenceBatch, noise: GaussianNoise, t: Float[Tensor, "b"]
    ) -> Tensor:
        """Return the tokens at time t of each row's path."""
        batch = reference.batch
        # gamma of a row, at each of its maskable positions in row-major order.
        gamma = self.schedule.gamma(t)[batch.maskable.nonzero()[:, 0]]
        ids = self.vocabulary.generable.to(t.device)[noise.argmax(gamma)]
        return batch.tokens.masked_scatter(batch.maskable, ids)


ENTRY = MethodEntry(
    "dcd",
    DcdSettings,
    ConsistencyDistillation,
    summary="uniform-state teachers: consistency along one path of noise, in doubling steps",
    process="uniform",
)
