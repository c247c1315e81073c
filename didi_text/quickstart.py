"""`didi-text quickstart`: from the bundled teacher to a student's samples, in some minutes.

    didi-text quickstart --out didi-text-quickstart

Distils the teacher for a few minutes, lets teacher, fresh student and bundled student write
samples of the same lengths from the same seed, judges them all, and shows them side by side. Run
again it goes on where it stopped. This file imports no torch, so that `--help` is fast; the work
is in `didi_text.quickstart_run`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from typer import Option

from didi_core.command_options import command_of
from didi_core.commands import quickstart_options as shared
from didi_core.commands.quickstart_options import PAIRED_STEPS, QuickstartResult

__all__ = ["Plan", "QuickstartOptions", "QuickstartResult", "quickstart", "quickstart_command"]


@dataclass(frozen=True, kw_only=True)
class Plan(shared.Plan):
    """What a quickstart does. The work is fixed, not the time, so that every run gives the same."""

    length: str = "128"
    """Tokens of the samples: the blocks that the teacher was trained on."""
    pool_size: int = 64
    num: int = 48
    teacher_steps: tuple[int | None, ...] = (4, 8, PAIRED_STEPS, 64, None)
    """None is the teacher's limit: one call a token."""


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions(shared.QuickstartOptions):
    """What `quickstart` can be asked for."""

    out: Annotated[
        Path, Option(help="Folder for everything; an unfinished quickstart there is continued.")
    ] = Path("didi-text-quickstart")
    plan: Plan = field(default_factory=Plan)
    """Other models, or less work (Python only)."""


def quickstart(options: QuickstartOptions | None = None) -> QuickstartResult:
    """Distil, sample, judge and compare; finished parts of an earlier run are kept.

    Raises:
        UserError: the folder holds other work, or cannot be written; a model is missing.
    """
    from didi_text.quickstart_run import run_quickstart

    return run_quickstart(options or QuickstartOptions())


def _run_command(options: QuickstartOptions) -> None:
    result = quickstart(options)
    from didi_text.quickstart_table import as_json, print_result

    if options.json_output:
        print(as_json(result))
    else:
        print_result(result)


quickstart_command = command_of(
    QuickstartOptions,
    _run_command,
    "Distil the bundled teacher and compare its samples with its students', in some minutes.",
)
