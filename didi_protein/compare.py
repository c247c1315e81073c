"""`didi-protein compare`: methods, samplers and step counts on one teacher, in one table.

    didi-protein compare --teacher tiny --methods didi,dmmd --steps 8,16 --budget 300 --out study

Each method distils the teacher for the same time; then teacher and students write designs of the
same lengths from the same seed, and all are scored alike. Run again it goes on where it stopped.
This file imports no torch, so that `--help` is fast; the work is in
`didi_protein.comparing.compare`.
"""

from didi_core.cli.command_options import command_of
from didi_core.commands.comparing.options import CompareResult
from didi_protein.comparing.options import CompareOptions as CompareOptions

__all__ = ["CompareOptions", "CompareResult", "compare", "compare_command"]


def compare(options: CompareOptions) -> CompareResult:
    """Distil by each method, design, score and compare.

    Raises:
        UserError: an option without sense, an output that exists, a model that cannot be opened.
    """
    from didi_protein.comparing.compare import run_compare

    return run_compare(options)


def _run_command(options: CompareOptions) -> None:
    result = compare(options)
    from didi_protein.comparing.compare import as_json, print_result

    if options.json_output:
        print(as_json(result))
    else:
        from didi_core.cli.next_command import show_next
        from didi_protein.next_commands import after_compare

        print_result(result, folded=options.fold != "none")
        show_next(after_compare(options, result))


compare_command = command_of(
    CompareOptions,
    _run_command,
    "Compare distillation methods, samplers and step counts on one teacher and one budget.",
)
