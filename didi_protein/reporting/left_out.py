"""What a page leaves out because nothing was measured, and the flag that would fill it."""

from collections.abc import Collection, Sequence

import pandas as pd

from didi_protein.reporting.cells import Cell
from didi_protein.reporting.figures import COLUMNS
from didi_protein.reporting.plots import FEWEST_POINTS, Plot
from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.set_measures import FEWEST_REFERENCES

_FIGURES = {
    "precision": f"--reference NATURAL.fasta, of {FEWEST_REFERENCES} sequences or more",
    "recall": f"--reference NATURAL.fasta, of {FEWEST_REFERENCES} sequences or more",
    "copies": "--training F.fasta",
    "fbd": "--reference NATURAL.fasta",
}
"""Figures of a set that no single column of the table holds, and the flag of `score` for each."""
_SHOWN = ("judge_perplexity", "mean_plddt", "ptm", "mean_pae", "family_bits", "training_identity",
          "nearest_reference_identity")  # fmt: skip
"""Columns that a designer misses where they are empty."""


def left_out_of_table(present: Collection[str], cells: Sequence[Cell]) -> list[str]:
    """Return a sentence for each flag of `score` that would fill columns of the page.

    Args:
        present: figures that some row of the comparison has.
    """
    missing: dict[str, list[str]] = {}
    for figure in COLUMNS:
        if figure.name in _FIGURES and figure.name not in present:
            missing.setdefault(_FIGURES[figure.name], []).append(figure.heading)
    rows = pd.concat([cell.designs for cell in cells], ignore_index=True)
    for column in (COLUMN[name] for name in _SHOWN):
        if column.name not in rows or not rows[column.name].notna().any():
            flag = column.score_flag.replace("--fold MODEL", "--fold esmfold")
            missing.setdefault(flag, []).append(column.title)
    return [f"{', '.join(dict.fromkeys(names))}: score {flag}" for flag, names in missing.items()]


def left_out_of_plots(plots: Sequence[Plot], cells: Sequence[Cell]) -> list[str]:
    """Return a sentence for each plot that would hold one point, and what would give it more."""
    drawn = {plot.name for plot in plots}
    told = []
    if "quality" not in drawn and _can_be_judged(cells):
        told.append(
            "Quality against calls needs two sets: score designs of other --steps, or of another "
            "model, and name both tables"
        )
    if any("foldable" in cell.figures for cell in cells) and "foldable" not in drawn:
        told.append("Foldable share needs two sets: its figure stands in the comparison")
    return told


def _can_be_judged(cells: Sequence[Cell]) -> bool:
    """Return whether rows were judged, too few of them for a plot."""
    return 0 < sum("judge_nll" in cell.figures for cell in cells) < FEWEST_POINTS
