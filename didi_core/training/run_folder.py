"""The folder of a training run: run.json, metrics.jsonl, checkpoints/, and the result's files."""

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from didi_core.errors import UserError
from didi_core.io.files import write_json, write_text

RECORDED_PACKAGES = ("didi-protein", "torch", "transformers", "lightning", "numpy", "safetensors")


class MetricsLog:
    """`metrics.jsonl`: one line a logged step. Resuming drops the lines past the checkpoint."""

    def __init__(self, folder: Path, resumed_step: int) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [line for line in self._lines() if line["step"] <= resumed_step]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def _lines(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                break  # a kill cut the last line short; the checkpoint is older than it
            if isinstance(line, dict) and type(line.get("step")) is int:
                lines.append(line)
        return lines

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **figures}) + "\n")


def package_versions() -> dict[str, str]:
    """Return the versions of what decides a result."""
    versions = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def git_revision() -> str | None:
    """Return the revision of the source tree this package runs from; None in an installed copy."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def read_run_record(folder: Path, flag: str = "resume=true: ") -> tuple[str, dict[str, Any]] | None:
    """Read verb and settings of the run in `folder`; None where it has no `run.json`.

    Args:
        flag: what messages begin with: what it is read for.

    Raises:
        UserError: `run.json` cannot be read.
    """
    path = folder / "run.json"
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        verb, settings = record["verb"], dict(record["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{flag}{path}, which holds the settings that the run began with, cannot be "
            f"read ({error}). Put it back, or start again with overwrite=true."
        ) from error
    return verb, settings


def write_run_record(folder: Path, verb: str, settings: dict[str, Any], seed: int) -> None:
    """Write `run.json`: full configuration, versions, seed and source revision."""
    record = {
        "verb": verb,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seed": seed,
        "settings": settings,
        "versions": package_versions(),
        "git_revision": git_revision(),
    }
    write_json(folder / "run.json", record)
