"""Settings of DiDi-Instruct, step by step (didi.py names the steps)."""

import math
from dataclasses import dataclass, field

from didi_core.distill.optimizers import OptimizerSettings
from didi_core.models.noise import NoiseSettings
from didi_core.number_checks import (
    decay_errors,
    fraction_errors,
    negative_errors,
    positive_errors,
    positive_int_errors,
    range_errors,
)


@dataclass
class DidiSettings:
    """Settings of the steps above (DiDi-Instruct, arXiv 2509.25035)."""

    # Step 1: tau, one a group.
    group_size: int = 4
    """Samples that share tau and length, over which rewards are normalised."""
    tau_beta: tuple[float, float] = (1.0, 1.0)
    """tau is drawn from this Beta distribution."""
    tau_range: tuple[float, float] = (0.02, 0.98)
    """It is clamped to this range."""
    share_tau: bool = True
    """One tau a group; the released code draws one a row."""
    # Step 2: the student's reverse steps.
    score_decomposition: bool = True
    """Two reverse steps, by way of z_tau; else one, from all-mask to x."""
    end_time: float = 1e-3
    """Time at which the last reverse step ends."""
    # Step 3: masking.
    coupled_time: bool = True
    """Re-mask x at the same tau; else at a time of its own."""
    # Step 4: the discriminator.
    label_smoothing: float = 0.1
    """Of the discriminator's labels."""
    discriminator_blocks: int = 4
    """Last blocks of the discriminator that train; all where there are fewer."""
    discriminator_warmup: int = 0
    """Updates of the discriminator alone before the student moves."""
    # Step 5: rewards.
    reward_clip: float = 8.0
    """Bound on the discriminator's log-odds."""
    group_normalise: bool = True
    """Normalise rewards within groups; else use them as they are."""
    group_deviation: str = "population"
    """Divisor of a group's variance: population, G; sample, G - 1 as torch's `std` and code
    that normalises rewards so has it."""
    advantage_clip: float = 3.0
    """Bound on the normalised reward."""
    # Step 6: weights.
    use_omega: bool = True
    """Weight by omega(tau) = -alpha'(tau) / (1 - alpha(tau))."""
    omega_range: tuple[float, float] = (0.1, 10.0)
    """Bounds on omega."""
    use_pi: bool = True
    """Divide by the density of tau."""
    # Step 7: the student's update.
    kl_kind: str = "jeffreys"
    """forward, backward or jeffreys divergence of the student."""
    kl_beta: float = 0.5
    """Share of the backward divergence in jeffreys."""
    kl_start: float = 0.01
    """Weight of the divergence from the teacher at the all-mask state."""
    kl_middle: float = 0.01
    """Weight of the divergence from the teacher at z_tau."""
    entropy_bonus: float = 0.0005
    """Weight of the entropy of the student's predictions."""
    reduce_log_prob: str = "mean"
    """Log-probability of a sample: mean over its tokens, or sum as published."""
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    student: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(lr=3e-5, warmup_steps=20, clip_norm=0.5)
    )
    discriminator: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(lr=1e-4, warmup_steps=20, clip_norm=1.0)
    )
    """The discriminator's optimiser."""
    ema: float = 0.999

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = self.noise.problems()
        if self.kl_kind not in ("forward", "backward", "jeffreys"):
            wrong.append(f"kl_kind={self.kl_kind} must be forward, backward or jeffreys")
        if self.reduce_log_prob not in ("mean", "sum"):
            wrong.append(f"reduce_log_prob={self.reduce_log_prob} must be mean or sum")
        if self.group_deviation not in ("population", "sample"):
            wrong.append(f"group_deviation={self.group_deviation} must be population or sample")
        return wrong + positive_int_errors(self, "group_size") + self._range_problems()

    def _range_problems(self) -> list[str]:
        wrong = positive_errors(self, "reward_clip", "advantage_clip")
        wrong += negative_errors(self, "discriminator_blocks", "discriminator_warmup")
        wrong += negative_errors(self, "kl_start", "kl_middle")
        wrong += fraction_errors(self, "kl_beta") + decay_errors(self, "end_time")
        wrong += range_errors(self, "tau_range", 0, 1) + range_errors(
            self, "omega_range", 0, math.inf
        )
        if any(each in (0, 1) for each in self.tau_range):
            wrong.append(f"tau_range={list(self.tau_range)} must leave out 0 and 1 themselves")
        if len(self.tau_beta) != 2 or not all(0 < each < math.inf for each in self.tau_beta):
            wrong.append(f"tau_beta={list(self.tau_beta)} must be two numbers above 0")
        if not 0 <= self.label_smoothing < 0.5:  # at a half both sides have one label
            wrong.append(f"label_smoothing={self.label_smoothing:g} must be in [0, 0.5)")
        return wrong
