"""The structures of the best designs: C-alpha traces, read once, for the page to draw and turn.

A trace is drawn twice: as a still SVG, which needs no script, and by `structures.js` on a canvas.
Both draw the same curve, one piece a residue, coloured by AlphaFold's bands of pLDDT.
"""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from Bio.PDB.Chain import Chain
from jaxtyping import Float
from numpy import ndarray

from didi_core.errors import UserError
from didi_protein.structures.parse import alpha_residues, alpha_trace, parse_structure
from didi_protein.structures.read import file_of_cell

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


# A still picture of a trace as SVG: what a reader sees without scripts, and on paper.


SIDE = 1000
"""Width and height of the picture, in its own units."""


MARGIN = 60


TUBE = 1.9  # ångström across


OUTLINE = 1.0  # ångström around it, in the colour of the panel


BREAK = 4.6
"""Ångström between two alpha carbons beyond which the chain is broken; bonded ones are 3.8 apart
(2.9 before a cis-proline)."""


LAYERS = 4  # of depth: the farther, the paler

Curve = Float[ndarray, "_ 3"]
"""A moved-to point, then three control points for each cubic Bézier curve."""


def still_svg(trace: Trace, name: str, title: str) -> str:
    """The trace as seen from the front.

    Args:
        name: of the element, unique on the page.
        title: what it shows, for screen readers.
    """
    extent = np.abs(trace.coordinates[:, :2]).max() + TUBE
    scale = (SIDE / 2 - MARGIN) / extent
    pieces = pieces_of(trace.coordinates)
    depths = np.array([piece[:, 2].mean() for piece in pieces])
    order = np.argsort(depths, kind="stable")
    layers = np.array_split(order, LAYERS)
    drawn = "".join(
        f'<g class="layer-{number}">{_layer(layer, pieces, trace, scale)}</g>'
        for number, layer in enumerate(layers)
    )
    ends = "".join(
        _letter(trace.coordinates[place], letter, scale) for place, letter in ((0, "N"), (-1, "C"))
    )
    widths = f"--tube: {scale * TUBE:.1f}px; --outline: {scale * (TUBE + OUTLINE):.1f}px"
    return (
        f'<svg class="still" viewBox="0 0 {SIDE} {SIDE}" role="img" aria-labelledby="{name}-title" '
        f'style="{widths}"><title id="{name}-title">{html.escape(title)}</title>{drawn}{ends}</svg>'
    )


def _layer(places: ndarray, pieces: list[Curve], trace: Trace, scale: float) -> str:
    bands = trace.bands
    texts = []
    for place in places:
        path = _path(pieces[place], scale)
        band = "none" if bands[place] is None else bands[place]
        texts.append(f'<path class="outline" d="{path}"/><path class="band-{band}" d="{path}"/>')
    return "".join(texts)


def pieces_of(coordinates: Float[ndarray, "residues 3"]) -> list[Curve]:
    """One curve a residue, from half-way to the one before to half-way to the one after.

    Together they are the Catmull-Rom spline through the atoms: between two atoms a cubic Bézier
    curve whose tangents are half the way between the neighbours, cut in the middle.
    """
    halves: list[list[Curve]] = [[] for _ in coordinates]
    last = len(coordinates) - 1
    linked = np.linalg.norm(np.diff(coordinates, axis=0), axis=1) <= BREAK
    for place in range(last):
        if not linked[place]:
            continue
        start, end = coordinates[place], coordinates[place + 1]
        before = coordinates[place - 1] if place > 0 and linked[place - 1] else start
        after = coordinates[place + 2] if place + 1 < last and linked[place + 1] else end
        control = np.stack([start, start + (end - before) / 6, end - (after - start) / 6, end])
        first, second = _cut(control)
        halves[place].append(first)
        halves[place + 1].append(second)
    return [_joined(curves, coordinates[place]) for place, curves in enumerate(halves)]


def _cut(control: Float[ndarray, "4 3"]) -> tuple[Curve, Curve]:
    """Both halves of a cubic Bézier curve (de Casteljau)."""
    one = (control[:-1] + control[1:]) / 2
    two = (one[:-1] + one[1:]) / 2
    middle = (two[0] + two[1]) / 2
    first = np.stack([control[0], one[0], two[0], middle])
    return first, np.stack([middle, two[1], one[2], control[3]])


def _joined(curves: list[Curve], atom: Float[ndarray, "3"]) -> Curve:
    """The halves that meet at an atom, in order; a dot where the atom is alone."""
    if not curves:
        return np.stack([atom] * 4)
    return np.concatenate([curves[0], *(curve[1:] for curve in curves[1:])])


def _path(curve: Curve, scale: float) -> str:
    points = _on_page(curve, scale)
    steps = np.diff(points, axis=0)
    # Each control point is written relative to where its own curve starts, which is shorter.
    numbers = [steps[start : start + 3].cumsum(axis=0) for start in range(0, len(steps), 3)]
    moves = " ".join(f"{x} {y}" for each in numbers for x, y in each)
    return f"M{points[0, 0]} {points[0, 1]}c{moves}"


def _on_page(points: Curve, scale: float) -> ndarray:
    flipped = points[:, :2] * np.array([scale, -scale])
    return np.round(flipped + SIDE / 2).astype(int)


def _letter(atom: Float[ndarray, "3"], letter: str, scale: float) -> str:
    (x, y), *_ = _on_page(atom[None], scale)
    return f'<text x="{x}" y="{y}">{letter}</text>'


def described(identifier: str, trace: Trace) -> str:
    """What the picture shows, in words."""
    shares = ", ".join(f"{share:.0%} {name}" for name, share in trace.shares if share)
    confidence = f"; pLDDT of the residues: {shares}" if shares else "; pLDDT unknown"
    return f"Structure of {identifier}, {len(trace.letters)} residues{confidence}"
