"""What `benchmark` does: open, measure cell by cell, tabulate, draw. Finished cells are kept.

Cells, pairs and curves over temperatures are those of `compare`; what a benchmark adds is timing,
a JSON for each cell, and published figures beside its rows.
"""

import sys
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from didi_core.commands.comparing.cells import Cell, ScoredCell
from didi_core.commands.comparing.labels import label_of
from didi_core.commands.comparing.study import (
    check_study_folder,
    empty_for_overwrite,
    other_than_own,
)
from didi_core.commands.comparing.sweep import MeasuredSet, Sweep, columns_of, sweep_of
from didi_core.commands.comparing.table import judged_pairs, paired_difference, pairs_of
from didi_core.commands.processes import join_processes
from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import warnings_of_few
from didi_core.io.files import atomic_path
from didi_core.training.devices import describe_device, settle_precision
from didi_core.training.run_folder import git_revision, package_versions
from didi_text.benchmarking.cell_runner import MARKER, CellRunner, Record
from didi_text.benchmarking.matched import MATCHED_COLUMNS, MATCHED_FILE, matched_rows
from didi_text.benchmarking.options import BenchmarkOptions, BenchmarkResult
from didi_text.benchmarking.study import Opened, Study, has_limit, open_study, parse_study
from didi_text.benchmarking.table import (
    COLUMNS,
    Row,
    StudySetting,
    failed_row,
    measured_row,
    plot_benchmark,
    published_beside,
    published_row,
)
from didi_text.comparing.cells import measured_set


def run_benchmark(options: BenchmarkOptions) -> BenchmarkResult:
    """See `didi_text.benchmark.benchmark`."""
    study = parse_study(options)
    options, is_first = settle_precision(options), join_processes().is_first
    if is_first:
        check_study_folder(
            options.out, MARKER, "benchmark", resume=options.resume, overwrite=options.overwrite
        )
    opened = open_study(study, options)
    study = study.with_samplers(opened.models)
    runner = CellRunner(options, opened)
    cells = _checked_cells(study, opened, runner)
    if options.overwrite and is_first:
        empty_for_overwrite(options.out, MARKER)
    opened.processes.wait()
    sets = (*cells, *(each for cell in cells for each in study.heated(cell)))
    kept = {each for each in sets if runner.stored(each) is not None}  # refused before all is new
    record = _record(options, opened, runner, study) | {"num_sets": len(sets)}
    drawn = [(cell.model, cell.label) for cell in cells if cell.steps]
    record["notes"] += other_than_own(drawn, {k: v.loaded for k, v in opened.models.items()})
    runner.keep(record)
    measured, failed = _measure(sets, kept, runner, record)
    _compare(study, cells, measured, runner, record)
    runner.keep(record)
    figure = _write_tables(options.out, record, cells) if is_first else None
    return BenchmarkResult(options.out, record, figure, tuple(each.name for each in failed))


def _write_tables(out: Path, record: Record, cells: Sequence[Cell]) -> Path | None:
    """Write the tables, and the figure; None where the extra `report` is not installed."""
    _write_table(out / "benchmark.csv", [*record["rows"], *record["published"]])
    if record["matched"]:
        _write_table(out / MATCHED_FILE, record["matched"], MATCHED_COLUMNS)
    return plot_benchmark(record, cells, out / "frontier.png")


def _measure(
    sets: Sequence[Cell], kept: Container[Cell], runner: CellRunner, record: Record
) -> tuple[dict[Cell, Record], dict[Cell, str]]:
    """Find every set: rows and notes of `record` are filled, and written as they come.

    A cell without figures at temperature 1 is not tried at others.

    Returns:
        What was found of cells, and why there is nothing of others.
    """
    measured: dict[Cell, Record] = {}
    failed: dict[Cell, str] = {}
    for number, cell in enumerate(sets, start=1):
        if cell.at(1.0) in failed:
            continue
        note = ", kept" if cell in kept else ""
        if runner.opened.processes.is_first:
            print(f"[{number}/{len(sets)}] {cell.name}{note}", file=sys.stderr, flush=True)
        found = runner.find(cell)
        if isinstance(found, str):
            failed[cell] = found
            if cell.temperature != 1:
                record["notes"].append(f"No figures of {cell.name}: {found}")
        else:
            measured[cell] = found
        if cell.temperature == 1:
            record["rows"].append(_row_of(cell, found, runner.opened.judge.name))
            runner.keep(record)
    return measured, failed


