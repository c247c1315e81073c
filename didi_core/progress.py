"""Progress on standard error: a bar on a terminal, and lines with the time left anywhere else."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

FIRST_LINE = 10.0
"""Seconds after which a phase that goes on is first spoken of."""


LONGEST_SILENCE = 600.0
"""Seconds between two lines, at most; the first ones come sooner."""


class ProgressLines:
    """Lines of a log: how much of a phase is done, and the time left; none of a short phase.

    Args:
        total: of `done`; None where it is not known, and no time left with it.
        already: of `total` before this run.
    """

    def __init__(self, description: str, total: float | None, already: float = 0.0) -> None:
        self._description, self._total, self._already = description, total, already
        self._started = time.monotonic()
        self._due = self._started + FIRST_LINE
        self._first: tuple[float, float] | None = None
        """What was done when, at the first report: the pace is that of what came after."""

    def __call__(self, done: float, more: str = "") -> None:
        """Write a line where one is due."""
        now = time.monotonic()
        self.note(done)
        if now < self._due:
            return
        self._due = now + self._silence(now)
        line = f"{self._description}: {self._share(done)}, {self.time_left(done)}{more}"
        print(line, file=sys.stderr, flush=True)

    @property
    def elapsed(self) -> float:
        """Seconds since this was made."""
        return time.monotonic() - self._started

    def wait(self) -> None:
        """Write a line where one is due, of a phase that does not say how far it is."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._silence(now)
            print(
                f"{self._description}: {readable_time(self.elapsed)} so far",
                file=sys.stderr,
                flush=True,
            )

    def _silence(self, now: float) -> float:
        """Return the seconds until the next line."""
        return min(LONGEST_SILENCE, max(FIRST_LINE, 0.2 * (now - self._started)))

    def note(self, done: float) -> None:
        """Take note of the first thing done, which pays for set-up and would slow the pace."""
        if self._first is None and done > self._already:
            self._first = (done, time.monotonic())

    def time_left(self, done: float) -> str:
        """Return the time left at the pace so far, in words."""
        left = self.seconds_left(done)
        if left is None:
            return f"{readable_time(self.elapsed)} so far"
        return f"about {readable_time(left)} left"

    def seconds_left(self, done: float) -> float | None:
        """Return the seconds left at the pace so far; None before there is a pace, or a total."""
        if not self._total:
            return None
        before, then = self._first or (self._already, self._started)
        if done <= before:  # the first report alone
            before, then = self._already, self._started
        if done <= before:
            return None
        pace = (time.monotonic() - then) / (done - before)
        return pace * max(0.0, self._total - done)

    def follow(self, total: float) -> None:
        """Take another total: what is planned may change with the pace."""
        self._total = total

    def _share(self, done: float) -> str:
        return f"{done:,.0f} done" if not self._total else f"{min(1.0, done / self._total):.0%}"


@contextmanager
def progress_bar(description: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """Yield a function that sets how much of `total` is done.

    Where standard error is no terminal, a phase that takes long writes a line now and then.
    """
    console, lines = error_console(), ProgressLines(description, total)
    if not console.is_terminal:
        yield lines
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )

    def show(done: float) -> None:
        lines.note(done)
        left = lines.time_left(done) if total else ""
        progress.update(task, completed=done, left=left)

    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(description, total=total, left="")
        yield show


SHORT = 2.0
"""Seconds: a phase that takes less begins unannounced."""


def announce(what: str, seconds: float) -> None:
    """Say on standard error what begins and how long it will take, about; not of a short phase.

    >>> announce("Finding neighbours", 0.5)
    """
    if seconds >= SHORT:
        print(f"{what}: about {readable_time(seconds)}.", file=sys.stderr, flush=True)


# The terminal people watch: progress and notes go to standard error.


def error_console() -> Console:
    """Standard error. Progress bars ask `is_terminal` and vanish when it is none."""
    return Console(stderr=True)


@lru_cache
def say_once(sentence: str) -> None:
    """Write a line to standard error, and nothing where this process has written it before."""
    print(sentence, file=sys.stderr, flush=True)


# Counts and durations in words.


def counted(count: int, noun: str, ending: str = "s") -> str:
    """
    >>> counted(1, "design"), counted(1200, "design"), counted(2, "batch", "es")
    ('1 design', '1,200 designs', '2 batches')
    """
    return f"{count:,} {noun}{'' if count == 1 else ending}"


def readable_time(seconds: float) -> str:
    """
    >>> readable_time(0.2), readable_time(100), readable_time(3 * 3600), readable_time(1e6)
    ('1 second', '100 seconds', '3.0 hours', '12 days')
    """
    if seconds < 1.5:
        return "1 second"
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours < 72 else f"{hours / 24:,.0f} days"
