"""DiDi-Instruct's times: when samples and references are masked, and how much each counts."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from didi_core.diffusion.draws import Stream, keyed_generator, keyed_uniform
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.distill import terms
from didi_core.distill.didi_settings import DidiSettings


@dataclass(frozen=True)
class Times:
    """tau of every row, keyed by step and group or row."""

    settings: DidiSettings
    schedule: LogLinearSchedule
    seed: int

    def draw(
        self, step: int, rows: Int[Tensor, "batch"], stream: Stream = Stream.TIME
    ) -> Float[Tensor, "batch"]:
        """Times of the intermediate state, one a group or one a row (METHODS 2, step 1)."""
        keys = rows // self.settings.group_size if self.settings.share_tau else rows
        a, b = self.settings.tau_beta
        low, high = self.settings.tau_range
        if (a, b) == (1.0, 1.0):
            tau = keyed_uniform(self.seed, stream, step, keys, device=rows.device)
        else:
            # A Beta draw needs a generator; one per key keeps it independent of the batch.
            drawn = [self._draw_beta(a, b, stream, step, int(key)) for key in keys]
            tau = torch.tensor(drawn, device=rows.device)
        return tau.clamp(low, high).float()

    def _draw_beta(self, a: float, b: float, stream: Stream, step: int, key: int) -> float:
        seed = keyed_generator(self.seed, stream, step, key).initial_seed()
        return float(np.random.default_rng(seed).beta(a, b))

    def weight(self, tau: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """omega(tau) / pi(tau), each where it is switched on (step 6)."""
        weight = torch.ones_like(tau)
        if self.settings.use_omega:
            weight = weight * self.schedule.weight(tau).clamp(*self.settings.omega_range)
        if self.settings.use_pi:
            weight = weight / terms.beta_density(tau, *self.settings.tau_beta)
        return weight
