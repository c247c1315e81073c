"""What `benchmark` does: open, measure cell by cell, tabulate, draw. Finished cells are kept."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from didi_core.cli import check_output
from didi_core.commands.comparison_cells import LIMIT_SAMPLER
from didi_core.commands.study import empty_for_overwrite
from didi_core.errors import UserError
from didi_core.evaluation.tradeoff_plot import MeasuredPoint, plot_tradeoffs
from didi_core.files import atomic_path, write_json
from didi_core.out_of_memory import is_out_of_memory, release_cached_memory
from didi_core.training.devices import describe_device
from didi_core.training.run_folder import git_revision, package_versions
from didi_text.benchmark import BenchmarkOptions, BenchmarkResult
from didi_text.benchmark_cells import CellFailed, CellRunner
from didi_text.benchmark_study import (
    AUTOREGRESSIVE,
    Cell,
    Opened,
    has_limit,
    open_study,
    parse_study,
)
from didi_text.benchmark_table import (
    COLUMNS,
    Row,
    failed_row,
    measured_row,
    published_row,
)
from didi_text.published import StudySetting, published_beside

MARKER = "benchmark.json"
"""The result; written from the start, it also says that a folder is a benchmark's."""


def run_benchmark(options: BenchmarkOptions) -> BenchmarkResult:
    """See `didi_text.benchmark.benchmark`."""
    study = parse_study(options)
    check_output(options.out, resume=options.resume, overwrite=options.overwrite)
    opened = open_study(study, options)
    cells, runner = study.cells(opened.models), CellRunner(options, opened)
    if not cells:
        raise UserError(
            f"--steps {options.steps}: the models have no limit; give numbers of steps, as in 8,16."
        )
    for cell in cells:
        runner.writer(cell)  # what a model lacks is said before hours are spent
    if options.overwrite:
        empty_for_overwrite(options.out, MARKER, "benchmark")
    found = {cell: stored for cell in cells if (stored := runner.stored(cell)) is not None}
    published = _published(opened, options, study.steps)
    record = _record(options, opened, runner, published)
    write_json(options.out / MARKER, record)
    rows: list[Row] = []
    for number, cell in enumerate(cells, start=1):
        kept = cell in found
        note = ", kept" if kept else ""
        print(f"[{number}/{len(cells)}] {cell.name}{note}", file=sys.stderr, flush=True)
        rows.append(_row_of(cell, found.get(cell), runner, opened))
        record |= {"rows": rows, "finished": number == len(cells)}
        write_json(options.out / MARKER, record)
    _write_table(options.out / "benchmark.csv", [*rows, *published])
    figure = _draw(options.out / "frontier.png", rows, published, opened)
    failed = tuple(
        cell.name for cell, row in zip(cells, rows, strict=True) if row["status"] != "ok"
    )
    return BenchmarkResult(options.out, record, figure, failed)


def _row_of(
    cell: Cell, stored: Mapping[str, Any] | None, runner: CellRunner, opened: Opened
) -> Row:
    """Of what was stored, or of what is measured now."""
    try:
        return measured_row(cell, stored or runner.measure(cell), opened.judge.name)
    except CellFailed as failure:
        return failed_row(cell, str(failure))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    release_cached_memory()
    return failed_row(cell, "out of memory")


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
        "notes": _notes(opened),
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


def _notes(opened: Opened) -> list[str]:
    """What a reader must know about this choice of models."""
    notes = []
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


def _draw(path: Path, rows: Sequence[Row], published: Sequence[Row], opened: Opened) -> Path | None:
    """The figure; None where matplotlib is not installed."""
    curves: dict[str, list[MeasuredPoint]] = {}
    for row in rows:
        if row["status"] == "ok":
            curves.setdefault(_curve_name(row), []).append(_point(row))
    references = {
        f"{row['model']}, {row['steps'] or 'AR'}": (row["entropy"], row["perplexity"])
        for row in published
        if row["comparable"] and row["entropy"] is not None
    }
    try:
        plot_tradeoffs(curves, path, references, opened.judge.name)
    except UserError:
        return None
    return path


def _curve_name(row: Row) -> str:
    """The limit ends the curve of its model's ancestral steps."""
    plain = row["sampler"] in ("ancestral", LIMIT_SAMPLER, AUTOREGRESSIVE)
    return row["model"] if plain else f"{row['model']}, {row['sampler']}"


def _point(row: Row) -> MeasuredPoint:
    def interval(middle: str, name: str) -> dict[str, float]:
        return {"mean": row[middle], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}

    return MeasuredPoint(
        str(row["steps"] or "AR"),
        interval("perplexity", "perplexity"),
        interval("entropy", "entropy"),
        interval("latency_seconds", "latency"),
    )
