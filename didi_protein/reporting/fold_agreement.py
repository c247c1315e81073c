"""The plot of two folding models: pLDDT of the one against the other's, and where they agree."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from didi_core.progress import counted
from didi_protein.reporting.cells import Cell
from didi_protein.reporting.fold_plots import (
    MOST_POINTS,
    FoldRule,
    draw_points,
    evenly_spaced,
    thinned,
)
from didi_protein.reporting.plots import Plot
from didi_protein.reporting.styles import INK, REGION, SeriesStyles, by_model, inline_svg, new_axes
from didi_protein.scoring.columns import SECOND_PLDDT

AGREEMENT = "fold_agreement_tm"
SAME_FOLD = 0.5
"""TM-score above which two structures are of one fold (Xu and Zhang 2010)."""


def plddt_of_two_models(cells: Sequence[Cell], styles: SeriesStyles, rule: FoldRule) -> Plot | None:
    """Draw each design's pLDDT by both models of `--fold`; None where one model folded.

    Hollow where the TM-score of the two structures is below `SAME_FOLD`.
    """
    second = _second_plddt(cells)
    if second is None:
        return None
    shown = [cell for cell in cells if second in cell.designs and len(_of_both(cell, second))]
    if not shown:
        return None
    model = second.removeprefix(SECOND_PLDDT)
    share = min(1.0, MOST_POINTS / sum(len(_of_both(cell, second)) for cell in shown))
    figure, axes = new_axes("mean pLDDT of the first model", f"mean pLDDT of {model}")
    axes.axline((50, 50), slope=1, color=INK, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
    for band in (axes.axhspan, axes.axvspan):
        band(rule.min_plddt, 100, color=REGION, alpha=0.12, linewidth=0, zorder=0)
    told, lowest = [], 50.0
    for name, group in by_model(shown).items():
        designs = pd.concat([_of_both(cell, second) for cell in group], ignore_index=True)
        told.append(f"{name}: {_tell(designs, second, rule)}")
        lowest = min(lowest, 10 * np.floor(designs[["mean_plddt", second]].min().min() / 10))
        points = evenly_spaced(designs, share)
        colour, marker, _ = styles.of_model(name)
        draw_points(axes, points["mean_plddt"], points[second], _same(points), colour, marker)
    axes.set(xlim=(lowest, 100), ylim=(lowest, 100))
    title = "pLDDT of two folding models"
    return Plot(
        name="plddt-two-models",
        title=title,
        svg=inline_svg(figure, "plddt-two-models", title, ". ".join(told)),
        legend=styles.model_legend(shown),
        caption=f"One point a design{thinned(share)}. Shaded: above {rule.min_plddt:g} by one "
        "model, and by both where the bands cross. Filled: both predict one fold (TM-score of "
        f"{SAME_FOLD:g} or more). Hollow: they do not, and one of them at least is wrong.",
    )


def _second_plddt(cells: Sequence[Cell]) -> str | None:
    """Return the first column of a second model's pLDDT; None where there is none."""
    names = (name for cell in cells for name in cell.designs if name.startswith(SECOND_PLDDT))
    return next((name for name in names if name != "mean_plddt_all_atom"), None)


def _of_both(cell: Cell, second: str) -> pd.DataFrame:
    """Return the designs that both models folded."""
    return cell.designs.dropna(subset=["mean_plddt", second])


def _same(designs: pd.DataFrame) -> np.ndarray:
    """Return whether the structures agree [designs]; true where it is unknown."""
    if AGREEMENT not in designs:
        return np.ones(len(designs), dtype=bool)
    return ~(designs[AGREEMENT] < SAME_FOLD).to_numpy()


def _tell(designs: pd.DataFrame, second: str, rule: FoldRule) -> str:
    both = (designs[["mean_plddt", second]] > rule.min_plddt).all(axis=1)
    text = f"{int(both.sum())} of {counted(len(designs), 'design')} above pLDDT "
    text += f"{rule.min_plddt:g} by both models"
    if AGREEMENT not in designs:
        return text
    return f"{text}, {int((both & (designs[AGREEMENT] >= SAME_FOLD)).sum())} of them as one fold"
