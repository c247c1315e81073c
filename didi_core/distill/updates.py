"""A network with its optimisers, as Fabric drives them."""

from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from didi_core.distill.optimizers import OptimizerSettings, build_optimizer, set_learning_rate


class Trained:
    """A network that a method updates: backward, clip, rate, step.

    Args:
        forward_methods: methods called instead of `forward`; Fabric puts them under its precision
            and gradient synchronisation.
    """

    def __init__(
        self, module: nn.Module, settings: OptimizerSettings, forward_methods: tuple[str, ...]
    ) -> None:
        self.module = module
        self.settings = settings
        self.forward_methods = forward_methods

    def setup(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.module.to(fabric.device)
        self.optimizers = build_optimizer(self.module, self.settings)
        self.wrapped, *self._stepped = fabric.setup(self.module, *self.optimizers)
        for name in self.forward_methods:
            self.wrapped.mark_forward_method(name)

    def logits_at(self, *arguments: Any, **named: Any) -> Tensor:
        """The network's `logits_at` under Fabric's precision and gradient synchronisation.

        On one device Fabric calls a marked method directly, outside its autocast: so it is here.
        """
        with self.fabric.autocast():
            return self.wrapped.logits_at(*arguments, **named)

    def update(self, loss: Tensor, step: int, steps: int) -> float:
        """One update; returns the gradient's global norm before clipping."""
        set_learning_rate(self.optimizers, self.settings, step, steps)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        trained = [p for p in self.module.parameters() if p.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trained, self.settings.clip_norm)
        for optimizer in self._stepped:
            optimizer.step()
        return float(norm)

    def state_dict(self) -> dict[str, Any]:
        return {
            "module": self.module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        for optimizer, stored in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)
