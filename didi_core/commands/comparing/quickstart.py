"""What `quickstart` does in both programs: a comparison with a plan for its flags.

The fresh student, the one distilled earlier and their teacher are compared by `make_and_score`;
finished parts are kept.
"""

import json
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table

from didi_core.commands.comparing.cells import LIMIT_SAMPLER, Cell, CellRequest
from didi_core.commands.comparing.compare import (
    TABLE,
    ComparisonDomain,
    is_distilled,
    make_and_score,
)
from didi_core.commands.comparing.labels import label_of
from didi_core.commands.comparing.options import (
    PAIRED_STEPS,
    STUDENT,
    Plan,
    QuickstartOptions,
    QuickstartResult,
)
from didi_core.commands.comparing.sweep import Sweep
from didi_core.commands.comparing.table import (
    compare_cells,
    judged_pairs,
    paired_difference,
    steps_in_words,
    warnings_of,
    write_table,
)
from didi_core.commands.training.distill import distill
from didi_core.commands.training.settings import DistillSettings
from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import ENOUGH_RECORDS, Interval
from didi_core.io.files import write_json
from didi_core.models.folder import LoadedModel
from didi_core.number_checks import seed_errors
from didi_core.sampling.folder_defaults import PLAIN_SAMPLER, own_sampler
from didi_core.training.devices import resolve_device

MARKER = "quickstart.json"
"""The file that says that a folder is a quickstart's, and which."""

Request = TypeVar("Request", bound=CellRequest)
Settings = TypeVar("Settings", bound=DistillSettings)


def run_quickstart(options: QuickstartOptions, domain: ComparisonDomain) -> QuickstartResult:
    """See the program's `quickstart`.

    Raises:
        UserError: a seed that is none, a folder that is not ours, a model that is missing.
    """
    if wrong := seed_errors(options.seed):
        raise UserError(f"{wrong[0]}.")
    plan, out, teacher = options.plan, options.out, label_of(options.plan.teacher)
    check_folder(options)
    device = resolve_device(options.device)
    # What is missing shows now rather than after minutes of work.
    opened = {
        label_of(name): domain.open_model(name, device, offline=True)
        for name in (plan.teacher, plan.student)
    }
    bench = domain.prepare(options, opened[teacher], device)
    write_json(out / MARKER, _marker_of(options))
    # As in training: subnormal numbers are slow, and a resumed run must round like an unbroken one.
    torch.set_flush_denormal(True)
    settings = domain.settings_of(options, plan.method["name"])
    if not is_distilled(settings):
        how = f"{plan.distill_steps} updates with method {plan.method['name']}"
        print(f"Distilling {plan.teacher}: {how}.", file=sys.stderr, flush=True)
        distill(replace(settings, verdict=False), domain.training)
    opened[STUDENT] = domain.open_model(settings.out, device, offline=True)
    scored = make_and_score(domain, bench, cells_of(plan, opened), opened)
    table = compare_cells(scored, teacher, options.seed)
    write_table(table, out / TABLE)
    report = domain.show(options, table, bench, Sweep())
    at = {(each.cell.model, each.cell.steps): each for each in scored}
    pair = at[STUDENT, PAIRED_STEPS], at[teacher, PAIRED_STEPS]
    gain, num_pairs = paired_difference(*pair, options.seed), len(judged_pairs(*pair))
    return QuickstartResult(out, report, out / TABLE, table, gain, num_pairs, bench.reference_rows)


def request_of(options: QuickstartOptions, noun: str, request_class: type[Request]) -> Request:
    """What all cells share."""
    plan, folder = options.plan, options.out / f"{noun}s"
    return request_class.of(options, folder, plan.length, num=plan.num, offline=True)


