"""What `evaluate` has finished: its result, or JSON lines, one a part, of a run to be continued."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from didi_core.errors import UserError
from didi_core.files import append_durably, write_text
from didi_core.sampling.partial_file import require_same_settings


def journal_file(out: Path) -> Path:
    """Where the figures of finished parts are kept."""
    return out.with_name(out.name + ".partial")


def sample_file(out: Path) -> Path:
    """Where samples that are being made are kept."""
    return out.with_name(out.name + ".samples.partial")


def finished_result(out: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a finished run with these settings left; None where none is there.

    Raises:
        UserError: there is one with other settings, or a file of another origin.
    """
    if not out.exists() or journal_file(out).exists() or sample_file(out).exists():
        return None
    try:
        result = json.loads(out.read_text(encoding="utf-8"))
        stored = {**result["settings"], "model": result["model"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--resume: {out} is no result of this command; replace it with --overwrite, or "
            "choose another --out."
        ) from error
    require_same_settings(stored, _flat(settings), out)
    return result


@dataclass
class PartsJournal:
    """Figures of finished parts by name; the first line of the file holds the settings."""

    path: Path
    parts: dict[str, Any] = field(default_factory=dict)

    def start(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Begin, or read what an interrupted run left.

        Raises:
            UserError: it was made with other settings, or is no such file.
        """
        if resume and self.path.exists():
            self._read(settings)
        else:
            write_text(self.path, json.dumps({"settings": settings}) + "\n")

    def part(self, name: str, measure: Callable[[], Any]) -> Any:
        """The figures of a part: those stored, or measured now and stored."""
        if name not in self.parts:
            self.parts[name] = measure()
            line = json.dumps({"name": name, "figures": self.parts[name]}) + "\n"
            append_durably(self.path, line.encode())
        return self.parts[name]

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _read(self, settings: Mapping[str, Any]) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]  # a kill may have cut the last line short
        try:
            first, *lines = [json.loads(line) for line in whole.splitlines()]
            stored = first["settings"]
            self.parts = {line["name"]: line["figures"] for line in lines}
            known = _flat(stored)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"--resume: {self.path} is no unfinished run of this command ({error}); "
                "start again with --overwrite."
            ) from error
        require_same_settings(known, _flat(settings), self.path)
        os.truncate(self.path, len(whole))


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options and model side by side, so that what differs is named by itself."""
    return {**settings["options"], "model": settings["model"]}
