"""Settings that moment matching (D-MMD, arXiv 2603.20155) has for every noise process."""

import math
from dataclasses import dataclass, field

from didi_core.distill.optimizers import OptimizerSettings
from didi_core.models.noise import NoiseSettings
from didi_core.number_checks import (
    fraction_errors,
    negative_errors,
    positive_errors,
    positive_int_errors,
    range_errors,
)


@dataclass
class MatchingSettings:
    """The student, an auxiliary denoiser that follows it, and the times they meet at."""

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
    ema: float = 0.99

    def problems(self) -> list[str]:
        """What is wrong with the values, each with the setting's name."""
        return [
            *self.noise.problems(),
            *positive_int_errors(self, "student_steps", "auxiliary_updates"),
            *positive_errors(self, "reveal_exponent"),
            *fraction_errors(self, "start_share"),
            *range_errors(self, "weight_range", 0.0, math.inf),
            *negative_errors(self, "teacher_weight"),
        ]
