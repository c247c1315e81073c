"""The engine's parts: its tests, sampling and training steps, and the memory of both.

What is timed is what `benchmarks.speed` times, in fewer cells.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.runner import Bench, Row, Rows, measured
from benchmarks.speed.distill_cells import STEPS, build_method
from benchmarks.speed.plan import MIXED, Cell
from benchmarks.speed.runner import MEASURES
from didi_core.peak_memory import PeakMemory, release_cached_memory
from didi_core.training.devices import build_fabric
from didi_core.training.memory_plan import ParallelConfig, plan_memory

TESTS = Path(__file__).parents[2] / "tests"
TEXT = (1024, 1024)
"""Tokens of a block of text."""
SMALL = (5, 9)
"""Lengths of a dry run."""


# The tests that need a GPU.


def gpu_tests(bench: Bench) -> Rows:
    """Run the tests that are marked `gpu`; each file a row, with what pytest says of it."""
    files = gpu_test_files()
    yield "files", {"files": files}
    chosen = files[-1:] if bench.dry else files  # without a GPU they are skipped
    yield from measured({name: partial(_tested, name) for name in chosen})


def gpu_test_files() -> list[str]:
    """Return the files, relative to the root, that hold a test marked `gpu`."""
    files = sorted(TESTS.rglob("test_*.py"))
    marked = [path for path in files if "mark.gpu" in path.read_text(encoding="utf-8")]
    return [path.relative_to(TESTS.parent).as_posix() for path in marked]


def _tested(name: str) -> Row:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", name]
    status, said = _printed(command)
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", said)}
    row: Row = {"status": status, **counts, "summary": said.strip().splitlines()[-1:]}
    return row if status == 0 else row | {"error": said[-4000:]}


def _printed(command: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


# Sampling.


def steps(bench: Bench) -> Rows:
    """Time our sampler against its bare network calls."""
    yield from _cells(
        bench,
        Cell("step", "150m", "ancestral", 128, MIXED, 16),
        Cell("step", "dit-169m", "ancestral", 8, TEXT, 32),
        Cell("step", "650m", "ancestral", 64, MIXED, 16, repeats=3),
    )


def throughput(bench: Bench) -> Rows:
    """Time the published loops against our sampler, on sets of mixed lengths."""
    yield from _cells(
        bench,
        Cell("set", "150m", "ancestral", 128, MIXED, 64, repeats=2),
        Cell("set", "650m", "ancestral", 64, MIXED, 16, repeats=2),
        Cell("set", "dit-169m", "ancestral", 8, TEXT, 64, repeats=2),
        Cell("set", "150m", "dplm", 128, MIXED, 16, repeats=2),
        Cell("compile", "150m", "ancestral", 128, MIXED, 16, repeats=3),
    )


# Training.

DISTILLED = (
    Cell("distill", "150m", "dmmd", 32, (50, 254), repeats=3),
    Cell("distill", "150m", "didi", 32, (50, 254), repeats=3),
    Cell("distill", "dit-169m", "dmmd", 8, TEXT, repeats=3),
)


def distill_steps(bench: Bench) -> Rows:
    """Time a step of distillation against its plain form."""
    yield from _cells(bench, *DISTILLED)


def memory(bench: Bench) -> Rows:
    """Measure what a step of distillation holds, beside what `plan=true` says it will."""
    cells = [_sized(cell, bench) for cell in DISTILLED]
    yield from measured({cell.key: partial(_memory, cell, bench) for cell in cells})


def _memory(cell: Cell, bench: Bench) -> Row:
    method = build_method(cell)
    plan = plan_memory(
        method.networks(),
        method.reference.tokens_per_batch,
        method.graphs,
        ParallelConfig(precision=bench.precision),
    )
    release_cached_memory()
    with PeakMemory(bench.device) as peak:
        method.setup(build_fabric(str(bench.device), bench.precision))
        for step in range(2):
            method.step(step, STEPS)
    share = None if peak.bytes is None else peak.bytes / plan.total
    return {"peak_bytes": peak.bytes, "planned_bytes": plan.total, "peak_over_planned": share}


# Cells.


def _cells(bench: Bench, *cells: Cell) -> Rows:
    chosen = [_sized(cell, bench) for cell in cells]
    yield from measured({cell.key: partial(_cell, cell, bench) for cell in chosen})


def _cell(cell: Cell, bench: Bench) -> Row:
    if bench.dry and cell.kind == "compile":
        return {"skipped": "compiling takes minutes on a CPU"}
    release_cached_memory()
    record: dict[str, Any] = MEASURES[cell.kind](cell, bench.device, bench.precision)
    return {name: value for name, value in record.items() if name != "rounds"}


def _sized(cell: Cell, bench: Bench) -> Cell:
    """Return the cell itself, or in a dry run a few short rows of a small network."""
    if not bench.dry:
        return cell
    layout = "dit-small" if cell.layout.startswith("dit") else "esm-small"
    steps = min(cell.steps, 2)
    return replace(cell, layout=layout, rows=2, lengths=SMALL, steps=steps, repeats=1)
