"""Latency and throughput with a clock of our own: exact figures, no sleeping."""

from collections.abc import Callable, Sequence

import pytest

from didi_core.evaluation.timing import measure_latency, search_throughput


class FakeMachine:
    """Writes batches in `cost(batch)` seconds of its own clock; `limit` is its memory."""

    def __init__(self, cost: Callable[[int], float], limit: int = 10**6) -> None:
        self.cost, self.limit = cost, limit
        self.now = 0.0
        self.batches: list[list[int]] = []

    def clock(self) -> float:
        return self.now

    def write(self, records: Sequence[int]) -> None:
        if len(records) > self.limit:
            raise MemoryError
        self.batches.append(list(records))
        self.now += self.cost(len(records))


def test_latency_is_the_median_after_a_warm_up() -> None:
    costs = iter([100.0, 5.0, 1.0, 2.0, 3.0, 4.0])
    machine = FakeMachine(lambda _: next(costs))
    found = measure_latency(machine.write, repeats=5, clock=machine.clock)
    assert found.seconds == (5, 1, 2, 3, 4)
    assert (found.low, found.median, found.high) == (2, 3, 4)
    assert machine.batches == [[0], [0], [1], [2], [3], [4]]


def test_the_best_batch_is_found_and_every_rate_kept() -> None:
    # A batch of B takes 1 + B/8 seconds: the larger, the more tokens a second.
    machine = FakeMachine(lambda batch: 1 + batch / 8)
    found = search_throughput(machine.write, tokens=10, max_batch=20, clock=machine.clock)
    assert [rate.batch for rate in found.tried] == [1, 2, 4, 8, 16]
    assert [rate.tokens_per_second for rate in found.tried] == [
        pytest.approx(10 * batch / (1 + batch / 8)) for batch in (1, 2, 4, 8, 16)
    ]
    assert (found.best.batch, found.stopped_by) == (16, "bound")


def test_the_faster_of_two_runs_counts() -> None:
    costs = iter([50.0, 2.0])
    machine = FakeMachine(lambda _: next(costs))
    found = search_throughput(machine.write, tokens=10, max_batch=1, clock=machine.clock)
    assert found.best.tokens_per_second == 5


def test_memory_ends_the_search_with_what_fits() -> None:
    machine = FakeMachine(lambda _: 1.0, limit=5)
    found = search_throughput(machine.write, tokens=10, max_batch=64, clock=machine.clock)
    assert (found.best.batch, found.stopped_by) == (4, "memory")
    with pytest.raises(MemoryError):
        search_throughput(FakeMachine(lambda _: 1.0, limit=0).write, tokens=10, max_batch=64)


def test_two_doublings_without_a_gain_end_the_search() -> None:
    costs = {1: 1.0, 2: 1.5, 4: 4.0, 8: 9.0}
    machine = FakeMachine(costs.__getitem__)
    found = search_throughput(machine.write, tokens=1, max_batch=64, clock=machine.clock)
    assert (found.best.batch, found.stopped_by) == (2, "no gain")
    assert [rate.batch for rate in found.tried] == [1, 2, 4, 8]


def test_other_failures_are_not_hidden() -> None:
    def write(records: Sequence[int]) -> None:
        if len(records) > 1:
            raise ValueError("shapes")

    with pytest.raises(ValueError, match="shapes"):
        search_throughput(write, tokens=1, max_batch=4)
