"""Means over the whole batch, when several processes share it.

Fabric averages gradients over processes. A process that holds more values than another must weigh
more, or the loss would depend on how many processes there are.
"""

from typing import cast

import torch
from lightning.fabric import Fabric
from torch import Tensor


def reduced(fabric: Fabric, value: Tensor, how: str = "mean") -> Tensor:
    """Return the "mean", "sum" or "max" over all processes; every process must call this."""
    return cast(Tensor, fabric.all_reduce(value, reduce_op=how))


def whole_count(fabric: Fabric, count: int) -> int:
    """Return the sum of a count over all processes; every process must call this."""
    if fabric.world_size == 1:
        return count
    return int(reduced(fabric, torch.tensor(count, device=fabric.device), "sum"))


def share_of_mean(fabric: Fabric, count: int) -> float:
    """Return what turns a mean over this process's `count` values into its part of the whole's.

    The average of the parts over processes is the mean over the values of all of them; on one
    process the factor is 1. Every process must call this, also with a count of 0.
    """
    if fabric.world_size == 1:
        return 1.0
    # Fabric divides the sum of the parts by the number of processes, hence the factor.
    return count * fabric.world_size / max(1, whole_count(fabric, count))


def all_reduce_metrics(fabric: Fabric, parts: dict[str, float]) -> dict[str, float]:
    """Return metrics of the whole batch from each process's part; the same on all processes."""
    if fabric.world_size == 1 or not parts:
        return parts
    values = torch.tensor(list(parts.values()), dtype=torch.float64, device=fabric.device)
    return dict(zip(parts, reduced(fabric, values).tolist(), strict=True))