def _row_of(cell: Cell, found: Record | str, judge: str) -> Row:
    return failed_row(cell, found) if isinstance(found, str) else measured_row(cell, found, judge)


def _compare(
    study: Study,
    cells: Sequence[Cell],
    measured: Mapping[Cell, Record],
    runner: CellRunner,
    record: Record,
) -> None:
    """Fill `record` with differences over pairs, and what compares at equal entropy."""
    scored = {cell: _scored(cell, measured[cell]) for cell in cells if cell in measured}
    record["nll_differences"] = nll_differences(study, scored, runner.options.seed)
    sweep = _sweep(study, study.reference(cells), measured, runner)
    if sweep.record is not None:
        for cell, row in zip(cells, record["rows"], strict=True):
            row |= columns_of(cell, sweep.record, "entropy", "bigram")
        setting, equal = _setting(runner.opened, runner.options), sweep.record["equal_diversity"]
        record["matched"] = matched_rows(sweep.frontiers, equal, setting, runner.options.seed)
    record |= {"frontiers": sweep.record, "finished": True}
    record["notes"] += sweep.notes


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


def _scored(cell: Cell, found: Record) -> ScoredCell:
    """What pairs need of a measured cell: sample i of all cells is the same request."""
    quality = found["quality"]
    nats = pd.Series(quality["per_sample_nats"], dtype=np.float64)  # None becomes NaN
    return ScoredCell(cell, {}, nats, pd.Series(quality["per_sample_tokens"], dtype=np.float64))


def nll_differences(
    study: Study, scored: Mapping[Cell, ScoredCell], seed: int
) -> dict[str, dict[str, float]]:
    """Nats a token of one cell less those of another, with 95% intervals over pairs of samples.

    The first model is the teacher. Every scored token counts alike, as in the table; a pair of
    which one sample was not scored is left out.

    Returns:
        `FIRST - SECOND` -> mean, low, high and the number of pairs; below 0 the first is better.
    """
    name, sampler = study.models[0]
    found = {}
    for first, _, second in pairs_of(list(scored), label_of(name), sampler):
        pair = scored[first], scored[second]
        if num_pairs := len(judged_pairs(*pair)):
            difference = paired_difference(*pair, seed).as_dict()
            found[f"{first.name} - {second.name}"] = difference | {"pairs": num_pairs}
    return found


def _sweep(
    study: Study, reference: Cell, measured: Mapping[Cell, Record], runner: CellRunner
) -> Sweep:
    """All cells at equal entropy, natural text's where it is known, where there are temperatures.

    A sample without a token weighs nothing, so that every set has them all.
    """
    if len(study.temperatures) == 1:
        return Sweep()
    names = [f"{number:09d}" for number in range(runner.options.num)]  # in order as words, too

    def set_of(cell: Cell) -> MeasuredSet:
        return measured_set(
            cell, names, names, lambda: (measured[cell]["quality"], runner.tokens(cell))
        )

    sets = [set_of(cell) for cell in measured]
    return sweep_of(sets, reference, None, runner.opened.natural, runner.options.seed)


def _record(options: BenchmarkOptions, opened: Opened, runner: CellRunner, study: Study) -> Record:
    """`benchmark.json`, as far as it is known before the first cell."""
    device = describe_device(opened.device)
    setting = _setting(opened, options)
    published = [published_row(figure, setting) for figure in published_beside(study.steps)]
    return {
        "format": "didi-text benchmark 1",
        "finished": False,
        "rows": [],
        "published": published,
        "nll_differences": {},
        "frontiers": None,
        "matched": [],
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


def _setting(opened: Opened, options: BenchmarkOptions) -> StudySetting:
    first = next(iter(opened.models.values()))
    return StudySetting(opened.length, opened.judge.name, options.draws, first.tokenizer.size)


def _notes(opened: Opened, num: int) -> list[str]:
    """What a reader must know about this choice of models and of numbers."""
    notes = warnings_of_few(num, "samples a set")
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


def _write_table(path: Path, rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> None:
    counts = {"best_batch", "n", "length"} & {*columns}  # they may be empty
    table = pd.DataFrame(rows, columns=list(columns)).astype(dict.fromkeys(counts, "Int64"))
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
