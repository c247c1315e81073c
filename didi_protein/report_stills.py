"""A still picture of a trace as SVG: what a reader sees without scripts, and on paper."""

import html

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from didi_protein.report_structures import Trace

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
