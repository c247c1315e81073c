"""Several processes that score together under torchrun: who does what, and how rows come back.

    torchrun --nproc-per-node 4 --no-python didi-protein score designs.fasta --fold esmfold ...

Each process takes every n-th batch on a GPU of its own; the first one gathers all rows and writes
the table that a single process would write.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from didi_core.sampling.partial_file import partial_path
from didi_core.training.devices import resolve_device
from didi_protein.score_row import Row

_PATIENCE = timedelta(days=30)
"""How long one process waits for another: torchrun ends all of them when one fails."""


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
        """The device of `--device`; the GPU of this process where only the kind is said."""
        device = resolve_device(name)
        if self.count > 1 and device.type == "cuda" and device.index is None:
            return torch.device("cuda", self.local_rank)
        return device

    def share(self, batches: Sequence[Sequence[int]]) -> list[Sequence[int]]:
        """The batches of this process."""
        return list(batches[self.rank :: self.count])

    def journal_path(self, out: Path) -> Path:
        """Where this process notes what it has scored."""
        path = partial_path(out)
        return path if self.is_first else path.with_name(f"{path.name}-{self.rank}")

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()

    def gather(self, rows: Sequence[Row], places: Sequence[int]) -> bool:
        """Bring what each process found at its `places` into the first one's `rows`.

        Returns:
            Whether this is the first process.
        """
        if self.count == 1:
            return True
        found = [(place, rows[place].status, rows[place].error, rows[place].values)
                 for place in places]  # fmt: skip
        received: list[Any] | None = [None] * self.count if self.is_first else None
        distributed.gather_object(found, received)
        for place, status, error, values in (each for part in received or () for each in part):
            rows[place].status, rows[place].error, rows[place].values = status, error, values
        return self.is_first


def join_processes() -> Processes:
    """The processes that torchrun started, connected; this one alone where it did not."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        return Processes()
    if not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=_PATIENCE)
    return Processes(
        distributed.get_rank(), distributed.get_world_size(), int(os.environ["LOCAL_RANK"])
    )


def journals_of(out: Path) -> list[Path]:
    """The notes of all processes of an unfinished run, also of one with other processes."""
    path = partial_path(out)
    if not path.parent.is_dir():
        return []
    names = (path.name, f"{path.name}-")
    found = (each for each in path.parent.iterdir() if each.name.startswith(names))
    return sorted(each for each in found if each == path or each.name.startswith(names[1]))
