"""Optimisers and the learning-rate schedule: warm-up, constant, decay to zero.

Where time ends a run, what begins it in a fixed number of updates (warm-up, curricula) takes at
most a share of the updates that the clock leaves: no run ends inside its own beginning.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from didi_core.number_checks import fraction_errors, negative_errors, positive_errors

WARMUP_SHARE = 0.1
"""Of a run that time ends: the most that warm-up takes."""
PHASE_SHARE = 0.5
"""The same of every other phase at the beginning, such as a curriculum."""
LEAST_UPDATES = 5
"""The first estimates of a pace are rough: a phase is cut to no fewer updates."""


class TimedSteps(int):
    """Updates that a run will come to which time ends, as far as its pace tells so far."""


def phase_length(length: int, steps: int, share: float = PHASE_SHARE) -> int:
    """Return the updates of a phase at the beginning of a run.

    >>> phase_length(200, 1_000, 0.1), phase_length(200, TimedSteps(1_000), 0.1)
    (200, 100)
    >>> phase_length(200, TimedSteps(10), 0.1), phase_length(2, TimedSteps(10), 0.1)
    (5, 2)

    Args:
        length: as it was set.
        steps: of the whole run; where time ends it, the phase takes no more than `share` of them.
    """
    if not isinstance(steps, TimedSteps):
        return length
    return min(length, max(LEAST_UPDATES, int(share * steps)))


@dataclass
class OptimizerSettings:
    """Settings of how one network is updated."""

    name: str = "adamw"
    """adamw; or muon for the matrices of the blocks and adamw for the rest (torch 2.9 or newer)."""
    lr: float = 1e-4
    """Peak learning rate of adamw."""
    muon_lr: float = 0.01
    """Peak learning rate of muon."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decays of adamw's means of gradients and of their squares."""
    weight_decay: float = 0.0
    """Share of a weight, times the rate, that each update takes away."""
    warmup_steps: int = 100
    """Updates over which the rate rises."""
    decay_fraction: float = 0.0
    """Share of the run, at its end, over which the rate falls to zero."""
    decay_shape: str = "linear"
    """How it falls: linear, or cosine, half a wave (published with decay_fraction=1)."""
    clip_norm: float = 1.0
    """Largest global gradient norm; 0: gradients are not clipped."""
    fused: bool = False
    """Whether adamw updates all of a weight in one kernel: quicker, the same but for rounding."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = []
        if self.name not in ("adamw", "muon"):
            wrong.append(f"name={self.name} must be adamw or muon")
        if self.name == "muon" and not hasattr(torch.optim, "Muon"):
            wrong.append(f"name=muon needs torch 2.9 or newer, not {torch.__version__}")
        if self.decay_shape not in ("linear", "cosine"):
            wrong.append(f"decay_shape={self.decay_shape} must be linear or cosine")
        if len(self.betas) != 2 or not all(0 <= each < 1 for each in self.betas):
            wrong.append(f"betas={list(self.betas)} must be two numbers in [0, 1)")
        wrong += positive_errors(self, "lr", "muon_lr")
        wrong += negative_errors(self, "weight_decay", "warmup_steps", "clip_norm")
        return wrong + fraction_errors(self, "decay_fraction")


def build_optimizer(module: nn.Module, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """Build the optimiser, or for muon the pair of them, over the parameters that train."""
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    if settings.name == "adamw":
        return [_adamw([p for _, p in trained], settings)]
    matrices = [p for name, p in trained if p.ndim == 2 and _in_a_block(name)]
    chosen = {id(p) for p in matrices}
    rest = [p for _, p in trained if id(p) not in chosen]
    muon = torch.optim.Muon(matrices, lr=settings.muon_lr, weight_decay=settings.weight_decay)
    return [muon, _adamw(rest, settings)]


def _in_a_block(name: str) -> bool:
    """Tell whether a parameter belongs to a repeated block, by our names or Hugging Face's."""
    return ".blocks." in f".{name}" or ".layers." in name or ".h." in name


def _adamw(parameters: list[nn.Parameter], settings: OptimizerSettings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        parameters,
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=settings.fused or None,  # None lets torch choose the quickest of the others
    )


def set_learning_rate(
    optimizers: list[torch.optim.Optimizer], settings: OptimizerSettings, step: int, steps: int
) -> None:
    """Set the rates for update number `step` (from 0) of `steps`."""
    warmup_steps = phase_length(settings.warmup_steps, steps, WARMUP_SHARE)
    schedule = (warmup_steps, settings.decay_fraction, settings.decay_shape)
    factor = rate_factor(step, steps, *schedule)
    for optimizer in optimizers:
        peak = settings.muon_lr if type(optimizer).__name__ == "Muon" else settings.lr
        for group in optimizer.param_groups:
            group["lr"] = peak * factor


def rate_factor(
    step: int, steps: int, warmup_steps: int, decay_fraction: float, decay_shape: str = "linear"
) -> float:
    """Return the factor on the peak rate: linear warm-up, one, then down to zero.

    >>> [round(rate_factor(step, 4, 0, 1.0, "cosine"), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    decay_steps = int(decay_fraction * steps)
    cool = min(1.0, (steps - step) / decay_steps) if decay_steps else 1.0
    if decay_shape == "cosine":
        cool = (1.0 - math.cos(math.pi * cool)) / 2
    return min(warm, cool)
