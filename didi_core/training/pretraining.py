"""What every kind of pre-training shares: one network, updated on the batches of a corpus.

A kind of pre-training is a subclass that says what the loss of a batch is.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from lightning.fabric import Fabric
from torch import Tensor, nn

from didi_core.data.batches import TokenBatch
from didi_core.data.corpus import CorpusBatches, share_of_batch
from didi_core.distill.distributed_mean import reduced
from didi_core.distill.method import Network
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.updates import Trained, mesh_of
from didi_core.models.ema import ExponentialMovingAverage


@dataclass(frozen=True)
class BatchShare:
    """The part of a step's batch that this process computes."""

    step: int
    batch: TokenBatch
    """On the network's device."""
    records: np.ndarray
    """Place in the corpus of each row: a key for randomness."""
    places: np.ndarray
    """Place of each row in the whole batch."""
    num_records: int
    """Rows of the whole batch, over all processes."""
    steps: int = 0
    """Updates that the run will have, where a phase of it depends on them."""


class Pretraining(ABC):
    """Minimises a loss in nats a token over a corpus; the result is the averaged network.

    Args:
        forward_methods: methods of the network that are called instead of `forward`.
    """

    graphs: ClassVar[int] = 1

    def __init__(
        self,
        network: nn.Module,
        data: CorpusBatches,
        optimizer: OptimizerSettings,
        ema_decay: float,
        seed: int,
        forward_methods: tuple[str, ...] = (),
    ) -> None:
        self.data = data
        self.seed = seed
        self.network = Trained(network, optimizer, forward_methods)
        self.ema = ExponentialMovingAverage(network, ema_decay)

    def networks(self) -> list[Network]:
        trained = Network("network", self.network.module, self.network.settings)
        return [trained, Network("average", self.ema.module)]

    def setup(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.network.setup(fabric)
        self.ema.place(fabric.device, mesh_of(fabric))

    @abstractmethod
    def total_loss(self, share: BatchShare) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
        """Sum the loss in nats over the share, and count what it is to be divided by."""

    def step(self, step: int, steps: int) -> dict[str, float]:
        fabric = self.fabric
        records = self.data.records(step)
        places, weight = share_of_batch(len(records), fabric.global_rank, fabric.world_size)
        mine = records[places]
        batch = self.data.batch(mine, step).to(fabric.device)
        total, count = self.total_loss(BatchShare(step, batch, mine, places, len(records), steps))
        # Normalised over all processes: the loss must not depend on their number.
        count = reduced(fabric, weight * count, "sum").clamp_min(1)
        loss = weight * total / count * fabric.world_size
        norm = self.network.update(loss, step, steps)
        self.ema.update(self.network.module)
        return {"loss": float(reduced(fabric, loss.detach())), "gradient_norm": norm}

    def sampled(self) -> nn.Module:
        """Return the network of `result` where it is: if sharded, all processes make its calls."""
        return self.ema.module

    def result(self) -> nn.Module:
        return self.ema.whole()

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "ema": self.ema.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])
