"""Means of the confidence columns over a set, with their intervals."""

from typing import Any

import pandas as pd

from didi_core.evaluation.bootstrap import bootstrap_mean

CONFIDENCE_FIGURES = {
    "mean_plddt": "mean_plddt",
    "ptm": "ptm",
    "mean_pae": "mean_pae",
    "foldable_fraction": "foldable",
    "max_reference_tm": "max_reference_tm",
}
"""Figures that are means of a column, and the column."""


def confidence_figures(table: pd.DataFrame, seed: int = 0) -> dict[str, Any]:
    """Means over the rows that are ok and have a value, `n` being their number; else None."""
    scored = table[table["status"] == "ok"]
    figures: dict[str, Any] = {}
    for name, column in CONFIDENCE_FIGURES.items():
        values = scored[column].dropna().astype(float).to_numpy()
        known = bootstrap_mean(values, seed).as_dict() | {"n": len(values)} if len(values) else None
        figures[name] = known
    return figures
