"""`didi-protein report`: one self-contained page that compares sets of scored designs.

    didi-protein report quickstart/ --out report.html
    didi-protein report teacher.csv student.csv --out report.html --title "Kinases, round 2"

The page needs no network: no scripts, fonts or styles from elsewhere. What `filter` rejected and
the structures in the column `pdb_file` are shown where they are found.
"""

import json
from dataclasses import asdict

from didi_core.cli.command_options import command_of
from didi_protein.reporting.options import ReportOptions, ReportResult
from didi_protein.reporting.write import require_packages, write_report

__all__ = ["ReportOptions", "ReportResult", "report_command", "require_packages", "write_report"]


def counted_in_words(result: ReportResult) -> str:
    """Return how many designs and sets the page holds."""
    designs = "1 design" if result.num_designs == 1 else f"{result.num_designs:,} designs"
    sets = "1 set" if result.num_cells == 1 else f"{result.num_cells} sets compared"
    return f"{designs}, {sets}"


def _run_command(options: ReportOptions) -> None:
    result = write_report(
        options.inputs,
        options.out,
        title=options.title,
        top=options.top,
        max_repeat=options.max_repeat,
        overwrite=options.overwrite,
    )
    if options.json_output:
        print(json.dumps(asdict(result) | {"out": str(result.out)}, indent=2))
    else:
        from didi_core.cli.next_command import show_next
        from didi_protein.next_commands import after_report

        print(f"{counted_in_words(result)}: {result.out}")
        show_next(after_report(options))


report_command = command_of(
    ReportOptions, _run_command, "Compare sets of scored designs on one self-contained page."
)
