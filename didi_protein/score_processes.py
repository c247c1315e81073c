"""How rows that several processes scored come back into one table.

See `didi_core.commands.processes`:

torchrun --nproc-per-node 4 --no-python didi-protein score designs.fasta --fold esmfold ...
"""

from collections.abc import Sequence

from didi_core.commands.processes import Processes
from didi_protein.score_row import Row


def gather_rows(processes: Processes, rows: Sequence[Row], places: Sequence[int]) -> bool:
    """Bring what each process found at its `places` into the first one's `rows`.

    Returns:
        Whether this is the first process.
    """
    found = [(place, rows[place].status, rows[place].error, rows[place].values) for place in places]
    parts = processes.collect(found)
    for place, status, error, values in (each for part in parts or () for each in part):
        rows[place].status, rows[place].error, rows[place].values = status, error, values
    return processes.is_first
