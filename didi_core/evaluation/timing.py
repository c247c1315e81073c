"""How fast sequences are written: latency of one, and tokens a second at the best batch.

Nothing here knows what writes. A caller gives a function that finishes the sequences of some
records and has their tokens on the host when it returns, so that no device is still at work when
the clock is read.

    latency = measure_latency(write, repeats=5)          # seconds a sequence, alone
    throughput = search_throughput(write, tokens=1024, max_batch=64)
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from didi_core.peak_memory import is_out_of_memory, release_cached_memory

Write = Callable[[Sequence[int]], object]
"""Writes the sequences of these records to the end, in one batch."""
Clock = Callable[[], float]
"""Seconds from any origin."""

RUNS_OF_A_BATCH = 2
"""The faster of two is taken: the first may pay for set-up at a new shape."""
PATIENCE = 2
"""Doublings without a gain that end the search."""


@dataclass(frozen=True)
class Latency:
    """Seconds from the request of one sequence to its tokens."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""
    seconds: tuple[float, ...]
    """Each repeat, of a record of its own."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class BatchRate:
    """One batch size."""

    batch: int
    tokens_per_second: float


@dataclass(frozen=True)
class Throughput:
    """What the search over batch sizes found."""

    best: BatchRate
    tried: tuple[BatchRate, ...]
    stopped_by: Literal["bound", "memory", "no gain"]
    """Why no larger batch was tried."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure_latency(write: Write, repeats: int, clock: Clock = time.perf_counter) -> Latency:
    """Time sequences one by one, after one that warms up.

    Repeats are records 0, 1, ...: the spread is that of the machine and, where the number of
    calls differs between records, of the calls.
    """
    write([0])
    seconds = [_seconds(write, [record], clock) for record in range(repeats)]
    low, median, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    return Latency(float(median), float(low), float(high), tuple(seconds))


def search_throughput(
    write: Write, tokens: int, max_batch: int, clock: Clock = time.perf_counter
) -> Throughput:
    """Try batches of 1, 2, 4, ... sequences up to `max_batch`.

    The search ends early where memory does not hold a batch, or where two doublings in a row
    brought nothing.

    Args:
        tokens: of one sequence.

    Raises:
        Exception: what `write` raised, where it is not a lack of memory or not even one sequence
            fits.
    """
    tried: list[BatchRate] = []
    batch = 1
    while batch <= max_batch:
        rate = _rate(write, batch, tokens, clock, first=not tried)
        if rate is None:
            release_cached_memory()
            return _throughput(tried, "memory")
        tried.append(rate)
        if len(tried) - 1 - tried.index(_best(tried)) >= PATIENCE:
            return _throughput(tried, "no gain")
        batch *= 2
    return _throughput(tried, "bound")


def _rate(write: Write, batch: int, tokens: int, clock: Clock, first: bool) -> BatchRate | None:
    """Measure the rate at this batch; None where memory does not hold it."""
    records = range(batch)
    try:
        seconds = min(_seconds(write, records, clock) for _ in range(RUNS_OF_A_BATCH))
    except Exception as error:
        if first or not is_out_of_memory(error):
            raise
        return None
    return BatchRate(batch, batch * tokens / seconds)


def _seconds(write: Write, records: Sequence[int], clock: Clock) -> float:
    started = clock()
    write(records)
    return clock() - started


def _best(tried: Sequence[BatchRate]) -> BatchRate:
    return max(tried, key=lambda rate: rate.tokens_per_second)


def _throughput(
    tried: Sequence[BatchRate], stopped_by: Literal["bound", "memory", "no gain"]
) -> Throughput:
    return Throughput(_best(tried), tuple(tried), stopped_by)
