"""What `quickstart` does: distil, design, score, report, each part kept once it is finished."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from didi_core.errors import UserError
from didi_core.files import atomic_path, write_json
from didi_core.models.folder import LoadedModel
from didi_core.training.devices import resolve_device
from didi_protein.comparison_cells import Cell, CellRequest, Scored, design_cell, score_cell
from didi_protein.comparison_table import compare_cells, paired_difference
from didi_protein.distill import distill
from didi_protein.distill_settings import DistillSettings
from didi_protein.judges import Judge, open_judge
from didi_protein.models import open_model
from didi_protein.quickstart import PAIRED_STEPS, Plan, QuickstartOptions, QuickstartResult
from didi_protein.report import require_packages, write_report

STUDENT = "student"
"""Name of the fresh student: its folder, and the model its designs name."""
MARKER = "quickstart.json"
"""The file that says that a folder is a quickstart's, and which."""


def run_quickstart(options: QuickstartOptions) -> QuickstartResult:
    """See `didi_protein.quickstart.quickstart`."""
    plan, out = options.plan, options.out
    check_folder(options)
    require_packages()
    device = resolve_device(options.device)
    # What is missing shows now rather than after minutes of work.
    opened = {_label(name): open_model(name, device) for name in (plan.teacher, plan.student)}
    judge = open_judge(plan.judge, device)
    write_json(out / MARKER, _marker_of(options))
    # As in training: subnormal numbers are slow, and a resumed run must round like an unbroken one.
    torch.set_flush_denormal(True)
    _distil(options)
    opened[STUDENT] = open_model(out / STUDENT, device)
    cells = cells_of(plan)
    return _compare(options, _make(options, cells, opened, judge), judge)


def _label(model: str) -> str:
    """A bundled name as it is; of a folder, its last part."""
    return Path(model).name


def cells_of(plan: Plan) -> list[Cell]:
    """What is compared, in the order of the table."""
    models = (
        (_label(plan.teacher), plan.teacher_steps),
        (STUDENT, plan.student_steps),
        (_label(plan.student), plan.student_steps),
    )
    return [
        Cell.limit(model) if steps is None else Cell(model, steps)
        for model, all_steps in models
        for steps in all_steps
    ]


def check_folder(options: QuickstartOptions) -> None:
    """Refuse a folder that is not ours to continue, by `quickstart.json` in it.

    Raises:
        UserError: it holds something else, or a quickstart with another seed or plan.
    """
    out = options.out
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: choose another name.")
    if not out.exists() or not any(out.iterdir()):
        return
    try:
        stored = json.loads((out / MARKER).read_text(encoding="utf-8"))
        seed = stored["seed"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--out {out} holds other work: choose another folder for the quickstart."
        ) from error
    if seed != options.seed:
        raise UserError(
            f"--seed {options.seed}: {out} holds a quickstart with seed {seed}; continue it with "
            "that seed, or choose another --out."
        )
    if stored != _marker_of(options):
        raise UserError(
            f"--out {out} holds a quickstart of another version: choose another folder."
        )


def _marker_of(options: QuickstartOptions) -> dict[str, Any]:
    """What decides the result, as it reads back from JSON."""
    return json.loads(json.dumps({"seed": options.seed, "plan": asdict(options.plan)}))


def _say(part: int, text: str) -> None:
    print(f"[{part}/4] {text}", file=sys.stderr, flush=True)


def _distil(options: QuickstartOptions) -> None:
    """The fresh student; `config.json` is the last file of a finished one."""
    plan, folder = options.plan, options.out / STUDENT
    if (folder / "config.json").is_file():
        _say(1, f"The student is in {folder} already.")
        return
    method = plan.method["name"]
    _say(1, f"Distilling {plan.teacher}: {plan.distill_steps} updates with method {method}.")
    settings = DistillSettings(
        teacher=plan.teacher,
        out=str(folder),
        method=dict(plan.method),
        reference="pool",
        pool_size=plan.pool_size,
        pool_length=plan.length,
        pool_steps=plan.pool_steps,
        steps=plan.distill_steps,
        tokens_per_batch=plan.tokens_per_batch,
        seed=options.seed,
        device=options.device,
        resume=True,
        offline=True,
    )
    distill(settings)


def _make(
    options: QuickstartOptions,
    cells: Sequence[Cell],
    opened: Mapping[str, LoadedModel],
    judge: Judge,
) -> list[Scored]:
    """Designs of every cell, then their scores."""
    plan = options.plan
    request = CellRequest(
        folder=options.out / "designs",
        num=plan.num,
        length=plan.length,
        seed=options.seed,
        device=options.device,
        offline=True,
    )
    _say(2, f"Writing {len(cells)} sets of {plan.num} designs each.")
    made = {}
    for cell in cells:
        made[cell] = design_cell(cell, request, opened[cell.model])
        cost = made[cell]
        print(
            f"      {cell.name}: {cost.mean_nfe:.1f} calls a design, {cost.seconds:.1f} s",
            file=sys.stderr,
        )
    _say(3, f"Scoring them with {judge.name}.")
    return [score_cell(cell, request, made[cell], judge) for cell in cells]


def _compare(
    options: QuickstartOptions, scored: Sequence[Scored], judge: Judge
) -> QuickstartResult:
    """Write the comparison and the report."""
    out = options.out
    _say(4, "Comparing them.")
    teacher = _label(options.plan.teacher)
    table = compare_cells(scored, teacher, options.seed)
    with atomic_path(out / "comparison.csv") as temporary:
        table.to_csv(temporary, index=False)
    title = f"Quickstart: {options.plan.teacher} and its students"
    report = write_report([out / "designs"], out / "report.html", title=title, overwrite=True)
    by_cell = {each.cell: each for each in scored}
    gain = paired_difference(
        by_cell[Cell(STUDENT, PAIRED_STEPS)], by_cell[Cell(teacher, PAIRED_STEPS)], options.seed
    )
    return QuickstartResult(
        out, report.out, out / "comparison.csv", table, gain, judge.reference_rows
    )
