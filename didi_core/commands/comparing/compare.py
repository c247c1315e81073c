"""What `compare` does in both programs: distil by each method, sample, score, one table.

What it must know of a program is one object, a `ComparisonDomain`; `quickstart` takes one too.
"""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from didi_core.commands.comparing.cells import (
    LIMIT_SAMPLER,
    Cell,
    CellRequest,
    ScoredCell,
)
from didi_core.commands.comparing.labels import label_of
from didi_core.commands.comparing.options import CompareOptions, CompareResult
from didi_core.commands.comparing.study import (
    ChosenSampler,
    Study,
    check_folder,
    claim_folder,
    other_than_own,
    study_of,
)
from didi_core.commands.comparing.sweep import (
    MeasuredSet,
    Natural,
    Sweep,
    add_columns,
    baseline_of,
    sweep_of,
)
from didi_core.commands.comparing.table import compare_cells, table_of, write_table
from didi_core.commands.generating.domain import length_limit
from didi_core.commands.generating.options import GenerationResult, SamplingOptions
from didi_core.commands.generating.run import batch_writer
from didi_core.commands.headroom.estimate import teacher_line
from didi_core.commands.training.distill import DistillRun, distill
from didi_core.commands.training.distill_checks import check_process
from didi_core.commands.training.domain import TrainingDomain
from didi_core.commands.training.settings import DistillSettings
from didi_core.data.corpus import Corpus
from didi_core.distill.pool import check_pool_steps
from didi_core.io.files import atomic_path
from didi_core.models.folder import LoadedModel
from didi_core.progress import ProgressLines
from didi_core.sampling.folder_defaults import plain_sampler, stored_reveal_exponent
from didi_core.sampling.registry import find_sampler, samplers_of
from didi_core.training.devices import TORCH_TYPES, resolve_device, settle_precision

TABLE = "comparison.csv"


@dataclass(frozen=True)
class Bench:
    """What one comparison scores with, and what all its cells share."""

    request: CellRequest
    judge: Any
    """It has a `name`."""
    natural: Callable[[Cell], Natural | None] = lambda _: None
    """Natural data, at whose diversity curves are compared, beside a cell that was made: all have
    the same ids and lengths. None where none are known."""
    more_rows: tuple[dict[str, Any], ...] = ()
    """Rows of the table that no model made."""
    reference_rows: dict[str, Any] | None = None
    """What the judge's folder knows of real sequences."""
    warmed: set[tuple[str, str]] = field(default_factory=set)
    """Models and labels of samplers that were called once."""


@dataclass(frozen=True, kw_only=True)
class ComparisonDomain:
    """What a comparison must know of a program: how all is opened, made, scored and shown."""

    settings_of: Callable[[Any, str], DistillSettings]
    """From options and method: settings of the distillation."""
    training: TrainingDomain[Any, Any]
    """What the distillations know of the program."""
    open_model: Callable[..., LoadedModel]
    """By name and device, as `generate` opens it; `flag` is what messages call the name."""
    open_writer: Callable[..., LoadedModel]
    """The same, which may also be autoregressive: a baseline."""
    prepare: Callable[[Any, LoadedModel, torch.device], Bench]
    """From options and teacher: open what scores the sequences, before anything is made."""
    make: Callable[[Cell, Any, LoadedModel], GenerationResult]
    """Sequences of a cell, or those that are there already."""
    score: Callable[[Cell, Any, GenerationResult, Any], ScoredCell]
    """Their scores under the judge, or those that are there already."""
    measure: Callable[[ScoredCell, Any], MeasuredSet]
    """What a scored cell puts on its curve over temperatures."""
    diversity_label: str
    """What curves over temperatures are compared at, with its unit."""
    show: Callable[[Any, pd.DataFrame, Bench, Sweep], Path | None]
    """Write the page or figure of a table; None where the extra `report` is not installed."""
    notes: Callable[[pd.DataFrame], Sequence[str]] = lambda _: ()
    """What a reader of a table must know beside it."""


def run_comparison(options: CompareOptions, domain: ComparisonDomain) -> CompareResult:
    """See the program's `compare`. Finished students, sequences and scores are kept."""
    options = settle_precision(options)
    study = study_of(options, partial(domain.settings_of, options))
    bench, opened = _open(study, options, domain)
    cells, left_out = cells_of(study, label_of(options.teacher), opened)
    scored = make_and_score(domain, bench, cells, opened)
    rows = _rows(scored, options, opened)
    table, report = _finish(rows, Sweep(), options, domain, bench)
    sweep = _sweep(scored, study, options, domain, bench, opened)
    if sweep.record is not None:
        rows = add_columns(rows, scored, sweep.record)
        table, report = _finish(rows, sweep, options, domain, bench)
    drawn = other_than_own([(c.model, c.label) for c in cells if c.steps], opened)
    path = options.out / TABLE
    headroom = _headroom(study, options, domain, opened[label_of(options.teacher)])
    notes = (*_notes(study, bench), *headroom, *drawn, *sweep.notes, *domain.notes(table))
    return CompareResult(options.out, path, table, report, left_out, sweep.path, notes)


