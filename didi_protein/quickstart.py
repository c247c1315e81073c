"""`didi-protein quickstart`: from the bundled teacher to scored designs, in some minutes.

    didi-protein quickstart --out didi-quickstart

Distils the teacher for a few minutes, lets teacher, fresh student and bundled student write
designs of the same lengths from the same seed, scores them all, and writes one report. Run again
it goes on where it stopped. This file imports no torch, so that `--help` is fast; the work is in
`didi_protein.comparing.quickstart`.
"""

from didi_core.cli.command_options import command_of
from didi_core.commands.comparing.options import QuickstartResult
from didi_protein.comparing.options import Plan as Plan
from didi_protein.comparing.options import QuickstartOptions as QuickstartOptions

__all__ = ["Plan", "QuickstartOptions", "QuickstartResult", "quickstart", "quickstart_command"]


def quickstart(options: QuickstartOptions | None = None) -> QuickstartResult:
    """Distil, design, score and compare; finished parts of an earlier run are kept.

    Raises:
        UserError: the folder holds other work, or cannot be written; a package is missing.
    """
    from didi_protein.comparing.quickstart import run_quickstart

    return run_quickstart(options or QuickstartOptions())


def _run_command(options: QuickstartOptions) -> None:
    result = quickstart(options)
    from didi_protein.comparing.quickstart import as_json, print_result

    if options.json_output:
        print(as_json(result))
    else:
        print_result(result)


quickstart_command = command_of(
    QuickstartOptions,
    _run_command,
    "Distil the bundled teacher and compare its designs with its students', in about ten minutes.",
)
