"""How long a training takes, by the operations of its matrix products, before it is begun.

An estimate: operations are counted from the networks' shapes, and a training is taken to reach
`UTILISATION` of the rate of large matrix products, which is measured where it is to run.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from didi_core.distill.method import Network
from didi_core.training.devices import TORCH_TYPES
from didi_core.training.memory_plan import trunk_of

UTILISATION = 0.4
"""Share of the rate of large matrix products that a training is taken to reach: an assumption."""
_WIDTHS = {"cpu": 1024, "cuda": 8192}
"""Of the matrices by which the rate is measured."""
_REPEATS = 3


@dataclass(frozen=True)
class TimePlan:
    """What a run computes, and how quickly."""

    operations: float
    """Multiplications and additions of an update, over all processes."""
    updates: int
    rate: float
    """Operations a second of a large matrix product on one process."""
    processes: int

    @property
    def seconds(self) -> float:
        """Return how long all updates take."""
        return self.operations * self.updates / (UTILISATION * self.rate * self.processes)


def update_operations(
    networks: Iterable[Network],
    tokens: int,
    length: int,
    graphs: int,
    again: bool,
    repeated: int = 0,
) -> float:
    """Count the operations of an update of `tokens` in sequences of `length`.

    Args:
        graphs: forward passes with gradients.
        again: whether blocks are computed again in the backward pass.
        repeated: forward passes without gradients, of trained networks.
    """
    networks = list(networks)
    trained = [each.module for each in networks if each.optimizer is not None]
    # A backward pass computes twice what its forward pass does: gradients of inputs and weights.
    trained_passes = graphs * (4 if again else 3) + repeated
    most = max(forward_operations(each, tokens, length) for each in trained)
    # Averages are not asked; each other network that stays as it is, once.
    asked = [n.module for n in networks if n.optimizer is None and not n.name.endswith("average")]
    return trained_passes * most + sum(forward_operations(n, tokens, length) for n in asked)


def forward_operations(network: nn.Module, tokens: int, length: int) -> int:
    """Count the operations of a forward pass that predicts all of `tokens` positions."""
    # A matrix multiplies and adds once for each of its elements and each token; what tells the time
    # once a sequence, which is next to nothing.
    weights = (
        getattr(module, "weight", None)
        for name, module in network.named_modules()
        if not isinstance(module, nn.Embedding) and not name.endswith("modulation")
    )
    matrices = sum(w.numel() for w in weights if isinstance(w, torch.Tensor) and w.ndim == 2)
    trunk: Any = trunk_of(network)
    # A layout that is not ours says the same under the same names.
    shape: Any = trunk.settings if trunk is not None else getattr(network, "config", None)
    sizes = (getattr(shape, "num_layers", None), getattr(shape, "num_hidden_layers", None))
    layers = next((size for size in sizes if isinstance(size, int)), 0)
    width = getattr(shape, "hidden_size", 0)
    # Attention: a product of queries and keys, and one of weights and values.
    return 2 * tokens * (matrices + 2 * layers * width * length)


def matrix_rate(device: torch.device, precision: str) -> float:
    """Measure the operations a second of a large matrix product, the best of a few."""
    width = _WIDTHS[device.type]
    matrix = torch.ones(width, width, device=device, dtype=TORCH_TYPES[precision])
    seconds = []
    for _ in range(_REPEATS + 1):  # the first one warms up
        started = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # waits for the result
        seconds.append(time.perf_counter() - started)
    return 2 * width**3 / min(seconds[1:])
