"""The structures of the best designs: C-alpha traces, read once, for the page to draw and turn.

A trace is drawn twice: as a still SVG, which needs no script, and by `structures.js` on a canvas.
Both draw the same curve, one piece a residue, coloured by AlphaFold's bands of pLDDT.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from Bio.PDB.Chain import Chain
from jaxtyping import Float
from numpy import ndarray

from didi_core.errors import UserError
from didi_protein.structure_parsing import alpha_residues, alpha_trace, parse_structure
from didi_protein.structures import file_of_cell

BANDS = ((90.0, "very high"), (70.0, "confident"), (50.0, "low"), (-np.inf, "very low"))
"""Lower bounds of pLDDT, and what AlphaFold DB calls them."""
SCALES = (1.0, 100.0)
AGREEMENT = 1.0
"""How far, in pLDDT, the B-factors' mean may lie from the table's: files round to two decimals,
which on the scale of 0 to 1 is 0.5."""


@dataclass(frozen=True)
class Trace:
    """The C-alpha atoms of one chain, turned so that it lies flat before the reader."""

    coordinates: Float[ndarray, "residues 3"]
    """Ångström, centred; x to the right, y up, z towards the reader."""
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
        """Coordinates in tenths of an ångström, for the page."""
        return " ".join(f"{value:.0f}" for value in (10 * self.coordinates).ravel() + 0.0)

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


def read_trace(row: dict[str, Any], folder: Path) -> Trace | str | None:
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
    places = [file_of_cell(folder, str(name)), Path(str(name))]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return f"The structure file {name} is not there."
    try:
        model, _ = parse_structure(path, "pdb_file")
    except UserError:
        return f"The structure file {name} cannot be read."
    chains = {chain.id: chain for chain in model}
    wanted = row.get("pdb_chain")
    chain = chains.get(wanted if pd.notna(wanted) and wanted else next(iter(chains)))
    traced = None if chain is None else _trace_of(chain, row.get("mean_plddt"))
    return traced or f"The structure file {name} holds too few alpha carbons."


def _trace_of(chain: Chain, mean_plddt: object) -> Trace | None:
    residues = alpha_residues(chain)
    if len(residues) < 3:
        return None
    coordinates, letters = alpha_trace(chain)
    b_factors = np.array([each["CA"].get_bfactor() for each in residues], dtype=np.float64)
    return Trace(
        coordinates=laid_flat(coordinates),
        plddt=_as_plddt(b_factors, mean_plddt),
        letters=letters,
    )


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


def laid_flat(coordinates: Float[ndarray, "residues 3"]) -> Float[ndarray, "residues 3"]:
    """Centred and turned, never mirrored: longest extent along x, shortest along z, start left."""
    centred = coordinates - coordinates.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    right, up = axes[0], axes[1]
    if centred[0] @ right > 0:
        right = -right
    if centred[0] @ up < 0:
        up = -up
    return centred @ np.stack([right, up, np.cross(right, up)], axis=1)
