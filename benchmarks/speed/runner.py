"""Run the cells that are missing, each to a JSON of its own; one that fails becomes a row."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.distill_cells import distill_cell
from benchmarks.speed.head_cells import head_cell
from benchmarks.speed.plan import Cell
from benchmarks.speed.sampling_cells import sampling_cell
from didi_core.io.files import write_json
from didi_core.models.attention import attention_backend
from didi_core.peak_memory import release_cached_memory
from didi_core.training.devices import TORCH_TYPES, describe_device
from didi_core.training.run_folder import git_revision, package_versions

Measure = Callable[[Cell, torch.device, str], dict[str, Any]]
MEASURES: dict[str, Measure] = {
    "step": sampling_cell,
    "set": sampling_cell,
    "compile": sampling_cell,
    "head": head_cell,
    "distill": distill_cell,
}


def run_cells(
    cells: Sequence[Cell], device: torch.device, precision: str, folder: Path
) -> list[str]:
    """Measure what is not there yet; returns the keys of cells that failed."""
    failed = []
    for number, cell in enumerate(cells, start=1):
        path = folder / f"{cell.key}.json"
        settings = describe(cell, device, precision)
        if is_done(path, settings):
            continue
        print(f"{number}/{len(cells)} {cell.key}", file=sys.stderr)
        record = settings | _measured(cell, device, precision)
        if "error" in record:
            failed.append(cell.key)
        write_json(path, record)
        release_cached_memory()
    return failed


def _measured(cell: Cell, device: torch.device, precision: str) -> dict[str, Any]:
    load = os.getloadavg()[0]
    try:
        figures = MEASURES[cell.kind](cell, device, precision)
    except Exception as error:  # the other cells are worth having
        figures = {"error": f"{type(error).__name__}: {error}"}
    return figures | {
        "load_average_before": load,
        "versions": package_versions(),
        "git_revision": git_revision(),
    }


def describe(cell: Cell, device: torch.device, precision: str) -> dict[str, Any]:
    """What a result is a result of: one that differs in any of it is measured again."""
    described = asdict(cell) | {"lengths": list(cell.lengths)}
    return {
        "cell": described,
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "attention": attention_backend(device, TORCH_TYPES[precision]),
    }


def is_done(path: Path, settings: dict[str, Any]) -> bool:
    """Whether the file holds a result of exactly these settings."""
    if not path.exists():
        return False
    stored = json.loads(path.read_text(encoding="utf-8"))
    return "error" not in stored and settings.items() <= stored.items()


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Every result, in the order of its name."""
    return [json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))]
