"""The heat map of a scan: positions by residues, the wild type marked, tolerance as a strip below.

Long proteins are wrapped into rows of a hundred positions, so that every letter can be read.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from didi_core.io.files import atomic_path
from didi_protein.scanning.substitutions import SequenceScan
from didi_protein.sequences.residues import CANONICAL_RESIDUES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESIDUES = "GAVLIMCPFYWSTNQHKRDE"
"""From top to bottom, like beside like: aliphatic, aromatic, polar, positive, negative."""
COLUMNS_A_ROW = 100
LEAST_COLUMNS = 24
"""Room for the title where few positions were scanned."""
CELL = 0.14
"""Inches: letters of 6 points fit."""
LEFT, RIGHT, TOP = 0.55, 1.3, 0.55
"""Inches around the rows: residues, colour bars, title."""
ROW = CELL * 22 + 0.6
"""Inches of a row: residues, the strip, and both lines of labels."""
FONT = 6
WITHIN = 0.98
"""Share of the scores whose colours differ; those beyond have the colour of the end."""


def plot_scan(scan: SequenceScan, path: Path, title: str) -> None:
    """Draw a scan; matplotlib must be installed.

    Args:
        path: .png, .svg or .pdf.
        title: stands above.
    """
    from matplotlib.figure import Figure

    blocks = rows_of(len(scan.positions))
    columns = max(LEAST_COLUMNS, len(blocks[0]))
    figure = Figure((LEFT + CELL * columns + RIGHT, TOP + ROW * len(blocks)))
    figure.text(LEFT / figure.get_figwidth(), 1 - 0.2 / figure.get_figheight(), title, va="center",
                fontsize=9, parse_math=False)  # fmt: skip
    limit = max(1.0, float(np.quantile(np.abs(scan.log_odds), WITHIN)))
    for number, block in enumerate(blocks):
        top = TOP + ROW * number + 0.1
        heat = _axes(figure, LEFT, top, CELL * len(block), CELL * 20)
        strip = _axes(figure, LEFT, top + CELL * 20.5, CELL * len(block), CELL)
        scores = _draw_scores(heat, scan, block, limit)
        tolerance = _draw_tolerance(strip, scan, block)
    right = LEFT + CELL * len(blocks[0]) + 0.25
    bars = {
        "score, nats": (scores, _axes(figure, right, TOP + 0.1, 0.12, 1.6), "both"),
        "tolerance": (tolerance, _axes(figure, right, TOP + 2.1, 0.12, 0.8), "neither"),
    }
    for label, (drawn, axes, extend) in bars.items():
        bar = figure.colorbar(drawn, cax=axes, extend=extend)
        bar.set_label(label, fontsize=FONT + 1)
        bar.ax.tick_params(labelsize=FONT)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def rows_of(num: int) -> list[range]:
    """Part positions into rows as long as one another, in tens, and no longer than a hundred.

    >>> rows_of(207)
    [range(0, 70), range(70, 140), range(140, 207)]
    """
    rows = -(-num // COLUMNS_A_ROW)
    length = min(COLUMNS_A_ROW, 10 * -(-num // (10 * rows)))
    return [range(at, min(at + length, num)) for at in range(0, num, length)]


def _axes(figure: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
    """Add axes at a place in inches, counted from the left and from the top."""
    wide, high = figure.get_size_inches()
    return figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))


def _draw_scores(axes: "Axes", scan: SequenceScan, block: range, limit: float) -> Any:
    """Draw the scores of a row of positions, blue where a residue fits better than the wild type.

    Args:
        limit: nats at the ends of the colours.
    """
    order = [CANONICAL_RESIDUES.index(letter) for letter in RESIDUES]
    letters = scan.wild_types[block.start : block.stop]
    scores = scan.log_odds[block.start : block.stop, order].T
    drawn = axes.imshow(scores, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    own = [RESIDUES.index(letter) for letter in letters]
    axes.scatter(range(len(own)), own, s=4, color="black", linewidths=0)
    axes.set_yticks(range(20), list(RESIDUES), fontsize=FONT, family="monospace")
    axes.set_xticks(range(len(own)), list(letters), fontsize=FONT, family="monospace")
    axes.tick_params(length=0, pad=2, labeltop=True, labelbottom=False)
    return drawn


def _draw_tolerance(axes: "Axes", scan: SequenceScan, block: range) -> Any:
    """Draw the tolerance of a row of positions, with their numbers below."""
    own = scan.tolerance[None, block.start : block.stop]
    drawn = axes.imshow(own, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    numbers = [scan.positions[at] + 1 for at in block]
    has_gaps = numbers[-1] - numbers[0] >= len(numbers)
    labelled = [
        column
        for column, number in enumerate(numbers)
        if number % 10 == 0 or column == 0 or has_gaps
    ]
    axes.set_xticks(
        labelled,
        [str(numbers[column]) for column in labelled],
        fontsize=FONT,
        rotation=90 if has_gaps else 0,
    )
    axes.set_yticks([0], ["tolerance"], fontsize=FONT)
    axes.tick_params(length=2, pad=2)
    axes.tick_params(axis="y", length=0)
    return drawn
