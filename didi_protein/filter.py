"""`didi-protein filter`: from a table of scores to the FASTA of the designs worth ordering.

    didi-protein filter scores.csv --out best.fasta --min-plddt 80 --min-ptm 0.7 --top 96

Writes `best.fasta` (best first), `best.selected.csv` (their rows, and how these were scored in
`best.selected.summary.json`), `best.rejected.csv` (every rejected id with every reason) and
`best.filter.json` (which filter rejected how many). This file imports nothing slow, so that
`--help` is fast; the work is in `didi_protein.filtering.run`.
"""

import json

from didi_core.cli.command_options import command_of
from didi_protein.filtering.options import FilterOptions as FilterOptions
from didi_protein.filtering.options import FilterResult as FilterResult


def filter_designs(options: FilterOptions) -> FilterResult:
    """Apply every filter to a table of scores, and write what is kept and what is not.

    Raises:
        UserError: a table that cannot be read, a threshold that cannot be meant or whose column
            was never computed, an output that exists.
    """
    from didi_protein.filtering.run import run_filter

    return run_filter(options)


def _run_command(options: FilterOptions) -> None:
    result = filter_designs(options)
    if options.json_output:
        print(json.dumps(result.summary, indent=2))
    else:
        from didi_core.cli.next_command import show_next
        from didi_protein.filtering.funnel import print_funnel
        from didi_protein.next_commands import after_filter

        print_funnel(result)
        show_next(after_filter(options, result))


filter_command = command_of(
    FilterOptions,
    _run_command,
    "Keep the designs worth ordering: thresholds, de-duplication, ranking.",
)
