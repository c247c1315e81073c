"""Time things against each other in one process: in alternation, warmed up, as ratios.

A machine's speed drifts, and by more than what is to be measured. So every round runs each
contestant once, every second round in the reverse order, and the figure is the median over rounds
of the ratio within a round.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from didi_core.peak_memory import PeakMemory, is_out_of_memory, release_cached_memory

Contestants = Mapping[str, Callable[[], object]]


@dataclass
class Timed:
    """What came out of the rounds."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Of each contestant, one a round."""
    peak_bytes: dict[str, int | None] = field(default_factory=dict)
    """In the round that warms up."""
    out_of_memory: list[str] = field(default_factory=list)
    """Contestants that memory did not hold: they take part in no round."""

    def ratio(self, over: str, under: str) -> dict[str, float] | None:
        """Seconds of `over` by those of `under`; None where memory did not hold either."""
        if not {over, under} <= self.seconds.keys():
            return None
        return quartiles([a / b for a, b in zip(*self._pair(over, under), strict=True)])

    def _pair(self, over: str, under: str) -> tuple[list[float], list[float]]:
        return self.seconds[over], self.seconds[under]

    def record(self, ratios: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """As JSON."""
        return {
            "seconds": {name: quartiles(each) for name, each in self.seconds.items()},
            "ratios": {f"{over} / {under}": self.ratio(over, under) for over, under in ratios},
            "rounds": {name: each for name, each in self.seconds.items()},
            "peak_bytes": self.peak_bytes,
            "out_of_memory": self.out_of_memory,
        }


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Median with first and third quartile."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def alternate(
    contestants: Contestants,
    repeats: int,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> Timed:
    """Time all contestants `repeats` times."""
    timed = Timed()
    for name, run in contestants.items():
        _warm_up(name, run, device, timed)
    names = [name for name in contestants if name not in timed.out_of_memory]
    timed.seconds = {name: [] for name in names}
    for number in range(repeats):
        for name in names if number % 2 == 0 else names[::-1]:
            _synchronise(device)
            started = clock()
            contestants[name]()
            _synchronise(device)
            timed.seconds[name].append(clock() - started)
    return timed


def _warm_up(name: str, run: Callable[[], object], device: torch.device, timed: Timed) -> None:
    try:
        with PeakMemory(device) as peak:
            run()
            _synchronise(device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        timed.out_of_memory.append(name)
    else:
        timed.peak_bytes[name] = peak.bytes
    release_cached_memory()


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
