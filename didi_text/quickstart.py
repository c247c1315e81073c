"""`didi-text quickstart`: from the bundled teacher to a student's samples, in some minutes.

    didi-text quickstart --out didi-text-quickstart

Distils the teacher for a few minutes, lets teacher, fresh student and bundled student write
samples of the same lengths from the same seed, judges them all, and shows them side by side. Run
again it goes on where it stopped. This file imports no torch, so that `--help` is fast; the work
is in `didi_text.comparing.quickstart`.
"""

from didi_core.cli.command_options import command_of
from didi_core.commands.comparing.options import QuickstartResult
from didi_text.comparing.options import Plan as Plan
from didi_text.comparing.options import QuickstartOptions as QuickstartOptions

__all__ = ["Plan", "QuickstartOptions", "QuickstartResult", "quickstart", "quickstart_command"]


def quickstart(options: QuickstartOptions | None = None) -> QuickstartResult:
    """Distil, sample, judge and compare; finished parts of an earlier run are kept.

    Raises:
        UserError: the folder holds other work, or cannot be written; a model is missing.
    """
    from didi_text.comparing.quickstart import run_quickstart

    return run_quickstart(options or QuickstartOptions())


def _run_command(options: QuickstartOptions) -> None:
    result = quickstart(options)
    from didi_text.comparing.quickstart import as_json, print_result

    if options.json_output:
        print(as_json(result))
    else:
        print_result(result)


quickstart_command = command_of(
    QuickstartOptions,
    _run_command,
    "Distil the bundled teacher and compare its samples with its students', in some minutes.",
)
