"""What `compare` does in both programs: distil by each method, sample, score, one table.

A program's subclass of `Comparison` says how models are opened, sequences made, scored and shown.
"""

import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pandas as pd
import torch

from didi_core.commands.comparing.cells import (
    LIMIT_SAMPLER,
    Cell,
    CellRequest,
    ScoredCell,
)
from didi_core.commands.comparing.options import CompareOptions, CompareResult
from didi_core.commands.comparing.study import (
    ChosenSampler,
    Study,
    check_folder,
    claim_folder,
    label_of,
    other_than_own,
)
from didi_core.commands.comparing.sweep import (
    MeasuredSet,
    Natural,
    Sweep,
    add_columns,
    baseline_of,
    sweep_of,
)
from didi_core.commands.comparing.table import compare_cells, write_table
from didi_core.commands.generating.options import SamplingOptions
from didi_core.commands.generating.run import batch_writer
from didi_core.commands.training.distill import DistillRun, check_process, distill
from didi_core.commands.training.domain import TrainingDomain
from didi_core.commands.training.settings import DistillSettings
from didi_core.distill.pool import check_pool_steps
from didi_core.io.files import atomic_path
from didi_core.models.folder import LoadedModel
from didi_core.sampling.folder_defaults import plain_sampler, stored_reveal_exponent
from didi_core.sampling.registry import find_sampler, samplers_of
from didi_core.training.devices import TORCH_TYPES, resolve_device, settle_precision

TABLE = "comparison.csv"

Options = TypeVar("Options", bound=CompareOptions)


