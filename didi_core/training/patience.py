"""When training has gone on for long enough: held-out loss no longer falls (early stopping [1]_).

.. [1] Prechelt. "Early stopping - but when?", Neural Networks: Tricks of the Trade, 1998.
"""

import math
from typing import Any

from lightning.fabric import Fabric
from torch import Tensor
from torch.distributed.tensor import DTensor

from didi_core.models.ema import ExponentialMovingAverage
from didi_core.models.sharding import gathered, spread_state


class Patience:
    """Keeps the averaged weights of the lowest held-out loss, and counts evaluations since.

    Args:
        limit: evaluations without a lower loss after which training is to stop.
        average: whose weights are evaluated, and kept where they are best.
    """

    def __init__(self, limit: int, average: ExponentialMovingAverage) -> None:
        self.limit, self.average = limit, average
        self.best, self.best_step, self.waited = math.inf, 0, 0
        self._weights: dict[str, Tensor] | None = None

    @property
    def is_over(self) -> bool:
        """Whether training is to stop."""
        return self.waited >= self.limit

    def look(self, step: int, loss: float, fabric: Fabric) -> None:
        """Take note of an evaluation after `step` updates; every process must call this.

        The first process's loss decides for all: on unlike devices theirs differ in the last bits.
        """
        loss = fabric.broadcast(loss) if fabric.world_size > 1 else loss
        if loss < self.best:
            self.best, self.best_step, self.waited = loss, step, 0
            state = self.average.module.state_dict()
            self._weights = {name: _copied(tensor) for name, tensor in state.items()}
        else:
            self.waited += 1

    def restore(self) -> None:
        """Put the best weights into the average; as they are where nothing was evaluated."""
        if self._weights is not None:
            self.average.module.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs; every process must call this. Empty before a look."""
        if self._weights is None:
            return {}
        counts = {"best": self.best, "best_step": self.best_step, "waited": self.waited}
        return {**counts, "weights": gathered(self._weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_step = float(state["best"]), int(state["best_step"])
        self.waited = int(state["waited"])
        self._weights = spread_state(state["weights"], self.average.module)


def _copied(tensor: Tensor) -> Tensor:
    """Copy a tensor to the CPU, one that is spread over processes to where it is."""
    if isinstance(tensor, DTensor):
        return tensor.detach().clone()
    return tensor.detach().to("cpu", copy=True)
