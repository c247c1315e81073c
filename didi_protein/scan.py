"""`didi-protein scan`: every single substitution of a sequence, scored by a masked model.

    didi-protein scan my_protein.fasta --model tiny --out scan.csv --plot scan.png

From Python: `scan(ScanOptions(inputs=["my_protein.fasta"], model="tiny", out=Path("scan.csv")))`.
This file imports no torch, so that `--help` is fast; the work is in `didi_protein.scanning.run`.
"""

from typing import TYPE_CHECKING

from didi_core.cli.command_options import command_of
from didi_core.errors import RecordsFailed
from didi_protein.scanning.options import ScanOptions as ScanOptions
from didi_protein.scanning.options import ScanResult as ScanResult

if TYPE_CHECKING:
    from didi_core.models.folder import LoadedModel


def scan(options: ScanOptions, model: "LoadedModel | None" = None) -> ScanResult:
    """Score every substitution; write the table, `NAME.summary.json` beside it, and plots.

    Args:
        model: the model that `options.model` names, where it is open already, in float32.

    Raises:
        UserError: an input that cannot be read, a model that is not masked or cannot be opened, a
            position beyond a sequence, an output that exists. Records that cannot be scanned are
            rows of the table, not errors.
    """
    from didi_protein.scanning.run import run_scan

    return run_scan(options, model)


def _run_command(options: ScanOptions) -> None:
    result = scan(options)
    if options.json_output:
        print(result.summary_file.read_text(encoding="utf-8"), end="")
    else:
        from didi_core.cli.next_command import show_next
        from didi_protein.next_commands import after_scan
        from didi_protein.scanning.summary import print_summary

        print_summary(result)
        show_next(after_scan(options, result))
    if result.num_failed:
        from didi_protein.scoring.table import first_failure

        reason = first_failure(result.summary["sequences"])
        raise RecordsFailed(result.num_failed, result.num_records, str(result.out), reason)


scan_command = command_of(
    ScanOptions,
    _run_command,
    "Score every single substitution of sequences: which positions can change, and to what.",
)
