"""Kill a command at random moments, start it again, and compare what it leaves in the end.

A kill is timed in one of two ways. By the clock: after one more part (a batch, a checkpoint) stands
on the disk, and a random share of the time that the unbroken run took from its first part to its
end. By changes: before a random one of the changes that the command makes to files, which finds
the narrow moments in which a file has been written and has not its name yet.
"""

import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.chaos.jobs import Job
from benchmarks.chaos.warm import Command, WarmStart

PATIENCE = 600.0
"""Seconds after which a command that shows no part is given up."""


class Process(Protocol):
    """What is waited for: a command of `benchmarks.chaos.warm`, or one of `subprocess`."""

    def poll(self) -> int | None: ...

    def kill(self) -> None: ...


@dataclass(frozen=True)
class Unbroken:
    """A run that nobody disturbed: what to compare with, and when to kill."""

    folder: Path
    seconds: float
    """From its first part to its end."""
    changes: int
    """It made to files."""
    parts: int
    """It finished."""

    def left(self, parts: int) -> float:
        """Share of the work after so many parts."""
        return max(0.0, 1.0 - parts / self.parts)


@dataclass(frozen=True)
class Kill:
    """One SIGKILL, and what it found."""

    by: str
    """The clock, or changes."""
    moment: float
    """Seconds after the start of the process; changes that had been made."""
    parts_before: int
    """Parts on the disk when this process started."""
    parts: int
    """Parts on the disk when it was killed."""
    unfinished: list[str]
    """Files that it left under a hidden name."""
    half_written: list[str]
    """Files under their own name that were not whole: there must be none."""


@dataclass
class Run:
    """One job, killed and started again until it is done."""

    job: str
    seed: int
    kills: list[Kill] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """Exit status of each process."""
    differing: list[str] = field(default_factory=list)
    """What is not as an unbroken run leaves it: there must be nothing."""
    errors: list[str] = field(default_factory=list)
    """Last line of what a process said that ended badly by itself."""

    @property
    def passed(self) -> bool:
        torn = [name for kill in self.kills for name in kill.half_written]
        ends_well = bool(self.statuses) and self.statuses[-1] in (0, 1)
        return ends_well and not (self.differing or torn or self.errors)

    def as_dict(self) -> dict[str, Any]:
        return {"passed": self.passed, **asdict(self)}


def wait_for_parts(process: Process, parts: Callable[[], int], least: int) -> bool:
    """Wait until `parts()` is at least so many; False where the process ended before.

    Raises:
        TimeoutError: neither came.
    """
    deadline = time.monotonic() + PATIENCE
    while parts() < least:
        if process.poll() is not None:
            return False
        if time.monotonic() > deadline:
            process.kill()
            raise TimeoutError(f"no part was finished in {PATIENCE:g} seconds")
        time.sleep(0.002)
    return True


def unbroken_run(job: Job, folder: Path, warm: WarmStart) -> Unbroken:
    """Run `job` to its end.

    Raises:
        RuntimeError: it fails.
    """
    folder.mkdir()
    process = warm.start(job.program, [*job.arguments, job.resume], folder)
    wait_for_parts(process, lambda: job.parts(folder), 1)
    first, most = time.monotonic(), 1
    while process.poll() is None:
        most = max(most, job.parts(folder))
        time.sleep(0.002)
    if process.wait() not in (0, 1):
        raise RuntimeError(f"{job.name} fails without a kill: {process.error()}")
    changes = int(folder.with_name(f"{folder.name}.changes").read_text())
    return Unbroken(folder, time.monotonic() - first, changes, most)


def killed_run(
    job: Job, unbroken: Unbroken, folder: Path, warm: WarmStart, kills: int, seed: int
) -> Run:
    """Kill `job` up to so many times, one start after the other, and let it end."""
    folder.mkdir()
    run, generator = Run(job.name, seed), random.Random(f"{seed} {job.name}")
    for number in range(kills):
        by_changes = (seed + number) % 2 == 1
        kill = _start_and_kill(job, unbroken, folder, warm, generator, by_changes, run)
        if kill is None:  # it was faster
            break
        run.kills.append(kill)
    if run.statuses[-1] < 0:
        _end(warm.start(job.program, [*job.arguments, job.resume], folder), run)
    run.differing = job.differing(folder, unbroken.folder)
    return run


def _start_and_kill(
    job: Job,
    unbroken: Unbroken,
    folder: Path,
    warm: WarmStart,
    generator: random.Random,
    by_changes: bool,
    run: Run,
) -> Kill | None:
    arguments, before = [*job.arguments, job.resume], job.parts(folder)
    started, left = time.monotonic(), unbroken.left(before)
    moment: float = generator.randint(1, 1 + int(unbroken.changes * left)) if by_changes else 0
    process = warm.start(job.program, arguments, folder, deadly_change=int(moment))
    if not by_changes:
        wait_for_parts(process, lambda: job.parts(folder), before + 1)
        time.sleep(generator.random() * unbroken.seconds * left)
        process.kill()
        moment = round(time.monotonic() - started, 3)
    if _end(process, run) >= 0:
        return None
    return Kill(
        by="changes" if by_changes else "clock",
        moment=moment,
        parts_before=before,
        parts=job.parts(folder),
        unfinished=sorted(path.name for path in _unfinished(folder)),
        half_written=job.half_written(folder, unbroken.folder),
    )


def _end(process: Command, run: Run) -> int:
    status, error = process.wait(), process.error()
    run.statuses.append(status)
    if status not in (0, 1, -signal.SIGKILL) or "Traceback" in error:
        run.errors.append((error.strip().splitlines() or ["no word"])[-1])
    return status


def _unfinished(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob(".*") if path.is_file())
