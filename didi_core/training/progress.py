"""How far a training run is: a bar on a terminal, elsewhere a line at each tenth."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from didi_core.progress import ProgressLines, error_console


class TrainingProgress:
    """Told of every update."""

    def __init__(self, bar: Progress, task: TaskID, done: int, steps: int, speaks: bool) -> None:
        self._bar, self._task, self._steps = bar, task, steps
        self._tenths, self._speaks = 10 * done // max(1, steps), speaks
        self._lines = ProgressLines("training", steps, done)

    def show(self, done: int, planned: int, figures: Mapping[str, float]) -> None:
        """Show `done` of `planned` updates, and the first figures of the last one."""
        shown = "  ".join(f"{name} {value:.4g}" for name, value in list(figures.items())[:3])
        self._bar.update(self._task, completed=done, total=planned, figures=shown)
        tenths = 10 * done // planned
        if self._speaks and tenths > self._tenths:
            of = f"{planned:,}" if planned == self._steps else f"about {planned:,}"
            self._lines.follow(planned)
            left = f"  {self._lines.time_left(done)}" if done < planned else ""
            print(f"training: update {done:,} of {of}  {shown}{left}", file=sys.stderr, flush=True)
        # What an early pace promised may be taken back; a change by one is the pace's noise.
        self._tenths = tenths if tenths < self._tenths - 1 else max(self._tenths, tenths)


@contextmanager
def training_progress(done: int, steps: int, *, first: bool) -> Iterator[TrainingProgress]:
    """Show training's progress on standard error.

    Args:
        first: whether this is the first process; the others write no lines.
    """
    console = error_console()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("training", total=steps, completed=done, figures="")
        yield TrainingProgress(bar, task, done, steps, speaks=first and not console.is_terminal)
