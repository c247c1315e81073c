"""The structures of the best designs: backbones, read once, for the page to draw and turn.

3Dmol.js, which the page holds, draws them; `structures.js` hands it the atoms and their colours.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from Bio.PDB.Chain import Chain
from Bio.PDB.Residue import Residue
from jaxtyping import Float
from numpy import ndarray

from didi_core.errors import UserError
from didi_protein.structures.parse import alpha_residues, letter_of, parse_structure
from didi_protein.structures.read import file_of_cell

BACKBONE = ("N", "CA", "C", "O")
"""What a cartoon needs: O turns the ribbon, hydrogen bonds tell helices and strands."""

BANDS = ((90.0, "very high"), (70.0, "confident"), (50.0, "low"), (-np.inf, "very low"))
"""Lower bounds of pLDDT, and what AlphaFold DB calls them."""


SCALES = (1.0, 100.0)


AGREEMENT = 1.0
"""How far, in pLDDT, the B-factors' mean may lie from the table's: files round to two decimals,
which on the scale of 0 to 1 is 0.5."""


@dataclass(frozen=True)
class Backbone:
    """The backbone of one chain, turned so that it lies flat before the reader."""

    residues: list[Float[ndarray, "atoms 3"]]
    """Of each residue with a C-alpha the atoms of `BACKBONE`, or the C-alpha alone where one is
    missing: ångström, centred; x to the right, y up, z towards the reader."""
    plddt: Float[ndarray, "residues"] | None
    """0 to 100; None where the B-factors are no pLDDT."""
    letters: str

    @property
    def bands(self) -> list[int | None]:
        """Index into `BANDS` of each residue; None where there is no pLDDT."""
        if self.plddt is None:
            return [None] * len(self.letters)
        return [band_of(value) for value in self.plddt]

    @property
    def shares(self) -> list[tuple[str, float]]:
        """Name of each band and the share of residues in it; empty without pLDDT."""
        if self.plddt is None:
            return []
        counts = [self.bands.count(number) for number in range(len(BANDS))]
        return [
            (name, count / len(self.letters))
            for (_, name), count in zip(BANDS, counts, strict=True)
        ]

    @property
    def xyz(self) -> str:
        """Coordinates in tenths of an ångström, residues separated by commas, for the page."""
        tenths = (np.rint(10 * atoms).astype(int) for atoms in self.residues)
        return ",".join(" ".join(map(str, atoms.ravel())) for atoms in tenths)

    @property
    def confidence(self) -> str:
        """pLDDT of each residue with one decimal, for the page; "" where there is none."""
        return "" if self.plddt is None else " ".join(f"{value:.1f}" for value in self.plddt)


def band_of(plddt: float) -> int:
    """Index into `BANDS`.

    >>> [band_of(value) for value in (95, 90, 70.1, 50, 3)]
    [0, 1, 1, 3, 3]
    """
    return next(number for number, (low, _) in enumerate(BANDS) if plddt > low)


def read_backbone(row: dict[str, Any], folder: Path) -> Backbone | str | None:
    """The structure a row of scores names in `pdb_file`.

    Args:
        row: columns pdb_file, pdb_chain (the first chain without it) and mean_plddt.
        folder: of the table; `pdb_file` is relative to it, or to where the program runs.

    Returns:
        None where the row names none; a sentence where the file cannot be drawn.
    """
    name = row.get("pdb_file")
    if pd.isna(name) or not name:
        return None
    try:
        places = [file_of_cell(folder, str(name)), Path(str(name))]
        path = next((place for place in places if place.is_file()), None)
    except OSError:  # longer than a name can be
        path = None
    if path is None:
        return f"The structure file {name} is not there."
    try:
        model, _ = parse_structure(path, "pdb_file")
    except UserError:
        return f"The structure file {name} cannot be read."
    chains = {chain.id: chain for chain in model}
    wanted = row.get("pdb_chain")
    chain = chains.get(wanted if pd.notna(wanted) and wanted else next(iter(chains)))
    if chain is None:
        return f"The structure file {name} has no chain {wanted}."
    backbone = _backbone_of(chain, row.get("mean_plddt"))
    return backbone or f"The structure file {name} holds too few alpha carbons."


def _backbone_of(chain: Chain, mean_plddt: object) -> Backbone | None:
    residues = alpha_residues(chain)
    if len(residues) < 3:
        return None
    b_factors = np.array([each["CA"].get_bfactor() for each in residues], dtype=np.float64)
    return Backbone(
        residues=laid_flat([_atoms_of(each) for each in residues]),
        plddt=_as_plddt(b_factors, mean_plddt),
        letters="".join(letter_of(each) for each in residues),
    )


def _atoms_of(residue: Residue) -> Float[ndarray, "atoms 3"]:
    names = BACKBONE if all(name in residue for name in BACKBONE) else ("CA",)
    return np.array([residue[name].get_coord() for name in names], dtype=np.float64)


def _as_plddt(
    b_factors: Float[ndarray, "residues"], mean_plddt: Any
) -> Float[ndarray, "residues"] | None:
    """B-factors on the scale 0 to 100, where their mean is the pLDDT that the table states."""
    if pd.isna(mean_plddt):
        return None
    for scale in SCALES:
        if abs(scale * b_factors.mean() - float(mean_plddt)) <= AGREEMENT:
            return scale * b_factors
    return None


def laid_flat(residues: list[Float[ndarray, "atoms 3"]]) -> list[Float[ndarray, "atoms 3"]]:
    """Return the atoms centred and turned, never mirrored: longest extent along x, shortest along
    z, start left."""
    cloud = np.concatenate(residues)
    centred = cloud - cloud.mean(axis=0)
    # The right singular vectors are the axes of the cloud, of the longest extent first.
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    right, up = axes[0], axes[1]
    if centred[0] @ right > 0:
        right = -right
    if centred[0] @ up < 0:
        up = -up
    turned = centred @ np.stack([right, up, np.cross(right, up)], axis=1)
    return np.split(turned, np.cumsum([len(atoms) for atoms in residues])[:-1])


def described(identifier: str, backbone: Backbone) -> str:
    """Return what the picture shows, in words."""
    shares = ", ".join(f"{share:.0%} {name}" for name, share in backbone.shares if share)
    confidence = f"; pLDDT of the residues: {shares}" if shares else "; pLDDT unknown"
    return f"Structure of {identifier}, {len(backbone.letters)} residues{confidence}"