def _open(
    study: Study, options: CompareOptions, domain: ComparisonDomain
) -> tuple[Bench, dict[str, LoadedModel]]:
    """The judge, and all models by label, the teacher first; students of methods are distilled."""
    device = resolve_device(options.device)
    dtype = TORCH_TYPES[options.precision]
    opening: dict[str, Any] = {"device": device, "offline": options.offline, "dtype": dtype}
    check_folder(options)
    teacher = domain.open_model(options.teacher, **opening, flag="--teacher")
    _check_teacher(study, options, domain, teacher)
    bench, opened = domain.prepare(options, teacher, device), {label_of(options.teacher): teacher}
    for student in study.students:
        opened[label_of(student)] = domain.open_writer(student, **opening, flag="--students")
    claim_folder(options)  # not before: the old comparison goes here with --overwrite
    for method in study.methods:
        folder = _student(method, study, options, domain)
        opened[folder.name] = domain.open_model(str(folder), **opening, flag="--methods")
    return bench, opened


def _check_teacher(
    study: Study, options: CompareOptions, domain: ComparisonDomain, teacher: LoadedModel
) -> None:
    """Raise UserError where a method cannot distil it, before any is distilled."""
    for method in study.methods:
        settings = DistillRun(domain.settings_of(options, method), domain.training).settings
        check_process(settings.method["name"], teacher, ("--methods ", "--teacher "))
        if settings.reference == "pool":
            check_pool_steps(teacher.process, settings.pool_steps, "--pool-steps ")


def _student(method: str, study: Study, options: CompareOptions, domain: ComparisonDomain) -> Path:
    """The student of one method."""
    settings = domain.settings_of(options, method)
    if not is_distilled(settings):
        print(f"Distilling with {method}, {_budget_in_words(options)}.", file=sys.stderr)
        for other in study.methods:  # all start from one pool of the teacher's samples
            copy_pool(options.out / label_of(other) / "pool", Path(settings.out) / "pool")
        distill(replace(settings, verdict=False), domain.training)
    return Path(settings.out)


def is_distilled(settings: DistillSettings) -> bool:
    """Whether the student is there: `config.json` is the last file of a finished one."""
    return (Path(settings.out) / "config.json").is_file()


def _budget_in_words(options: CompareOptions) -> str:
    budget = f"{options.budget:g} seconds"
    if options.data:
        return budget
    calls = f"{options.pool_steps} calls" if options.pool_steps else "a call a token"
    return f"{budget} after {options.pool_size} samples of the teacher in {calls} each"


def make_and_score(
    domain: ComparisonDomain,
    bench: Bench,
    cells: Sequence[Cell],
    opened: Mapping[str, LoadedModel],
) -> list[ScoredCell]:
    """Sequences of every cell and their scores; a new model and sampler is called once before."""
    scored = []
    lines = ProgressLines("comparing", len(cells))
    for number, cell in enumerate(cells, start=1):
        left = f", {lines.time_left(number - 1)}" if number > 1 else ""
        print(f"[{number}/{len(cells)}] {cell.name}{left}", file=sys.stderr, flush=True)
        model = opened[cell.model]
        if not bench.request.is_made(cell) and (cell.model, cell.label) not in bench.warmed:
            bench.warmed.add((cell.model, cell.label))
            warm_up(bench.request, cell, model)
        made = domain.make(cell, bench.request, model)
        scored.append(domain.score(cell, bench.request, made, bench.judge))
    return scored


def _rows(
    scored: Sequence[ScoredCell], options: CompareOptions, opened: Mapping[str, LoadedModel]
) -> pd.DataFrame:
    """Rows of all cells, paired; with what is not as usual in how they were drawn."""
    rows = compare_cells(scored, label_of(options.teacher), options.seed)
    if options.top_p != 1:
        rows.insert(rows.columns.get_loc("n"), "top_p", options.top_p)
    exponents = [_exponent(each.cell, opened[each.cell.model]) for each in scored]
    if any(each != 1 for each in exponents):
        rows.insert(rows.columns.get_loc("n"), "reveal_exponent", exponents)
    return rows


