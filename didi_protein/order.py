"""`didi-protein order`: from designs to DNA that can be ordered.

    didi-protein order best.fasta --out order.csv --avoid BsaI,BsmBI --n-tag His6+TEV --plate 96

Writes `order.csv` for the vendor, `order.designs.csv` (a row for every design, with what could not
be met and what may go wrong at the bench) and `order.order.json`. This file imports nothing slow,
so that `--help` is fast; the work is in `didi_protein.ordering.run`.
"""

import json

from didi_core.cli.command_options import command_of
from didi_core.errors import RecordsFailed
from didi_protein.ordering.options import OrderOptions as OrderOptions
from didi_protein.ordering.options import OrderResult as OrderResult


def order(options: OrderOptions) -> OrderResult:
    """Write the DNA of every design, and on which plate and in which well it stands.

    Raises:
        UserError: an input that cannot be read, ids that two files share, a flag that cannot be
            meant, an output that exists. A design whose DNA cannot meet the rules is a row of the
            result, not an error.
    """
    from didi_protein.ordering.run import run_order

    return run_order(options)


def _run_command(options: OrderOptions) -> None:
    result = order(options)
    if options.json_output:
        print(json.dumps(result.summary, indent=2))
    else:
        from didi_protein.ordering.summary import print_summary

        print_summary(result, options)
    if result.num_failed:
        from didi_protein.scoring.table import first_failure

        listed, reason = str(result.designs_file), first_failure(result.table.to_dict("records"))
        raise RecordsFailed(result.num_failed, len(result.table), listed, reason)


order_command = command_of(
    OrderOptions,
    _run_command,
    "Write DNA that can be ordered: back-translated, tagged, on plates.",
)
