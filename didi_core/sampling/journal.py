"""The work in progress of a request: JSON lines, one a finished batch, each forced to disk.

The first line holds the settings that decide the result, so that a run is continued only with the
same ones. A line that a kill cut short is dropped.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from didi_core.errors import UserError
from didi_core.io.files import append_durably, atomic_open
from didi_core.sampling.request import SampledRecord

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class FinishedBatch:
    """What one line holds."""

    seconds: float
    """Wall-clock time of the batch."""
    rows: list[SampledRecord]


@dataclass
class PartialFile:
    """Batches finished so far, in the order of the plan."""

    path: Path
    batches: list[FinishedBatch] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(batch.seconds for batch in self.batches)

    @property
    def rows(self) -> list[SampledRecord]:
        return [row for batch in self.batches for row in batch.rows]

    def append(self, seconds: float, rows: Sequence[SampledRecord]) -> None:
        """Add a batch; it is on disk when this returns.

        Raises:
            Unwritable: as on a full disk. Earlier batches are kept.
        """
        batch = FinishedBatch(seconds, list(rows))
        line = json.dumps(asdict(batch), separators=(",", ":"), allow_nan=False) + "\n"
        append_durably(self.path, line.encode())
        self.batches.append(batch)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def partial_path(out: Path) -> Path:
    """Where the work in progress of an output is kept."""
    return out.with_name(out.name + ".partial")


def process_path(path: Path, rank: int) -> Path:
    """Where process `rank` of several keeps its part of the work; the first one at `path`."""
    return path if rank == 0 else path.with_name(f"{path.name}-{rank}")


def partials_of(out: Path) -> list[Path]:
    """The work in progress of all processes, also of a run with another number of them."""
    path = partial_path(out)
    if not path.parent.is_dir():
        return []
    found = (each for each in path.parent.iterdir() if each.name.startswith(f"{path.name}-"))
    return [each for each in (path, *sorted(found)) if each.exists()]


def start_partial(path: Path, settings: Settings) -> PartialFile:
    """A new file; whatever stood there is replaced."""
    with atomic_open(path) as stream:
        stream.write(json.dumps({"settings": settings}, allow_nan=False) + "\n")
    return PartialFile(path)


def continue_partial(path: Path, settings: Settings) -> PartialFile:
    """The file of an interrupted run, cut back to its last whole line.

    Raises:
        UserError: it was made with other settings, or is no such file.
    """
    whole, partial = _read(path, settings)
    if whole < path.stat().st_size:
        os.truncate(path, whole)
    return partial


def read_partial(path: Path, settings: Settings) -> PartialFile:
    """What another process has finished; its file stays as it is.

    Raises:
        UserError: see `continue_partial`.
    """
    return _read(path, settings)[1]


def _read(path: Path, settings: Settings) -> tuple[int, PartialFile]:
    """Bytes of the whole lines, and what they hold."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    try:
        first, *lines = [json.loads(line) for line in whole.splitlines()]
        stored = first["settings"]
        batches = [
            FinishedBatch(line["seconds"], [SampledRecord(**row) for row in line["rows"]])
            for line in lines
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--resume: {path} is no unfinished run of this command ({error}); "
            "start again with --overwrite."
        ) from error
    require_same_settings(stored, settings, path)
    return len(whole), PartialFile(path, batches)


def require_same_settings(
    stored: Settings,
    settings: Settings,
    path: Path,
    switches: tuple[str, str] = ("--resume", "--overwrite"),
) -> None:
    """Refuse to continue a run with other settings.

    Args:
        switches: how the user asks to continue and to start again.

    Raises:
        UserError: naming each setting that differs, with both values.
    """
    current = json.loads(json.dumps(settings))
    differing = [
        f"{name} was {_shown(stored.get(name))}, now {_shown(current.get(name))}"
        for name in {**stored, **current}
        if stored.get(name) != current.get(name)
    ]
    if differing:
        resume, overwrite = switches
        raise UserError(
            f"{resume}: {path} was made with other settings: {'; '.join(differing)}. "
            f"Give the same ones, or start again with {overwrite}."
        )


def _shown(value: object) -> str:
    return "not given" if value is None else str(value)
