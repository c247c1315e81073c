"""Exponential moving average of a network's weights, used for sampling."""

import copy

import torch
from torch import nn


class ExponentialMovingAverage:
    """A shadow copy: after each update, shadow = decay * shadow + (1 - decay) * weight.

    Early on the decay is min(decay, (1 + updates) / (10 + updates)), so that a short run's shadow
    is not still its starting weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for shadow, live in zip(self.module.parameters(), module.parameters(), strict=True):
            shadow.lerp_(live.detach().to(shadow), 1.0 - decay)

    def state_dict(self) -> dict[str, object]:
        return {"updates": self.updates, "module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.updates = int(state["updates"])
        self.module.load_state_dict(state["module"])
