"""What every kind of pre-training shares: one network, updated on the batches of a corpus.

A kind of pre-training is a subclass that says what the loss of a batch is.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from lightning.fabric import Fabric
from torch import Tensor, nn

from didi_core.data.batches import TokenBatch
from didi_core.data.corpus import CorpusBatches, share_of_batch
from didi_core.distill.distributed_mean import all_reduce_metrics
from didi_core.distill.method import Network
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.passes import Pass, Passes, finished
from didi_core.distill.updates import Trained, mesh_of
from didi_core.models.ema import ExponentialMovingAverage


@dataclass(frozen=True)
class BatchShare:
    """The part of a step's batch that this process computes in one pass."""

    step: int
    batch: TokenBatch
    """On the network's device."""
    records: np.ndarray
    """Place in the corpus of each row: a key for randomness."""
    places: np.ndarray
    """Place of each row in the whole batch."""
    num_records: int
    """Rows of the whole batch, over all processes."""
    weight: int = 1
    """Of its loss: 0 where it is there only because every process must take part."""
    steps: int = 0
    """Updates that the run will have, where a phase of it depends on them."""


class Pretraining(ABC):
    """Minimises a loss in nats a token over a corpus; the result is the averaged network.

    Args:
        forward_methods: methods of the network that are called instead of `forward`.
        passes: how an update is cut where memory does not suffice; by default not at all.
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
        passes: Passes | None = None,
    ) -> None:
        self.data = data
        self.passes = passes or Passes()
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
    def total_loss(self, share: BatchShare) -> Generator[int, list[int], Float[Tensor, ""]]:
        """Yield the count by which the loss is to be divided; return its sum in nats.

        The network is asked after the `yield` (`didi_core.distill.passes`).
        """

    def step(self, step: int, steps: int) -> dict[str, float]:
        figures = self.passes.accumulate(
            self.fabric, [self.network], lambda: self._shares(step, steps), self._learn
        )
        norm = self.network.update(step, steps)
        self.ema.update(self.network.module)
        return {**all_reduce_metrics(self.fabric, figures), "gradient_norm": norm}

    def _shares(self, step: int, steps: int) -> list[BatchShare]:
        """Return what this process computes of the batch of `step`, a share for each pass."""
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        records = self.data.records(step)
        number = self.passes.number(-(-len(records) // processes), self.data.width(records))
        shares = []
        for each in range(number):
            # Passes divide the batch as so many more processes would.
            part = share_of_batch(len(records), rank + each * processes, number * processes)
            mine = records[part[0]]
            batch = self.data.batch(mine, step).to(self.fabric.device)
            shares.append(BatchShare(step, batch, mine, part[0], len(records), part[1], steps))
        return shares

    def _learn(self, share: BatchShare) -> Pass:
        half_done = self.total_loss(share)
        whole = yield [share.weight * next(half_done)]
        total = finished(half_done, whole)
        # Normalised over all passes and processes: the loss must not depend on their number.
        loss = share.weight * total / total.new_tensor(max(1, *whole)) * self.fabric.world_size
        self.network.backward(loss)
        return {"loss": float(loss.detach())}

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
