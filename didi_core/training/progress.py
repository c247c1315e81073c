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
    """Told of every update, and of every look at held-out data, whose time is no part of the pace.

    Args:
        speaks: whether lines are written: by the first process where there is no terminal.
        tokens_per_update: at most, for the estimate of the whole run; None writes no estimate.
        look_every: updates between two looks; 0 for none.
    """

    def __init__(
        self,
        bar: Progress,
        task: TaskID,
        done: int,
        steps: int,
        speaks: bool,
        tokens_per_update: int | None = None,
        look_every: int = 0,
    ) -> None:
        self._bar, self._task, self._steps = bar, task, steps
        self._tenths, self._speaks = 10 * done // max(1, steps), speaks
        self._first = done + 1
        self._clock = ProgressLines("training", steps)
        self._due = SHORTEST_SILENCE
        self._tokens, self._look_every = tokens_per_update, look_every
        self._looks, self._looking = 0, 0.0
        self._looked_before = 0.0
        """Seconds of looks before the first update had ended."""

    def looked(self, seconds: float) -> None:
        """Take note of how long a look at held-out data took."""
        self._looks, self._looking = self._looks + 1, self._looking + seconds

    def show(self, done: int, planned: int, figures: Mapping[str, float]) -> None:
        """Show `done` of `planned` updates, and the first figures of the last one."""
        shown = "  ".join(f"{name} {value:.4g}" for name, value in list(figures.items())[:3])
        self._bar.update(self._task, completed=done, total=planned, figures=shown)
        if done == self._first:
            self._clock, self._looked_before = ProgressLines("training", planned), self._looking
        self._estimate(done, planned)
        tenths, elapsed = 10 * done // planned, self._clock.elapsed
        if self._speaks and (tenths > self._tenths or elapsed >= self._due):
            of = f"{planned:,}" if planned == self._steps else f"about {planned:,}"
            left = f"  {self._time_left(done, planned)}" if done < planned else ""
            print(f"training: update {done:,} of {of}  {shown}{left}", file=sys.stderr, flush=True)
            self._due = elapsed + min(LONGEST_SILENCE, max(SHORTEST_SILENCE, 0.2 * elapsed))
        # What an early pace promised may be taken back; a change by one is the pace's noise.
        self._tenths = tenths if tenths < self._tenths - 1 else max(self._tenths, tenths)

    def _seconds(self, done: int, updates: int) -> float | None:
        """Return what so many updates take, with the looks among them; None before a pace."""
        measured = done - self._first
        if measured <= 0:
            return None
        own = self._clock.elapsed - (self._looking - self._looked_before)
        looks = -(-updates // self._look_every) if self._look_every else 0
        return own / measured * updates + looks * self._looking / max(1, self._looks)

    def _time_left(self, done: int, planned: int) -> str:
        seconds = self._seconds(done, planned - done)
        if seconds is None:
            return f"{readable_time(self._clock.elapsed)} so far"
        return f"about {readable_time(seconds)} left"

    def _estimate(self, done: int, planned: int) -> None:
        """Say once how long the updates that this process has to do take in all."""
        updates = planned - self._first + 1
        seconds = self._seconds(done, updates)
        measured, own = done - self._first, self._clock.elapsed - self._looking
        if self._tokens is None or seconds is None:
            return
        if measured < MEASURED_UPDATES or own + self._looked_before < MEASURED_SECONDS:
            return
        unknown = self._look_every > 0 and self._looks == 0
        text = (
            f"training: {updates:,} updates of at most {self._tokens:,} tokens "
            f"({updates * self._tokens:,}) take about {readable_time(seconds)}, by {measured:,} of "
            f"them{'; looks at valid= come on top' if unknown else ''}."
        )
        self._bar.console.print(text, highlight=False, soft_wrap=True)
        self._tokens = None


@contextmanager
def training_progress(
    done: int,
    steps: int,
    *,
    first: bool,
    tokens_per_update: int | None = None,
    look_every: int = 0,
) -> Iterator[TrainingProgress]:
    """Show training's progress on standard error.

    Args:
        first: whether this is the first process; the others write no lines.
        tokens_per_update, look_every: see `TrainingProgress`.
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
        yield TrainingProgress(bar, task, done, steps, speaks, tokens, look_every)
