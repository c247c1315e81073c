"""Made-up families of proteins: relatives that a clustering finds, and no more than that."""

import numpy as np

from didi_protein.sequences.residues import CANONICAL_RESIDUES


def families(
    number: int, members: int, length: int = 80, changed: float = 0.1
) -> list[tuple[str, str]]:
    """Random ancestors, each with copies of it in which some residues are others."""
    generator = np.random.default_rng(0)
    letters = np.array(list(CANONICAL_RESIDUES))
    found = []
    for family in range(number):
        ancestor = generator.choice(letters, size=length)
        for member in range(members):
            row = np.where(generator.random(length) < changed, generator.choice(letters), ancestor)
            found.append((f"f{family}_{member}", "".join(row)))
    return found
