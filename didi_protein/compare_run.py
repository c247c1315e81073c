"""What `compare` does: distil by each method, design, score, one table. Finished parts are kept."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from didi_core.cli import check_output
from didi_core.commands.study import (
    empty_for_overwrite,
    label_clashes,
    label_of,
    split_words,
    step_counts,
)
from didi_core.errors import UserError
from didi_core.files import atomic_path, write_json
from didi_core.hydra_app import compose_settings
from didi_core.models.folder import LoadedModel
from didi_core.sampling.registry import find_sampler
from didi_core.training.devices import resolve_device
from didi_protein.compare import CompareOptions, CompareResult
from didi_protein.comparison_cells import Cell, CellRequest, Scored, design_cell, score_cell
from didi_protein.comparison_table import compare_cells
from didi_protein.distill import distill
from didi_protein.distill_settings import DistillSettings
from didi_protein.judges import open_judge
from didi_protein.models import open_model
from didi_protein.report import require_packages, write_report

MARKER = "compare.json"
"""The file that says that a folder is a comparison's, and which."""
UNBOUNDED = 1_000_000
"""Updates of a distillation that its time ends."""
FREE_TO_CHANGE = ("out", "device", "batch_tokens", "resume", "overwrite", "offline", "json_output")
"""Options that do not decide what a comparison holds."""


@dataclass(frozen=True)
class Study:
    """The parsed request."""

    methods: tuple[str, ...]
    students: tuple[str, ...]
    samplers: tuple[str, ...]
    steps: tuple[int, ...]
    teacher_steps: tuple[int, ...]


def run_compare(options: CompareOptions) -> CompareResult:
    """See `didi_protein.compare.compare`."""
    study = parse_study(options)
    out, device = options.out, resolve_device(options.device)
    check_output(out, resume=options.resume, overwrite=options.overwrite)
    _claim(options)
    teacher = open_model(options.teacher, device, offline=options.offline)
    opened = {label_of(options.teacher): teacher}
    judge = open_judge(options.judge, device)
    for student in study.students:
        opened[label_of(student)] = open_model(student, device, offline=options.offline)
    for method in study.methods:
        folder = _distil(options, method, study)
        opened[folder.name] = open_model(str(folder), device)
    cells, left_out = cells_of(study, label_of(options.teacher), opened)
    scored = _make(options, cells, opened, judge)
    return _write(options, scored, left_out)


def parse_study(options: CompareOptions) -> Study:
    """Lists from the flags.

    Raises:
        UserError: every flag that makes no sense, together.
    """
    wrong: list[str] = []
    study = Study(
        split_words(options.methods),
        split_words(options.students),
        split_words(options.samplers),
        step_counts("--steps", options.steps, wrong),
        step_counts("--teacher-steps", options.teacher_steps, wrong),
    )
    if not study.samplers or not study.steps:
        wrong.append("--samplers and --steps each need one value at least")
    if options.num < 2:
        wrong.append(f"--num {options.num} must be at least 2")
    if options.budget <= 0:
        wrong.append(f"--budget {options.budget:g} must be more than 0 seconds")
    wrong += label_clashes((options.teacher, *study.students, *study.methods))
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    for sampler in study.samplers:
        if not find_sampler(sampler).takes_steps:
            raise UserError(
                f"--samplers {sampler} takes no steps: the teacher's limit is always there."
            )
    for method in study.methods:
        distill_settings(options, method)
    return study


def distill_settings(options: CompareOptions, method: str) -> DistillSettings:
    """Settings of one method, `NAME` or `NAME:PRESET`, as its config files have them."""
    name, _, preset = method.partition(":")
    overrides = [f"method={name}", *([f"preset={preset}"] if preset else []), "teacher=_", "out=_"]
    settings = compose_settings("distill", DistillSettings, overrides)
    settings.teacher, settings.out = options.teacher, str(options.out / label_of(method))
    settings.reference, settings.data = ("data", options.data) if options.data else ("pool", None)
    settings.pool_length = options.length
    settings.steps, settings.max_seconds = UNBOUNDED, options.budget
    settings.seed, settings.device = options.seed, options.device
    settings.precision, settings.offline = options.precision, options.offline
    settings.resume = True
    return settings


def _claim(options: CompareOptions) -> None:
    """Write what the folder holds; refuse to go on with another comparison."""
    decided = {
        key: value
        for key, value in json.loads(json.dumps(asdict(options), default=str)).items()
        if key not in FREE_TO_CHANGE
    }
    marker = options.out / MARKER
    if options.overwrite:
        empty_for_overwrite(options.out, MARKER, "comparison")
    if marker.is_file() and (stored := json.loads(marker.read_text())) != decided:
        changed = [key for key in decided if stored.get(key) != decided[key]]
        raise UserError(
            f"--resume: {options.out} holds a comparison with another {', '.join(changed)}; choose "
            "another --out, or --overwrite."
        )
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(marker, decided)


def _distil(options: CompareOptions, method: str, study: Study) -> Path:
    """The student of one method; `config.json` is the last file of a finished one."""
    settings = distill_settings(options, method)
    folder = Path(settings.out)
    if (folder / "config.json").is_file():
        return folder
    print(f"Distilling with {method} for {options.budget:g} seconds.", file=sys.stderr)
    for other in study.methods:  # all methods start from one pool of the teacher's samples
        pool = options.out / label_of(other) / "pool"
        if pool.is_dir() and not (folder / "pool").exists():
            shutil.copytree(pool, folder / "pool")
    distill(settings)
    return folder


def cells_of(
    study: Study, teacher: str, opened: Mapping[str, LoadedModel]
) -> tuple[list[Cell], tuple[str, ...]]:
    """What is compared, in the order of the table, and what cannot be."""
    cells, left_out = [Cell.limit(teacher)], []
    for model, loaded in opened.items():
        more = study.teacher_steps if model == teacher else ()
        for sampler in study.samplers:
            if sampler == "rgas" and "discriminator" not in loaded.extras:
                left_out.append(f"{model} with rgas: it has no discriminator")
                continue
            cells += [Cell(model, steps, sampler) for steps in sorted({*study.steps, *more})]
    return cells, tuple(left_out)


def _make(
    options: CompareOptions, cells: Sequence[Cell], opened: Mapping[str, LoadedModel], judge: object
) -> list[Scored]:
    request = CellRequest(
        folder=options.out / "designs",
        num=options.num,
        length=options.length,
        seed=options.seed,
        device=options.device,
        batch_tokens=options.batch_tokens,
        precision=options.precision,
        fold=options.fold,
        pdb_dir=None if options.fold == "none" else options.out / "structures",
        reference=options.reference,
        training=options.training,
        offline=options.offline,
    )
    scored = []
    for number, cell in enumerate(cells, start=1):
        print(f"[{number}/{len(cells)}] {cell.name}", file=sys.stderr, flush=True)
        made = design_cell(cell, request, opened[cell.model])
        scored.append(score_cell(cell, request, made, judge))
    return scored


def _write(
    options: CompareOptions, scored: Sequence[Scored], left_out: tuple[str, ...]
) -> CompareResult:
    out = options.out
    table = compare_cells(scored, label_of(options.teacher), options.seed)
    with atomic_path(out / "comparison.csv") as temporary:
        table.to_csv(temporary, index=False)
    try:
        require_packages()
    except UserError:
        report = None
    else:
        title = f"{options.teacher} and its students"
        page = write_report([out / "designs"], out / "report.html", title=title, overwrite=True)
        report = page.out
    return CompareResult(out, out / "comparison.csv", table, report, left_out)