def plan_settings(options: QuickstartOptions, settings_class: type[Settings]) -> Settings:
    """Settings of the plan's distillation."""
    plan = options.plan
    return settings_class(
        teacher=plan.teacher,
        out=str(options.out / STUDENT),
        method=dict(plan.method),
        reference="pool" if plan.data is None else "data",
        data=plan.data,
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


def cells_of(plan: Plan, opened: Mapping[str, LoadedModel]) -> list[Cell]:
    """What is compared, in the order of the table; each drawn as its folder says."""
    models = (
        (label_of(plan.teacher), plan.teacher_steps),
        (STUDENT, plan.student_steps),
        (label_of(plan.student), plan.student_steps),
    )
    return [
        Cell.limit(model)
        if steps is None
        else Cell.labelled(model, steps, own_sampler(opened[model]))
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


# What a quickstart prints: its table, and what it shows.


@dataclass(frozen=True)
class QuickstartWords:
    """How one program speaks of its sequences, and where its table has the figures printed."""

    noun: str
    """One sequence: design."""
    unit: str
    """One token of it: residue."""
    entropy: str
    """Columns of the table."""
    repeats: str
    reference_entropy: str | None
    """Key of the reference rows; None where sets of their size do not compare."""
    title_of: Callable[[str, Mapping[str, Any]], str] = lambda name, _: name.replace("_", " ")
    """Title of a reference row, from its name and figures."""


def as_json(result: QuickstartResult) -> str:
    """Table, gain and places as one JSON object."""
    record = {
        "out": str(result.out),
        "report": result.report and str(result.report),
        "comparison": str(result.comparison),
        f"nll_minus_teacher_at_{PAIRED_STEPS}_steps": (
            None if np.isnan(result.gain.mean) else result.gain.as_dict()
        ),
        "num_pairs": result.num_pairs,
        "warnings": warnings_of(result.table),
        "table": json.loads(result.table.to_json(orient="records")),
    }
    return json.dumps(record, indent=2)


def findings(result: QuickstartResult, words: QuickstartWords) -> str:
    """What the table shows, and what to mind."""
    gain = gain_in_words(result.gain, result.num_pairs, words, drawn_by(result.table))
    return "\n".join([*(textwrap.fill(each, 80) for each in warnings_of(result.table)), gain])


def drawn_by(table: pd.DataFrame) -> str:
    """Whose difference it is: with their samplers where those are two."""
    paired = table[table["steps"] == PAIRED_STEPS].set_index("model")["sampler"]
    student, teacher = paired[STUDENT], paired.iloc[0]
    if student == teacher:
        return "student less teacher"
    return f"student ({student}) less teacher ({teacher})"


def gain_in_words(
    gain: Interval, num_pairs: int, words: QuickstartWords, of: str = "student less teacher"
) -> str:
    """What the paired difference shows, which may be nothing."""
    if np.isnan(gain.mean):
        return f"Judge NLL at {PAIRED_STEPS} steps: no pair of {words.noun}s could be judged."
    if num_pairs < ENOUGH_RECORDS:
        pairs = "1 pair" if num_pairs == 1 else f"{num_pairs} pairs"
        return (
            f"Judge NLL at {PAIRED_STEPS} steps, {of}:\n{gain.mean:+.3f} nats a "
            f"{words.unit}, of {pairs} of {words.noun}s: fewer than {ENOUGH_RECORDS} show nothing."
        )
    if gain.high < 0:
        finding = f"to the judge the student's {words.noun}s read more naturally than its teacher's"
    elif gain.low > 0:
        finding = f"to the judge the student's {words.noun}s read less naturally than its teacher's"
    else:
        finding = "the interval includes zero: no difference is shown"
    return (
        f"Judge NLL at {PAIRED_STEPS} steps, {of}:\n{gain.mean:+.3f} nats a "
        f"{words.unit} (95% interval {gain.low:+.3f} to {gain.high:+.3f}):\n{finding}."
    )


def printed_table(result: QuickstartResult, words: QuickstartWords) -> Table:
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("Model")
    for heading in ("Steps", "Calls", "Perplexity", "Entropy", "Repeats", "Seconds"):
        table.add_column(heading, justify="right")
    previous = None
    for row in result.table.to_dict("records"):
        if row["model"] != previous and previous is not None:
            table.add_section()
        previous = row["model"]
        usual = row["sampler"] in (PLAIN_SAMPLER, LIMIT_SAMPLER)
        model = row["model"] if usual else f"{row['model']} ({row['sampler']})"
        table.add_row(model, *_printed_figures(row, words))
    _add_references(table, result.reference_rows, words)
    return table


def _printed_figures(row: Mapping[str, Any], words: QuickstartWords) -> list[str]:
    ends = [float(np.exp(row[f"judge_nll_{end}"])) for end in ("low", "high")]
    entropy = row[words.entropy]
    return [
        steps_in_words(row),
        f"{row['calls']:.1f}",
        _with_interval(row["judge_perplexity"], *ends),
        "" if pd.isna(entropy) else f"{entropy:.2f}",
        "" if pd.isna(row[words.repeats]) else f"{row[words.repeats]:.3f}",
        f"{row[f'seconds_per_{words.noun}']:.3f}",
    ]


def _with_interval(mean: float, low: float, high: float) -> str:
    if np.isnan(mean):
        return ""
    return f"{mean:.2f} ({low:.1f}-{high:.1f})"


def _add_references(table: Table, rows: dict[str, Any] | None, words: QuickstartWords) -> None:
    """Real and shuffled sequences, where the judge's folder knows them; not of equal number."""
    for number, (name, figures) in enumerate((rows or {}).items()):
        if number == 0:
            table.add_section()
        key = words.reference_entropy
        table.add_row(
            words.title_of(name, figures),
            "",
            "",
            _with_interval(**figures["judge_perplexity"]),
            "" if key is None else f"{figures[key]:.2f}",
            f"{figures[words.repeats]:.3f}",
            "",
            style="dim",
        )
