"""Small structures for tests: alpha helices bundled side by side, as PDB text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from Bio.SeqUtils import seq3

HELIX_RESIDUES = 18
RISE, RADIUS, TURN = 1.5, 2.3, np.radians(100)  # of an alpha helix: ångström, ångström, a residue
BACKBONE = {  # (radius, degrees and rise from the C-alpha) of the atoms of an alpha helix
    "N": (1.56, -26.8, -0.91),
    "CA": (RADIUS, 0.0, 0.0),
    "C": (1.68, 26.8, 1.06),
    "O": (1.94, 20.6, 2.25),
}
LINKED = 3.8  # ångström between neighbouring alpha carbons


def helix_bundle(length: int) -> np.ndarray:
    """C-alpha coordinates [length, 3] of helices that run up and down, ten ångström apart."""
    places = []
    for number in range(length):
        helix, step = divmod(number, HELIX_RESIDUES)
        height = step if helix % 2 == 0 else HELIX_RESIDUES - 1 - step
        angle = TURN * number
        places.append((10 * helix + RADIUS * np.cos(angle), RADIUS * np.sin(angle), RISE * height))
    return np.array(places)


def pdb_text(
    sequence: str, plddt: Sequence[float], coordinates: np.ndarray | None = None, chain: str = "A"
) -> str:
    """C-alpha atoms with `plddt` in the B-factor column."""
    coordinates = helix_bundle(len(sequence)) if coordinates is None else coordinates
    atoms = [("CA", place, xyz) for place, xyz in enumerate(coordinates)]
    return _as_pdb(sequence, plddt, atoms, chain)


def helix_text(sequence: str, plddt: Sequence[float]) -> str:
    """One alpha helix with its whole backbone."""
    atoms = [
        (name, place, (radius * np.cos(angle), radius * np.sin(angle), RISE * place + rise))
        for place in range(len(sequence))
        for name, (radius, degrees, rise) in BACKBONE.items()
        for angle in [TURN * place + np.radians(degrees)]
    ]
    return _as_pdb(sequence, plddt, atoms)


def _as_pdb(sequence: str, plddt: Sequence[float], atoms: Sequence, chain: str = "A") -> str:
    lines = [
        f"ATOM  {number:5d}  {name:3} {seq3(sequence[place]).upper()} {chain}{place + 1:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00{plddt[place]:6.2f}           {name[0]}  "
        for number, (name, place, (x, y, z)) in enumerate(atoms, start=1)
    ]
    return "\n".join([*lines, "END", ""])


def write_structures(folder: Path, sequences: Sequence[str], means: Sequence[float]) -> list[str]:
    """One PDB file a sequence below `folder`/pdb, falling from its start; their relative names."""
    (folder / "pdb").mkdir(parents=True, exist_ok=True)
    names = []
    for number, (sequence, mean) in enumerate(zip(sequences, means, strict=True)):
        slope = np.linspace(3, -3, len(sequence))
        names.append(f"pdb/{number}.pdb")
        (folder / names[-1]).write_text(pdb_text(sequence, mean + slope))
    return names
