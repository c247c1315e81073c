"""Processor time of a job over all its runs: one that was stopped and went on cost both."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def metered(log: Path) -> Iterator[Callable[[], float]]:
    """Add the processor time of the block to `log`, also when it is interrupted.

    Yields:
        A function that gives the seconds of the job's earlier runs and of this one so far.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    used = time.process_time()
    earlier = sum(map(float, log.read_text(encoding="utf-8").split())) if log.exists() else 0.0
    try:
        yield lambda: earlier + time.process_time() - used
    finally:
        with open(log, "a", encoding="utf-8") as stream:
            stream.write(f"{time.process_time() - used:.3f}\n")
