"""The interface of everything the training loop can drive, pre-training included.

A method owns its networks and optimisers and has one `step`. The loop does not know which method
it drives.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from lightning.fabric import Fabric
from torch import nn

from didi_core.distill.optimizers import OptimizerSettings


@dataclass(frozen=True)
class Network:
    """One network that a method holds."""

    name: str
    module: nn.Module
    optimizer: OptimizerSettings | None = None
    """How it is updated; None where it is only asked."""


class Method(Protocol):
    """What a training method offers the loop."""

    graphs: ClassVar[int]
    """Forward passes that are remembered for gradients at the same time."""

    def networks(self) -> list[Network]:
        """All that the method holds."""
        ...

    def setup(self, fabric: Fabric) -> None:
        """Move networks to the device and wrap them; called once, before any step."""
        ...

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Do update number `step` (from 0) of `steps`; return figures to log."""
        ...

    def sampled(self) -> nn.Module:
        """The network of `result` where it is; in shards, all processes make its calls."""
        ...

    def result(self) -> nn.Module:
        """The network the run is for, with the weights to be saved (EMA).

        Every process must call this; where networks are sharded, the first one's is filled.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs beyond (seed, step); every process must call this."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
