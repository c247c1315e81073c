"""Means over the whole batch, when several processes and passes share it.

Fabric averages gradients over processes, and passes add to them. One that holds more values than
another must weigh more, or the loss would depend on how many there are.
"""

from typing import cast

import torch
from lightning.fabric import Fabric
from torch import Tensor


def reduced(fabric: Fabric, value: Tensor, how: str = "mean") -> Tensor:
    """Return the "mean", "sum" or "max" over all processes; every process must call this."""
    return cast(Tensor, fabric.all_reduce(value, reduce_op=how))


def whole_counts(fabric: Fabric, counts: list[int]) -> list[int]:
    """Return the sums of counts over all processes; every process must call this."""
    if fabric.world_size == 1:
        return counts
    return reduced(fabric, torch.tensor(counts, device=fabric.device), "sum").tolist()


def share_of_mean(fabric: Fabric, count: int, whole: int) -> float:
    """Return what turns a mean over this pass's `count` values into its part of that over `whole`.

    The sum of the parts over passes, averaged over processes, is the mean over the values of all of
    them; of one pass on one process the factor is 1.
    """
    # Fabric divides the sum of the parts by the number of processes, hence the factor.
    return count * fabric.world_size / max(1, whole)


def all_reduce_metrics(fabric: Fabric, parts: dict[str, float]) -> dict[str, float]:
    """Return metrics of the whole batch from each process's part; the same on all processes."""
    if fabric.world_size == 1 or not parts:
        return parts
    values = torch.tensor(list(parts.values()), dtype=torch.float64, device=fabric.device)
    return dict(zip(parts, reduced(fabric, values).tolist(), strict=True))
