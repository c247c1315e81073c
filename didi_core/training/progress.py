"""How far a training run is: a bar on a terminal, elsewhere lines with the time left.

After a few updates one line says how long the whole run will take. A line stands at each tenth, and
at least every ten minutes. The first update compiles, allocates and reads: no pace is taken of it.
"""

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

from didi_core.progress import LONGEST_SILENCE, ProgressLines, error_console, readable_time

MEASURED_UPDATES = 3
"""Updates after the first one by which the whole run is estimated, at least."""
MEASURED_SECONDS = 5.0
"""Seconds that they take, at least: a run that ends sooner is not estimated."""
SHORTEST_SILENCE = 60.0
"""Seconds between two lines, at least, that stand at no tenth of the run."""


class TrainingProgress:
    """Told of every update.

    Args:
        speaks: whether lines are written: by the first process where there is no terminal.
        tokens_per_update: at most, for the estimate of the whole run; None writes no estimate.
    """

    def __init__(
        self,
        bar: Progress,
        task: TaskID,
        done: int,
        steps: int,
        speaks: bool,
        tokens_per_update: int | None = None,
    ) -> None:
        self._bar, self._task, self._steps = bar, task, steps
        self._tenths, self._speaks = 10 * done // max(1, steps), speaks
        self._first = done + 1
        self._lines = ProgressLines("training", steps, done)
        self._due = SHORTEST_SILENCE
        self._tokens = tokens_per_update

    def show(self, done: int, planned: int, figures: Mapping[str, float]) -> None:
        """Show `done` of `planned` updates, and the first figures of the last one."""
        shown = "  ".join(f"{name} {value:.4g}" for name, value in list(figures.items())[:3])
        self._bar.update(self._task, completed=done, total=planned, figures=shown)
        if done == self._first:
            self._lines = ProgressLines("training", planned, done)
        self._lines.follow(planned)
        self._estimate(done, planned)
        tenths, elapsed = 10 * done // planned, self._lines.elapsed
        if self._speaks and (tenths > self._tenths or elapsed >= self._due):
            of = f"{planned:,}" if planned == self._steps else f"about {planned:,}"
            left = f"  {self._lines.time_left(done)}" if done < planned else ""
            print(f"training: update {done:,} of {of}  {shown}{left}", file=sys.stderr, flush=True)
            self._due = elapsed + min(LONGEST_SILENCE, max(SHORTEST_SILENCE, 0.2 * elapsed))
        # What an early pace promised may be taken back; a change by one is the pace's noise.
        self._tenths = tenths if tenths < self._tenths - 1 else max(self._tenths, tenths)

    def _estimate(self, done: int, planned: int) -> None:
        """Say once how long the updates that this process has to do take in all."""
        measured, seconds = done - self._first, self._lines.elapsed
        if self._tokens is None or measured < MEASURED_UPDATES or seconds < MEASURED_SECONDS:
            return
        updates = planned - self._first + 1
        tokens = updates * self._tokens
        text = (
            f"training: {updates:,} updates of at most {self._tokens:,} tokens ({tokens:,}) take "
            f"about {readable_time(seconds / measured * updates)}, by {measured:,} of them."
        )
        self._bar.console.print(text, highlight=False, soft_wrap=True)
        self._tokens = None


@contextmanager
def training_progress(
    done: int, steps: int, *, first: bool, tokens_per_update: int | None = None
) -> Iterator[TrainingProgress]:
    """Show training's progress on standard error.

    Args:
        first: whether this is the first process; the others write no lines.
        tokens_per_update: see `TrainingProgress`.
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
        speaks = first and not console.is_terminal
        tokens = tokens_per_update if first else None
        yield TrainingProgress(bar, task, done, steps, speaks, tokens)
