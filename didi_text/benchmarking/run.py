"""What `benchmark` does: open, measure cell by cell, tabulate, draw. Finished cells are kept."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from didi_core.commands.comparing.study import (
    check_study_folder,
    empty_for_overwrite,
    label_of,
    other_than_own,
)
from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import warnings_of_few
from didi_core.io.files import atomic_path, write_json
from didi_core.training.devices import describe_device, settle_precision
from didi_core.training.run_folder import git_revision, package_versions
from didi_text.benchmarking.cells import CellRunner
from didi_text.benchmarking.comparisons import add_comparison, nll_differences, sweep_cells
from didi_text.benchmarking.options import BenchmarkOptions, BenchmarkResult
from didi_text.benchmarking.plot import plot_benchmark
from didi_text.benchmarking.study import (
    Cell,
    Opened,
    Study,
    has_limit,
    open_study,
    parse_study,
)
from didi_text.benchmarking.table import (
    COLUMNS,
    Row,
    StudySetting,
    failed_row,
    measured_row,
    published_beside,
    published_row,
)

MARKER = "benchmark.json"
"""The result; written from the start, it also says that a folder is a benchmark's."""


def run_benchmark(options: BenchmarkOptions) -> BenchmarkResult:
    """See `didi_text.benchmark.benchmark`."""
    study = parse_study(options)
    options = settle_precision(options)
    check_study_folder(
        options.out, MARKER, "benchmark", resume=options.resume, overwrite=options.overwrite
    )
    opened = open_study(study, options)
    study = study.with_samplers(opened.models)
    runner = CellRunner(options, opened)
    cells = _checked_cells(study, opened, runner)
    if options.overwrite:
        empty_for_overwrite(options.out, MARKER)
    sets = (*cells, *(each for cell in cells for each in study.heated(cell)))
    kept = {each for each in sets if runner.stored(each) is not None}
    published = _published(opened, options, study.steps)
    record = _record(options, opened, runner, published) | {"num_sets": len(sets)}
    drawn = [(cell.model, cell.sampler) for cell in cells if cell.steps]
    record["notes"] += other_than_own(drawn, {k: v.loaded for k, v in opened.models.items()})
    write_json(options.out / MARKER, record)

    def announce(cell: Cell) -> None:
        note = ", kept" if cell in kept else ""
        number = f"[{sets.index(cell) + 1}/{len(sets)}]"
        print(f"{number} {cell.name}{note}", file=sys.stderr, flush=True)

    for cell in cells:
        announce(cell)
        record["rows"].append(_row_of(cell, runner, opened))
        write_json(options.out / MARKER, record)
    rows = zip(cells, record["rows"], strict=True)
    measured = [cell for cell, row in rows if row["status"] == "ok"]
    sweeps = sweep_cells(study, measured, study.reference(cells), runner, announce)
    if sweeps.record is not None:
        add_comparison(record["rows"], cells, sweeps.record)
    found = {cell: runner.stored(cell) for cell in measured}
    qualities = {cell: stored["quality"] for cell, stored in found.items() if stored is not None}
    differences = nll_differences(study, qualities, options.seed)
    record |= {"nll_differences": differences, "frontiers": sweeps.record, "finished": True}
    record["notes"] += sweeps.notes
    write_json(options.out / MARKER, record)
    _write_table(options.out / "benchmark.csv", [*record["rows"], *published])
    figure = plot_benchmark(record, cells, options.out / "frontier.png")
    failed = (*(each.name for each in cells if each not in measured), *sweeps.failed)
    return BenchmarkResult(options.out, record, figure, failed)


def _checked_cells(study: Study, opened: Opened, runner: CellRunner) -> tuple[Cell, ...]:
    first = label_of(study.models[0][0])
    if not study.steps and not has_limit(opened.models[first]):
        raise UserError(
            f"--steps {runner.options.steps}: {first}, which the others are compared with, has no "
            "limit; give numbers of steps, as in 8,16."
        )
    cells = study.cells(opened.models)
    for cell in cells:
        runner.writer(cell)  # what a model lacks is said before hours are spent
    return cells


def _row_of(cell: Cell, runner: CellRunner, opened: Opened) -> Row:
    found = runner.find(cell)
    if isinstance(found, str):
        return failed_row(cell, found)
    return measured_row(cell, found, opened.judge.name)


def _published(opened: Opened, options: BenchmarkOptions, steps: tuple[int, ...]) -> list[Row]:
    sizes = [model.tokenizer.size for model in opened.models.values()]
    setting = StudySetting(opened.length, opened.judge.name, options.draws, sizes[0])
    return [published_row(figure, setting) for figure in published_beside(steps)]


def _record(
    options: BenchmarkOptions, opened: Opened, runner: CellRunner, published: Sequence[Row]
) -> dict[str, Any]:
    """`benchmark.json`, as far as it is known before the first cell."""
    device = describe_device(opened.device)
    return {
        "format": "didi-text benchmark 1",
        "finished": False,
        "rows": [],
        "published": list(published),
        "nll_differences": {},
        "frontiers": None,
        "notes": _notes(opened, options.num),
        "reading": {
            "judge": opened.judge.name,
            "num": options.num,
            "length": opened.length,
            "repeats": options.repeats,
            "device": device,
        },
        "models": runner.described,
        "judge": runner.described_judge,
        "settings": {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(options).items()
        },
        "device": device,
        "threads": torch.get_num_threads(),
        "versions": package_versions() | {"cuda": torch.version.cuda},
        "git_revision": git_revision(),
    }


def _notes(opened: Opened, num: int) -> list[str]:
    """What a reader must know about this choice of models and of numbers."""
    notes = warnings_of_few(num, "samples a row")
    digests = {model.tokenizer.digest for model in opened.models.values()}
    if len(digests) > 1:
        notes.append(
            "The models do not share one tokenizer: entropies, and what is counted a token, are "
            "not the same quantity in all rows."
        )
    if endless := [label for label, model in opened.models.items() if not has_limit(model)]:
        notes.append(
            f"No limit is measured of {', '.join(endless)}: its tokens may change at every call, "
            "and no sampler makes one call a token."
        )
    if opened.baseline == opened.judge.name:
        notes.append(
            f"The baseline {opened.baseline} is the judge itself: its perplexity is no independent "
            "figure."
        )
    return notes


def _write_table(path: Path, rows: Sequence[Row]) -> None:
    counts = dict.fromkeys(("best_batch", "n", "length"), "Int64")  # they may be empty
    with atomic_path(path) as temporary:
        pd.DataFrame(rows, columns=list(COLUMNS)).astype(counts).to_csv(temporary, index=False)
