"""Several processes that generate or score together under torchrun: who does what.

    torchrun --nproc-per-node 4 --no-python -- didi-protein generate --model tiny-student ...

Each process takes every n-th batch on a GPU of its own and keeps what it has finished in a file of
its own; the first one gathers all of it and writes what a single process would write.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed

from didi_core.errors import UserError
from didi_core.training.devices import (
    PATIENCE,
    leave_group_at_exit,
    resolve_device,
    started_by_torchrun,
)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Processes:
    """This process among those that torchrun started; alone without it."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """Return the device of `--device`; the GPU of this process where only the kind is said."""
        device = resolve_device(name)
        if self.count > 1 and device == torch.device("cuda"):
            return torch.device("cuda", self.local_rank)
        return device

    def share(self, batches: Sequence[Item]) -> list[Item]:
        """Choose the batches of this process."""
        return list(batches[self.rank :: self.count])

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            distributed.barrier()

    def results(
        self, batches: Sequence[list[int]], compute: Callable[[list[int]], Item]
    ) -> list[Item]:
        """Compute the batches of this process; see `didi_core.sampling.batching.Share`."""
        parts = self.exchange([compute(batch) for batch in self.share(batches)])
        return [parts[place % self.count][place // self.count] for place in range(len(batches))]

    def exchange(self, part: Item) -> list[Item]:
        """Return what all processes found, in their order, in each of them."""
        if self.count == 1:
            return [part]
        parts: list[Any] = [None] * self.count
        distributed.all_gather_object(parts, part)
        return parts

    def from_first(self, part: Item | None) -> Item:
        """Return what the first process gives in all of them, of which the others give None."""
        first = self.exchange(part)[0]
        assert first is not None
        return first

    def collect(self, part: Item) -> list[Item] | None:
        """Collect what all processes found, in their order, on the first one; None elsewhere."""
        if self.count == 1:
            return [part]
        received: list[Any] | None = [None] * self.count if self.is_first else None
        distributed.gather_object(part, received)
        return received


def of_first(result: Item | None) -> Item:
    """Return what `generate` or `score` made for a verb that processes do not share.

    Raises:
        UserError: this process is one of several that torchrun started, and not the first.
    """
    if result is None:
        raise UserError("torchrun: this command shares no work; start it without torchrun.")
    return result


def join_processes() -> Processes:
    """Join the processes that torchrun started; this one alone where it did not."""
    if not started_by_torchrun() or int(os.environ["WORLD_SIZE"]) == 1:
        return Processes()
    if not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=PATIENCE)
        leave_group_at_exit()
    local_rank = int(os.environ["LOCAL_RANK"])
    if local_rank < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)  # what plain `cuda` means from here on
    return Processes(distributed.get_rank(), distributed.get_world_size(), local_rank)
