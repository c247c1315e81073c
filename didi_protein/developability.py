"""Motifs that make trouble in the laboratory, counted from the sequence alone.

Each count is a hint: whether a motif reacts depends on where it lies in the fold, which the letters
do not say. `docs/filter.md` tells a user what each one means.
"""

import re
from collections.abc import Callable

DEVELOPABILITY_COLUMNS = (
    "cysteine_count",
    "odd_cysteines",
    "n_glycosylation_sites",
    "deamidation_sites",
    "isomerisation_sites",
    "acid_cleavage_sites",
    "n_terminal_glutamine",
)


def developability(sequence: str) -> dict[str, int]:
    """Every count of this module, under its column name.

    >>> developability("QNGTCDGDP")["deamidation_sites"]
    1
    """
    return {name: _COUNTS[name](sequence) for name in DEVELOPABILITY_COLUMNS}


def _motif(pattern: str) -> Callable[[str], int]:
    """Counts the places where `pattern` begins, so that overlapping motifs count each."""
    compiled = re.compile(f"(?={pattern})")
    return lambda sequence: sum(1 for _ in compiled.finditer(sequence))


_COUNTS: dict[str, Callable[[str], int]] = {
    "cysteine_count": lambda sequence: sequence.count("C"),
    # One cysteine at least has no partner for a disulphide within the chain.
    "odd_cysteines": lambda sequence: sequence.count("C") % 2,
    # The sequon of oligosaccharyltransferase: Bause, Biochemical Journal 209, 1983.
    "n_glycosylation_sites": _motif("N[^P][ST]"),
    # The fastest pairs: Robinson and Robinson, PNAS 98, 2001.
    "deamidation_sites": _motif("N[GS]"),
    # Through a succinimide: Geiger and Clarke, Journal of Biological Chemistry 262, 1987.
    "isomerisation_sites": _motif("DG"),
    # Piszkiewicz, Landon and Smith, Biochemical and Biophysical Research Communications 40, 1970.
    "acid_cleavage_sites": _motif("DP"),
    # Becomes pyroglutamate: Schilling, Wasternack and Demuth, Biological Chemistry 389, 2008.
    "n_terminal_glutamine": lambda sequence: int(sequence.startswith("Q")),
}