def _finish(
    rows: pd.DataFrame,
    sweep: Sweep,
    options: CompareOptions,
    domain: ComparisonDomain,
    bench: Bench,
) -> tuple[pd.DataFrame, Path | None]:
    """The table with the rows that no model made, and its page or figure; both are written."""
    table = table_of([*rows.to_dict("records"), *bench.more_rows]) if bench.more_rows else rows
    report = domain.show(options, table, bench, sweep)
    write_table(table, options.out / TABLE)
    return table, report


def _sweep(
    scored: Sequence[ScoredCell],
    study: Study,
    options: CompareOptions,
    domain: ComparisonDomain,
    bench: Bench,
    opened: Mapping[str, LoadedModel],
) -> Sweep:
    """Every row at the other temperatures, and all rows at equal diversity."""
    sweep = Sweep()
    if heated := [t for t in study.temperatures if t != 1]:
        baseline = baseline_of(scored, label_of(options.teacher))
        cells = [each.cell.at(t) for each in scored for t in heated]
        more = make_and_score(domain, bench, cells, opened)
        sets = [domain.measure(each, bench.request) for each in (*scored, *more)]
        natural = None if baseline is None else bench.natural(baseline)
        sweep = sweep_of(sets, baseline, options.diversity, natural, options.seed)
    return sweep.written(options.out, domain.diversity_label)


def _notes(study: Study, bench: Bench) -> list[str]:
    """What a reader must know about this choice of models."""
    if bench.judge.name not in study.students:
        return []
    label = label_of(bench.judge.name)
    return [f"{label} is also the judge: its own judge NLL is no independent figure."]


def _headroom(
    study: Study, options: CompareOptions, domain: ComparisonDomain, teacher: LoadedModel
) -> list[str]:
    """What the teacher loses in the steps compared, by its curve or on the data at hand."""
    source = options.reference or options.data
    longest = length_limit(teacher)

    def read() -> Corpus:
        return domain.training.read_sequences(str(source), teacher, longest, options.offline)

    unit = domain.training.unit
    line = teacher_line(teacher, read if source else None, str(source), unit, study.steps)
    return [] if line is None else [line]


def _exponent(cell: Cell, model: LoadedModel) -> float:
    return stored_reveal_exponent("exact", find_sampler(cell.sampler), model)


def copy_pool(source: Path, target: Path) -> None:
    """Add the parts of a pool that `target` lacks; each appears whole."""
    for part in source.glob("*/part_*.json"):
        copy = target / part.relative_to(source)
        if not copy.exists():
            with atomic_path(copy) as temporary:
                shutil.copyfile(part, temporary)


def cells_of(
    study: Study, teacher: str, opened: Mapping[str, LoadedModel]
) -> tuple[Sequence[Cell], tuple[str, ...]]:
    """What is compared, in the order of the table, and what cannot be.

    A teacher without a limit has its plain rows even where `--samplers` does not name them: they
    are what all others are compared with. So has a model that no sampler asked for can take.
    """
    cells, left_out = [Cell.limit(teacher)], []
    if reason := find_sampler(LIMIT_SAMPLER).reason_against(opened[teacher]):
        cells, left_out = [], [f"{teacher} with {LIMIT_SAMPLER}, its limit: {reason}"]
    for model, loaded in opened.items():
        kinds = samplers_of(loaded.process)
        if not any(kind.takes_steps for kind in kinds):  # autoregressive: a row of its own law
            cells += [Cell(model, None, kind.name) for kind in kinds]
            continue
        more = study.teacher_steps if model == teacher else ()
        asked = dict.fromkeys(each.of(loaded) for each in study.samplers)
        against = {s: find_sampler(s.name).reason_against(loaded) for s in asked}
        left_out += [f"{model} with {s.name}: {why}" for s, why in against.items() if why]
        fitting = [sampler for sampler, why in against.items() if not why]
        if not fitting or (model == teacher and Cell.limit(teacher) not in cells):
            fitting = [ChosenSampler(plain_sampler(loaded.process).name), *fitting]
        for sampler in dict.fromkeys(fitting):
            cells += [
                Cell(model, steps, sampler.name, options=sampler.options)
                for steps in sorted({*study.steps, *more})
            ]
    return cells, tuple(dict.fromkeys(left_out))


# A call before those that are timed: the first of a model and sampler pays for set-up.

TOKENS, STEPS = 8, 2
"""Enough to go through every part of a sampler, in a moment."""


def warm_up(request: CellRequest, cell: Cell, model: LoadedModel) -> None:
    """Write one short sequence with the model and sampler of a cell, and keep nothing of it."""
    asked = request.generation(cell, "") | {"steps": cell.steps and min(cell.steps, STEPS)}
    vocabulary = model.vocabulary
    row = vocabulary.frame([vocabulary.mask_id] * TOKENS)
    batch_writer(SamplingOptions(**asked), model, row)([0])
