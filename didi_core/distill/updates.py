"""A network with its optimisers, as Fabric drives them."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from didi_core.distill.optimizers import OptimizerSettings, build_optimizer, set_learning_rate
from didi_core.models.sharding import (
    gathered,
    shard_network,
    skeleton_of,
    spread_like,
    spread_state,
    whole_network,
)


def mesh_of(fabric: Fabric) -> DeviceMesh | None:
    """Return the processes over which networks are spread; None where each has them whole."""
    strategy = fabric.strategy
    if not isinstance(strategy, ModelParallelStrategy):
        return None
    return strategy.device_mesh["data_parallel"]


def place_frozen(network: nn.Module, fabric: Fabric) -> None:
    """Put a network that is only asked on the device, or in shards as those that train."""
    mesh = mesh_of(fabric)
    if mesh is None:
        network.to(fabric.device)
    else:
        shard_network(network, mesh)


class Trained:
    """Updates one network of a method: gradients of one pass or more, then clip, rate, step.

    Args:
        forward_methods: methods called instead of `forward`; Fabric puts them under its precision
            and gradient synchronisation.
    """

    def __init__(
        self, module: nn.Module, settings: OptimizerSettings, forward_methods: tuple[str, ...]
    ) -> None:
        self.module: Any = module
        self.settings = settings
        self.forward_methods = forward_methods
        self._skeleton: nn.Module | None = None

    def setup(self, fabric: Fabric) -> None:
        self.fabric = fabric
        if mesh_of(fabric) is not None:
            self._skeleton = skeleton_of(self.module)
        # The network first: sharding replaces the parameters that optimisers hold.
        self.wrapped = fabric.setup_module(self.module)
        self.optimizers = build_optimizer(self.module, self.settings)
        self._stepped: list[Any] = [fabric.setup_optimizers(each) for each in self.optimizers]
        for name in self.forward_methods:
            self.wrapped.mark_forward_method(name)

    def logits_at(self, *arguments: Any, **named: Any) -> Tensor:
        """Call the network's `logits_at` under Fabric's precision and gradient synchronisation.

        On one device Fabric calls a marked method directly, outside its autocast: so it is here.
        """
        with self.fabric.autocast():
            return self.wrapped.logits_at(*arguments, **named)

    def clear(self) -> None:
        """Forget the gradients of the last update."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss` to those that are there."""
        self.fabric.backward(loss)

    def without_exchange(self) -> AbstractContextManager[None]:
        """Within, processes keep what `backward` adds to themselves, until one outside.

        In shards they exchange all the same: none has room for gradients that are whole.
        """
        if mesh_of(self.fabric) is not None:
            return nullcontext()
        return self.fabric.no_backward_sync(self.wrapped)

    def update(self, step: int, steps: int) -> float:
        """Update once by the gradients; return their global norm before clipping."""
        set_learning_rate(self.optimizers, self.settings, step, steps)
        trained = [p for p in self.module.parameters() if p.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trained, self.settings.clip_norm or math.inf)
        for stepped in self._stepped:
            stepped.step()
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def whole(self) -> Any:
        """Return the network; where it is sharded a copy. Every process must call this."""
        return whole_network(self.module, self._skeleton)

    def state_dict(self) -> dict[str, Any]:
        """Return whole tensors, on the first process; every process must call this."""
        return gathered(
            {
                "module": self.module.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(spread_state(state["module"], self.module))
        for optimizer, stored in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(_spread_moments(stored, optimizer))


def _spread_moments(stored: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return an optimiser's state with each moment spread as its parameter is."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {
        number: {name: spread_like(each, parameters[number]) for name, each in held.items()}
        for number, held in stored["state"].items()
    }
    return {**stored, "state": state}