class Comparison(ABC, Generic[Options]):
    """One comparison of one program. Finished students, sequences and scores are kept."""

    diversity_label: ClassVar[str]
    """What curves over temperatures are compared at, with its unit."""
    training: ClassVar[TrainingDomain[Any, Any]]
    """The program's, for distillations."""
    judge: Any
    """What `open_judge` opened; it has a `name`."""

    def __init__(self, options: Options) -> None:
        self.options = settle_precision(options)
        self.study = self.parse()
        self.device = resolve_device(options.device)
        self._warm: set[tuple[str, str]] = set()
        """Models and labels of samplers that were called once."""

    @abstractmethod
    def parse(self) -> Study:
        """The request.

        Raises:
            UserError: every flag that makes no sense, together.
        """

    @abstractmethod
    def settings_of(self, method: str) -> DistillSettings:
        """Settings of the distillation by one method."""

    @property
    def opening(self) -> dict[str, Any]:
        """How the models that write are opened, as `generate` would open them."""
        options = self.options
        return {"offline": options.offline, "dtype": TORCH_TYPES[options.precision]}

    @abstractmethod
    def open_model(self, name: str, device: torch.device, flag: str) -> LoadedModel:
        """The model that `flag` names."""

    @abstractmethod
    def open_writer(self, name: str, device: torch.device, flag: str) -> LoadedModel:
        """The same, which may also be autoregressive: a baseline."""

    @abstractmethod
    def open_judge(self, teacher: LoadedModel) -> None:
        """Open what scores the sequences, before anything is made; kept by the subclass."""

    @property
    @abstractmethod
    def request(self) -> CellRequest:
        """What all cells share."""

    @abstractmethod
    def make_and_score(self, cell: Cell, model: LoadedModel) -> ScoredCell:
        """Sequences of a cell and their scores, or those that are there already."""

    @abstractmethod
    def measure(self, scored: ScoredCell) -> MeasuredSet:
        """What a scored cell puts on its curve over temperatures."""

    @abstractmethod
    def natural(self, baseline: Cell | None) -> Natural | None:
        """Natural data, at whose diversity curves are compared; None where none are known.

        Args:
            baseline: a cell that was made; all cells have the same ids and lengths.
        """

    @abstractmethod
    def finish(self, table: pd.DataFrame, sweep: Sweep) -> tuple[pd.DataFrame, Path | None]:
        """The table with the program's own rows, and its page or figure, which is written here.

        Args:
            sweep: what further temperatures gave; without a record where there are none.
        """

    def run(self) -> CompareResult:
        """See the program's `compare`."""
        options, study = self.options, self.study
        check_folder(options)
        teacher = self.open_model(options.teacher, self.device, "--teacher")
        self._check_teacher(teacher)
        opened = {label_of(options.teacher): teacher}
        self.open_judge(teacher)
        for student in study.students:
            opened[label_of(student)] = self.open_writer(student, self.device, "--students")
        claim_folder(options)  # not before: the old comparison goes here with --overwrite
        for method in study.methods:
            folder = self._student(method)
            opened[folder.name] = self.open_model(str(folder), self.device, "--methods")
        cells, left_out = cells_of(study, label_of(options.teacher), opened)
        scored = self._make_and_score(cells, opened)
        rows = compare_cells(scored, label_of(options.teacher), options.seed)
        if options.top_p != 1:
            rows.insert(rows.columns.get_loc("n"), "top_p", options.top_p)
        exponents = [_exponent(cell, opened[cell.model]) for cell in cells]
        if any(each != 1 for each in exponents):
            rows.insert(rows.columns.get_loc("n"), "reveal_exponent", exponents)
        table, report = self._finish(rows, Sweep())
        sweep = self._sweep(scored, opened)
        if sweep.record is not None:
            table, report = self._finish(add_columns(rows, scored, sweep.record), sweep)
        drawn = other_than_own([(c.model, c.sampler) for c in cells if c.steps], opened)
        path, notes = options.out / TABLE, (*self._notes(), *drawn, *sweep.notes)
        return CompareResult(options.out, path, table, report, left_out, sweep.path, notes)

    def _notes(self) -> list[str]:
        """What a reader must know about this choice of models."""
        if self.judge.name not in self.study.students:
            return []
        label = label_of(self.judge.name)
        return [f"{label} is also the judge: its own judge NLL is no independent figure."]

    def _finish(self, rows: pd.DataFrame, sweep: Sweep) -> tuple[pd.DataFrame, Path | None]:
        table, report = self.finish(rows, sweep)
        write_table(table, self.options.out / TABLE)
        return table, report

    def _make_and_score(
        self, cells: Sequence[Cell], opened: Mapping[str, LoadedModel]
    ) -> list[ScoredCell]:
        scored = []
        for number, cell in enumerate(cells, start=1):
            print(f"[{number}/{len(cells)}] {cell.name}", file=sys.stderr, flush=True)
            if not self.request.is_made(cell):
                self._warm_up(cell, opened[cell.model])
            scored.append(self.make_and_score(cell, opened[cell.model]))
        return scored

    def _warm_up(self, cell: Cell, model: LoadedModel) -> None:
        """A small call of each model and sampler, before the first set of theirs is timed."""
        if (cell.model, cell.label) not in self._warm:
            self._warm.add((cell.model, cell.label))
            warm_up(self.request, cell, model)

    def _sweep(self, scored: Sequence[ScoredCell], opened: Mapping[str, LoadedModel]) -> Sweep:
        """Every row at the other temperatures, and all rows at equal diversity."""
        options, sweep = self.options, Sweep()
        if heated := [t for t in self.study.temperatures if t != 1]:
            baseline = baseline_of(scored, label_of(options.teacher))
            more = self._make_and_score([e.cell.at(t) for e in scored for t in heated], opened)
            sets = [self.measure(each) for each in (*scored, *more)]
            natural = self.natural(baseline)
            sweep = sweep_of(sets, baseline, options.diversity, natural, options.seed)
        return sweep.written(options.out, self.diversity_label)

    def _check_teacher(self, teacher: LoadedModel) -> None:
        """Raise UserError where a method cannot distil it, before any is distilled."""
        for method in self.study.methods:
            settings = DistillRun(self.settings_of(method), self.training).settings
            check_process(settings.method["name"], teacher, ("--methods ", "--teacher "))
            if settings.reference == "pool":
                check_pool_steps(teacher.process, settings.pool_steps, "--pool-steps ")

    def _student(self, method: str) -> Path:
        """The student of one method; `config.json` is the last file of a finished one."""
        settings = self.settings_of(method)
        folder = Path(settings.out)
        if (folder / "config.json").is_file():
            return folder
        print(f"Distilling with {method}, {self._budget_in_words()}.", file=sys.stderr)
        for other in self.study.methods:  # all start from one pool of the teacher's samples
            copy_pool(self.options.out / label_of(other) / "pool", folder / "pool")
        distill(settings, self.training)
        return folder

    def _budget_in_words(self) -> str:
        options = self.options
        budget = f"{options.budget:g} seconds"
        if options.data:
            return budget
        calls = f"{options.pool_steps} calls" if options.pool_steps else "a call a token"
        return f"{budget} after {options.pool_size} samples of the teacher in {calls} each"


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
