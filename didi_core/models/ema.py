"""Exponential moving average of a network's weights, used for sampling."""

import copy
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from didi_core.models.sharding import (
    gathered,
    shard_network,
    skeleton_of,
    spread_state,
    whole_network,
)


class ExponentialMovingAverage:
    """A shadow copy: after each update, shadow = decay * shadow + (1 - decay) * weight.

    Early on the decay is min(decay, (1 + updates) / (10 + updates)), so that a short run's shadow
    is not still its starting weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._skeleton: nn.Module | None = None

    def place(self, device: torch.device, mesh: DeviceMesh | None) -> None:
        """Move to the device, or spread over `mesh`'s processes, as the network that it follows."""
        if mesh is None:
            self.module.to(device)
        else:
            self._skeleton = skeleton_of(self.module)
            shard_network(self.module, mesh)

    def whole(self) -> nn.Module:
        """Return the averaged network; if sharded, a whole copy. Every process must call this."""
        return whole_network(self.module, self._skeleton)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for shadow, live in zip(self.module.parameters(), module.parameters(), strict=True):
            shadow.lerp_(live.detach().to(shadow), 1.0 - decay)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "module": gathered(self.module.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = int(state["updates"])
        self.module.load_state_dict(spread_state(state["module"], self.module))
