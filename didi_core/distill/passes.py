"""Gradient accumulation: an update in several passes, each of which fits into memory.

A pass takes a part of the update's rows forward and backward. It is a generator of two halves:

    def learn(self, part):
        masked = ...                                # drawn by row and update; no network is asked
        (whole,) = yield [int(masked.sum())]        # what its means are over: here, and in all
        loss = share_of_mean(self.fabric, count, whole) * ...
        self.student.backward(loss)
        return {"loss": float(loss.detach())}       # its part of the metrics

All passes come to their `yield` before the first goes on. So each loss is divided by what the whole
update holds, on all processes, and the gradients of the passes sum to those of one.
"""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from typing import Protocol, TypeVar, runtime_checkable

from lightning.fabric import Fabric

from didi_core.data.batches import TokenBatch
from didi_core.distill.distributed_mean import whole_counts
from didi_core.distill.updates import Trained
from didi_core.errors import UserError
from didi_core.peak_memory import is_out_of_memory, release_cached_memory

Result = TypeVar("Result")
Pass = Generator[list[int], list[int], dict[str, float]]


@runtime_checkable
class Part(Protocol):
    """Has the rows of a pass."""

    @property
    def batch(self) -> TokenBatch: ...


P = TypeVar("P", bound=Part)


class Passes:
    """Cuts updates into passes, and into smaller ones when memory runs out.

    Args:
        tokens: rows times padded width of a pass on one process, at most; None for all it has.
        on_change: hears the tokens that a lack of memory has brought them to.
    """

    def __init__(
        self, tokens: int | None = None, on_change: Callable[[int], None] | None = None
    ) -> None:
        self.tokens = tokens
        self.on_change = on_change

    def number(self, units: int, unit_tokens: int) -> int:
        """Return how many passes `units` take, at least one of them in each.

        Args:
            unit_tokens: of a row, or of a group of rows that must stay together.

        >>> Passes(2048).number(7, 512), Passes(100).number(7, 512), Passes().number(7, 512)
        (2, 7, 1)
        """
        if self.tokens is None:
            return 1
        return -(-units // max(1, self.tokens // unit_tokens))

    def accumulate(
        self,
        fabric: Fabric,
        networks: Sequence[Trained],
        draw: Callable[[], Sequence[P]],
        learn: Callable[[P], Pass],
    ) -> dict[str, float]:
        """Gather in `networks` the gradients of one update of each, and return its metrics.

        Where memory runs out the passes become half as large, and the update begins again: what is
        drawn is keyed by row and update, so that nothing else changes.

        Args:
            draw: returns this process's part of the update, cut for each pass; as many on each
                process.
            learn: takes a part.

        Raises:
            UserError: memory does not suffice for a single row or group, or runs out on one of
                several processes, which the others cannot know.
        """
        parts = draw()
        while True:
            try:
                return _in_turn(fabric, networks, [learn(part) for part in parts])
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                # Without its traceback, which holds on to the tensors of the pass that failed.
                lack = error.with_traceback(None)
            release_cached_memory()
            parts = self._smaller(parts, draw, fabric, lack)

    def _smaller(
        self, parts: Sequence[P], draw: Callable[[], Sequence[P]], fabric: Fabric, lack: Exception
    ) -> Sequence[P]:
        """Return the same rows in more parts."""
        largest = max(part.batch.tokens.numel() for part in parts)
        half = max(1, largest // 2)
        told = f"Out of memory in a pass of {largest:,} tokens"
        self.tokens = half
        smaller = draw()
        if len(smaller) <= len(parts):
            raise UserError(
                f"{told}, which cannot be cut: give a smaller max_length, precision=bf16 or "
                "checkpoint_activations=true."
            ) from lack
        if fabric.world_size > 1:
            raise UserError(
                f"{told} on process {fabric.global_rank}: go on with tokens_per_pass={half} and "
                "resume=true."
            ) from lack
        print(
            f"{told}: the update begins again, and training goes on, with tokens_per_pass={half}.",
            file=sys.stderr,
        )
        if self.on_change is not None:
            self.on_change(half)
        return smaller


def _in_turn(
    fabric: Fabric, networks: Sequence[Trained], passes: Sequence[Pass]
) -> dict[str, float]:
    """Do the passes one after the other; processes exchange the gradients in the last."""
    for network in networks:
        network.clear()
    counts = [next(each) for each in passes]
    whole = whole_counts(fabric, [sum(each) for each in zip(*counts, strict=True)])
    metrics: dict[str, float] = {}
    for number, each in enumerate(passes, 1):
        with ExitStack() as stack:
            if number < len(passes):
                for network in networks:
                    stack.enter_context(network.without_exchange())
            found = finished(each, whole)
        metrics = {name: metrics.get(name, 0.0) + value for name, value in found.items()}
    return metrics


def finished(half_done: Generator[object, list[int], Result], whole: list[int]) -> Result:
    """Return what a generator does after its one `yield`, to which it is sent `whole`."""
    try:
        half_done.send(whole)
    except StopIteration as done:
        return done.value
    raise AssertionError("a pass yields once")
