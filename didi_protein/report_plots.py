"""Plots of the report: lengths, and residue composition."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from didi_protein.alphabet import CANONICAL_RESIDUES
from didi_protein.report_data import Cell
from didi_protein.report_figures import residue_composition
from didi_protein.report_references import ReferenceRow
from didi_protein.report_styles import LegendEntry, SeriesStyles, by_model
from didi_protein.report_svg import NATURAL, inline_svg, new_axes


@dataclass(frozen=True)
class Plot:
    """A drawn plot: `svg` is markup of ours, everything else plain text."""

    name: str
    title: str
    svg: str
    legend: list[LegendEntry]
    caption: str


def length_histogram(cells: Sequence[Cell], styles: SeriesStyles) -> Plot | None:
    """The share of each model's designs in each bin of lengths."""
    lengths = {
        model: np.concatenate([cell.designs["sequence"].str.len() for cell in group])
        for model, group in by_model(cells).items()
    }
    lengths = {model: each for model, each in lengths.items() if len(each)}
    if not lengths:
        return None
    figure, axes = new_axes("length, residues", "designs, %")
    edges = whole_number_bins(np.concatenate(list(lengths.values())))
    told = []
    for model, each in lengths.items():
        counts, _ = np.histogram(each, bins=edges)
        colour, _, _ = styles.of_model(model)
        axes.stairs(100 * counts / len(each), edges, color=colour, linewidth=1.8)
        told.append(f"{model}: {each.min()} to {each.max()} residues, mean {each.mean():.0f}")
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", integer=True)
    return Plot(
        name="lengths",
        title="Lengths",
        svg=inline_svg(figure, "lengths", "Lengths of the designs", ". ".join(told)),
        legend=styles.model_legend(cells),
        caption="Lengths are asked for, not learnt: rows are compared fairly only where these "
        "lines agree. All rows of a model are taken together.",
    )


def whole_number_bins(lengths: NDArray[np.int64], most: int = 10) -> NDArray[np.float64]:
    """Edges half-way between whole numbers, of at most `most` bins."""
    edges = np.linspace(lengths.min(), lengths.max() + 1, most + 1)
    return np.unique(np.round(edges)).astype(np.float64) - 0.5


def composition_plot(
    cells: Sequence[Cell], natural: ReferenceRow | None, styles: SeriesStyles
) -> Plot | None:
    """How often each residue occurs, by model, against natural sequences where these are known."""
    models = {
        model: residue_composition(each for cell in group for each in cell.designs["sequence"])
        for model, group in by_model(cells).items()
    }
    models = {model: shares for model, shares in models.items() if sum(shares.values())}
    if not models:
        return None
    base = natural.composition if natural and natural.composition else next(iter(models.values()))
    order = sorted(CANONICAL_RESIDUES, key=lambda residue: -base.get(residue, 0.0))
    figure, axes = new_axes("residue", "share of residues, %")
    places = np.arange(len(order))
    if natural and natural.composition:
        heights = [100 * natural.composition.get(residue, 0.0) for residue in order]
        axes.bar(places, heights, width=0.8, color=NATURAL, alpha=0.35, zorder=1)
    for model, shares in models.items():
        colour, marker, _ = styles.of_model(model)
        heights = [100 * shares[residue] for residue in order]
        axes.plot(places, heights, marker, color=colour, markersize=5, zorder=3)
    axes.set_xticks(places, order)
    axes.set_ylim(bottom=0)
    told = f"Residues from frequent to rare: {', '.join(order)}"
    grey = (
        f"Grey bars: natural sequences (n = {natural.num_sequences}). "
        if natural and natural.composition
        else ""
    )
    return Plot(
        name="composition",
        title="Residue composition",
        svg=inline_svg(figure, "composition", "Residue composition", told),
        legend=styles.model_legend(cells),
        caption=f"{grey}A model that prefers few residues shows it here first.",
    )
