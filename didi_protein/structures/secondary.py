"""Helices and strands of a chain, from its alpha carbons alone, by TM-align's rule [1]_.

.. [1] Zhang, Skolnick. "TM-align: a protein structure alignment algorithm based on the TM-score",
   Nucleic Acids Research 33, 2005.
"""

import numpy as np
from jaxtyping import Bool, Float

HELIX, STRAND, OTHER = "H", "E", "-"
_REACH = 2
"""Residues to either side that a residue's state is told from."""
_DISTANCES = {HELIX: (5.45, 5.18, 6.37), STRAND: (6.1, 10.4, 13.0)}
"""Of alpha carbons two, three and four residues apart, in ångström."""
_TOLERANCE = {HELIX: 2.1, STRAND: 1.42}
"""How far each of the six distances may be from those, in ångström."""


def secondary_structure(coordinates: Float[np.ndarray, "residues 3"]) -> str:
    """Return a letter a residue: H in an alpha helix, E in a strand, - elsewhere.

    A residue is in a state when all six distances of two to four residues within the five around
    it are those of the state. The two at either end of a chain have no five around them, and are
    never told.

    Args:
        coordinates: of the alpha carbons, in ångström, along one chain.
    """
    states = np.full(len(coordinates), OTHER)
    centres = np.arange(_REACH, len(coordinates) - _REACH)
    for state in (HELIX, STRAND):
        states[centres[_fits(coordinates, state)]] = state
    return "".join(states)


def _fits(coordinates: Float[np.ndarray, "residues 3"], state: str) -> Bool[np.ndarray, "centres"]:
    """Tell of each residue with two neighbours on either side whether its five are of a state."""
    fits = np.ones(max(0, len(coordinates) - 2 * _REACH), dtype=bool)
    for apart, distance in enumerate(_DISTANCES[state], start=2):
        found = np.linalg.norm(coordinates[apart:] - coordinates[:-apart], axis=1)
        near = np.abs(found - distance) < _TOLERANCE[state]
        for start in range(2 * _REACH + 1 - apart):  # pairs (start, start + apart) of the five
            fits &= near[start : start + len(fits)]
    return fits
