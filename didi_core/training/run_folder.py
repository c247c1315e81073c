"""The folder of a training run: run.json, metrics.jsonl, checkpoints/, and the result's files."""

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from didi_core.errors import UserError
from didi_core.io.files import write_json, write_text

RECORDED_PACKAGES = ("didi-protein", "torch", "transformers", "lightning", "numpy", "safetensors")


SPLIT = "split"
"""Folder with the sequences of data= that a share in valid= holds out, and with the others."""


class MetricsLog:
    """`metrics.jsonl`: one line a logged step. Resuming drops the lines past the checkpoint."""

    def __init__(self, folder: Path, resumed_step: int) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [line for line in read_metrics(folder) if line["step"] <= resumed_step]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))

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


def read_run_entry(folder: Path, key: str) -> dict[str, Any] | None:
    """Read an entry of `run.json` beside the settings; None where it has none."""
    try:
        entry = json.loads((folder / "run.json").read_text(encoding="utf-8")).get(key)
    except (OSError, ValueError, AttributeError):
        return None  # who reads the settings says what is wrong
    return entry if isinstance(entry, dict) else None


def add_run_entry(folder: Path, key: str, entry: Mapping[str, Any]) -> None:
    """Write an entry into `run.json` beside the settings."""
    path = folder / "run.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), key: dict(entry)})


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of `metrics.jsonl`, up to one that a kill cut short."""
    path, lines = folder / "metrics.jsonl", []
    if not path.exists():
        return []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            break  # a kill cut the last line short; the checkpoint is older than it
        if isinstance(line, dict) and type(line.get("step")) is int:
            lines.append(line)
    return lines


def write_run_record(
    folder: Path,
    verb: str,
    settings: dict[str, Any],
    seed: int,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write `run.json`: full configuration, versions, seed and source revision.

    Args:
        more: entries beside these.
    """
    record = {
        "verb": verb,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seed": seed,
        "settings": settings,
        "versions": package_versions(),
        "git_revision": git_revision(),
        **more,
    }
    write_json(folder / "run.json", record)
