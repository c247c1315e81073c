"""`didi-protein quickstart`: from the bundled teacher to scored designs, in some minutes.

    didi-protein quickstart --out didi-quickstart

Distils the teacher for a few minutes, lets teacher, fresh student and bundled student write
designs of the same lengths from the same seed, scores them all, and writes one report. Run again
it goes on where it stopped. This file imports no torch, so that `--help` is fast; the work is in
`didi_protein.quickstart_run`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from didi_core.command_options import Device, JsonOutput, Seed, command_of

if TYPE_CHECKING:
    import pandas as pd

    from didi_core.evaluation.bootstrap import Interval

METHOD: Mapping[str, Any] = {"name": "dmmd"}
"""The distillation method of the quickstart, as in configs/method/."""
PAIRED_STEPS = 16
"""The fresh student is compared with its teacher at this many steps."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a quickstart does. The work is fixed, not the time, so that every run gives the same."""

    teacher: str = "tiny"
    student: str = "tiny-student"
    """A student distilled earlier, to compare the fresh one with."""
    judge: str = "tiny-judge"
    method: Mapping[str, Any] = field(default_factory=lambda: METHOD)
    distill_steps: int = 200
    """Updates of the fresh student."""
    tokens_per_batch: int = 2048
    pool_size: int = 96
    """Teacher's samples that distillation starts from."""
    pool_steps: int | None = 32
    """Steps they are made in; None for the teacher's limit."""
    num: int = 64
    """Designs of each model and number of steps."""
    length: str = (
        "55,61,67,70,71,73,76,81,89,93,97,98,98,99,102,107,108,110,113,115,115,"
        "117,122,125,131,134,138,141,146,147,148,148"
    )
    """Residues of the designs, in turn: 32 quantiles, from 50 to 150, of the lengths of the
    families that the teacher was trained on, for families have lengths."""
    teacher_steps: tuple[int | None, ...] = (8, PAIRED_STEPS, 64, None)
    """None is the teacher's limit: one call a residue."""
    student_steps: tuple[int | None, ...] = (4, 8, PAIRED_STEPS)


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions:
    """What `quickstart` can be asked for."""

    out: Annotated[
        Path, Option(help="Folder for everything; an unfinished quickstart there is continued.")
    ] = Path("didi-quickstart")
    seed: Seed = 0
    device: Device = "auto"
    json_output: JsonOutput = False
    plan: Plan = field(default_factory=Plan)
    """Other models, or less work (Python only)."""


@dataclass(frozen=True)
class QuickstartResult:
    """What was made."""

    out: Path
    report: Path
    comparison: Path
    """`comparison.csv`: one row for each model and number of steps."""
    table: "pd.DataFrame"
    """Its contents."""
    gain: "Interval"
    """Judge NLL of the fresh student less that of the teacher, both at 16 steps, over pairs of
    designs of equal length; nats a residue, below zero is better."""
    reference_rows: dict[str, Any] | None
    """What the judge finds of natural and of shuffled sequences."""


def quickstart(options: QuickstartOptions | None = None) -> QuickstartResult:
    """Distil, design, score and compare; finished parts of an earlier run are kept.

    Raises:
        UserError: the folder holds other work, or cannot be written; a package is missing.
    """
    from didi_protein.quickstart_run import run_quickstart

    return run_quickstart(options or QuickstartOptions())


def _run_command(options: QuickstartOptions) -> None:
    result = quickstart(options)
    from didi_protein.quickstart_table import as_json, print_result

    if options.json_output:
        print(as_json(result))
    else:
        print_result(result)


quickstart_command = command_of(
    QuickstartOptions,
    _run_command,
    "Distil the bundled teacher and compare its designs with its students', in about ten minutes.",
)
