"""The batch plan of a request: a function of the whole request, never of what is left to do.

So a resumed or sharded run computes every record in a batch of the same shape and neighbours, and
its output is the same bit for bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from didi_core.data.batches import bucket_width

Found = TypeVar("Found")


@runtime_checkable
class Share(Protocol):
    """Who computes the batches of a plan: one process, or several, each a part of them."""

    @property
    def count(self) -> int:
        """How many processes there are."""

    def results(
        self, batches: Sequence[list[int]], compute: Callable[[list[int]], Found]
    ) -> list[Found]:
        """Return what `compute` finds of every batch, in their order, in every process."""


@dataclass(frozen=True)
class Alone:
    """One process computes all batches."""

    count: int = 1

    def results(
        self, batches: Sequence[list[int]], compute: Callable[[list[int]], Found]
    ) -> list[Found]:
        return [compute(batch) for batch in batches]


ALONE = Alone()


def plan_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Return the record numbers of each batch, like widths together.

    Args:
        lengths: tokens of each record, framing included.
        batch_tokens: most rows times padded width of a batch; a single longer record still gets
            a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: (bucket_width(lengths[i]), i))
    batches: list[list[int]] = []
    width = 0
    for record in order:
        same = bucket_width(lengths[record]) == width
        if not same or (len(batches[-1]) + 1) * width > batch_tokens:
            batches.append([])
            width = bucket_width(lengths[record])
        batches[-1].append(record)
    return batches


def shard_of(batches: list[list[int]], index: int, count: int) -> list[list[int]]:
    """Return the batches of shard `index` (from 1) of `count`: every `count`-th one."""
    return batches[index - 1 :: count]
