"""The journal of finished work: what every `--resume` continues from.

A file of JSON lines beside the output, `OUT.partial`. The first line names the command and the
settings that decide its result, so that work is continued by the same request alone. Every other
line is one finished piece (a batch, a data set) that was whole and on the disk before the next one
began. A last line that a kill cut short is dropped, and the file goes when the output is written.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from didi_core.errors import UserError
from didi_core.io.files import append_durably, write_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Entry = TypeVar("Entry", bound=DataclassInstance)
else:
    Entry = TypeVar("Entry")

Settings = Mapping[str, Any]


@dataclass
class Journal(Generic[Entry]):
    """Finished pieces of one request, in the order in which they were appended."""

    path: Path
    command: str
    """Verb that writes it; a journal of another one is refused."""
    settings: Settings
    """All that the result depends on, as JSON has it."""
    read_entry: Callable[[Any], Entry]
    """Makes an entry, a dataclass, of its JSON; raises KeyError, TypeError or ValueError."""
    entries: list[Entry] = field(default_factory=list)

    def begin(self) -> None:
        """Write a journal without entries; whatever stood at `path` is replaced.

        Raises:
            Unwritable: the place cannot be written.
        """
        header = {"command": self.command, "settings": self.settings}
        write_text(self.path, json.dumps(header, allow_nan=False) + "\n")

    def append(self, entry: Entry) -> None:
        """Add a finished piece; it is on the disk when this returns.

        Raises:
            Unwritable: as on a full disk. Earlier entries are kept.
        """
        if not self.path.exists():
            self.begin()
        line = json.dumps(asdict(entry), separators=(",", ":"), allow_nan=False) + "\n"
        append_durably(self.path, line.encode())
        self.entries.append(entry)

    def resume(self) -> None:
        """Take over what an interrupted run left, and cut the file back to its last whole line.

        Raises:
            UserError: another command or other settings made it, or it is no journal.
        """
        size = self.load()
        if size < self.path.stat().st_size:
            os.truncate(self.path, size)

    def load(self) -> int:
        """Take over the entries of the file, which stays as it is: another process may write it.

        Returns:
            Bytes of its whole lines.

        Raises:
            UserError: see `resume`.
        """
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            header, *lines = [json.loads(line) for line in whole.splitlines()]
            stored, command = {**header["settings"]}, header["command"]
            entries = [self.read_entry(line) for line in lines] if command == self.command else []
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._foreign() from error
        if command != self.command:
            raise self._foreign()
        require_same_settings(stored, self.settings, self.path)
        self.entries = entries
        return len(whole)

    def _foreign(self) -> UserError:
        return UserError(
            f"--resume: {self.path} is no unfinished run of this command, or is one of another "
            "version of it; start again with --overwrite."
        )

    def remove(self) -> None:
        """Let the work in progress go: its result stands in the output now."""
        self.entries.clear()
        self.path.unlink(missing_ok=True)


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


def partial_path(out: Path) -> Path:
    """Return where the work in progress of an output is kept."""
    return out.with_name(out.name + ".partial")


def process_path(path: Path, rank: int) -> Path:
    """Return where process `rank` of several keeps its part; the first one has `path` itself."""
    return path if rank == 0 else path.with_name(f"{path.name}-{rank}")


def partials_of(out: Path) -> list[Path]:
    """Return the work in progress of all processes, also of a run with another number of them."""
    path = partial_path(out)
    if not path.parent.is_dir():
        return []
    found = (each for each in path.parent.iterdir() if each.name.startswith(f"{path.name}-"))
    return [each for each in (path, *sorted(found)) if each.exists()]
