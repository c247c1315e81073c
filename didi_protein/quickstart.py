"""`didi-protein quickstart`: from the bundled teacher to scored designs, in some minutes.

    didi-protein quickstart --out didi-quickstart

Distils the teacher for a few minutes, lets teacher, fresh student and bundled student write
designs of the same lengths from the same seed, scores them all, and writes one report. Run again
it goes on where it stopped. This file imports no torch, so that `--help` is fast; the work is in
`didi_protein.quickstart_run`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from typer import Option

from didi_core.command_options import command_of
from didi_core.commands import quickstart_options as shared
from didi_core.commands.quickstart_options import QuickstartResult

__all__ = ["Plan", "QuickstartOptions", "QuickstartResult", "quickstart", "quickstart_command"]


@dataclass(frozen=True, kw_only=True)
class Plan(shared.Plan):
    """What a quickstart does. The work is fixed, not the time, so that every run gives the same."""

    length: str = (
        "55,61,67,70,71,73,76,81,89,93,97,98,98,99,102,107,108,110,113,115,115,"
        "117,122,125,131,134,138,141,146,147,148,148"
    )
    """Residues of the designs, in turn: 32 quantiles, from 50 to 150, of the lengths of the
    families that the teacher was trained on, for families have lengths."""


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions(shared.QuickstartOptions):
    """What `quickstart` can be asked for."""

    out: Annotated[
        Path, Option(help="Folder for everything; an unfinished quickstart there is continued.")
    ] = Path("didi-quickstart")
    plan: Plan = field(default_factory=Plan)
    """Other models, or less work (Python only)."""


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
