"""The plots of the report: quality against calls, lengths, residue composition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from didi_protein.alphabet import CANONICAL_RESIDUES
from didi_protein.report_data import Cell
from didi_protein.report_figures import residue_composition
from didi_protein.report_references import ReferenceRow
from didi_protein.report_styles import LegendEntry, SeriesStyles, by_model
from didi_protein.report_svg import NATURAL, inline_svg, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Plot:
    """A drawn plot: `svg` is markup of ours, everything else plain text."""

    name: str
    title: str
    svg: str
    legend: list[LegendEntry]
    caption: str


def quality_against_calls(
    cells: Sequence[Cell], references: Sequence[ReferenceRow], styles: SeriesStyles
) -> Plot | None:
    """Judge NLL of each cell over its calls; None where no cell has both."""
    shown = [cell for cell in cells if {"calls", "judge_nll"} <= cell.figures.keys()]
    if not shown:
        return None
    figure, axes = new_axes("network calls a design (logarithmic)", "judge NLL, nats a residue")
    axes.set_xscale("log", base=2)
    told = []
    for series in dict.fromkeys(cell.series for cell in shown):
        points = [cell for cell in shown if cell.series == series]
        points.sort(key=lambda cell: cell.figures["calls"].mean)
        colour, marker, _ = styles[series]
        _draw_points(axes, points, colour, marker)
        told += [_tell_point(cell) for cell in points]
    for reference in references:
        _draw_reference(axes, reference)
    _plain_call_ticks(axes, [cell.figures["calls"].mean for cell in shown])
    return Plot(
        name="quality",
        title="Quality against calls",
        svg=inline_svg(figure, "quality", "Quality against calls", ". ".join(told)),
        legend=styles.legend(shown),
        caption="Lower is better. Bars are 95% intervals. A dashed line is a model's limit: its "
        "exact sampler, one call a residue. Grey lines are natural and shuffled sequences.",
    )


def _draw_points(axes: "Axes", points: Sequence[Cell], colour: str, marker: str) -> None:
    calls = [cell.figures["calls"].mean for cell in points]
    estimates = [cell.figures["judge_nll"] for cell in points]
    means = [each.mean for each in estimates]
    below = [each.mean - (each.mean if each.low is None else each.low) for each in estimates]
    above = [(each.mean if each.high is None else each.high) - each.mean for each in estimates]
    axes.errorbar(
        calls, means, yerr=[below, above], color=colour, marker=marker, markersize=6,
        linewidth=1.8, elinewidth=1.3, capsize=3, zorder=3,
    )  # fmt: skip
    for cell, mean in zip(points, means, strict=True):
        if cell.is_limit:
            axes.axhline(mean, color=colour, linestyle=(0, (5, 3)), linewidth=1.2, zorder=2)


def _draw_reference(axes: "Axes", reference: ReferenceRow) -> None:
    if "judge_nll" not in reference.figures or not reference.short_title:
        return
    level = reference.figures["judge_nll"].mean
    axes.axhline(level, color=NATURAL, linewidth=1.2, zorder=1)
    axes.annotate(
        reference.short_title, (0.99, level), xycoords=("axes fraction", "data"),
        xytext=(0, 3), textcoords="offset points", ha="right", color=NATURAL, fontsize=9,
    )  # fmt: skip


def _tell_point(cell: Cell) -> str:
    nll, calls = cell.figures["judge_nll"], cell.figures["calls"].mean
    return f"{cell.model} {cell.sampler}, {calls:.4g} calls: {nll.mean:.2f}"


def _plain_call_ticks(axes: "Axes", calls: Sequence[float]) -> None:
    """Powers of two as plain numbers, and room on both sides of the points."""
    low, high = np.log2(min(calls)) - 0.4, np.log2(max(calls)) + 0.4
    powers = [2.0**power for power in range(int(np.ceil(low)), int(np.floor(high)) + 1)]
    axes.set_xlim(2**low, 2**high)
    axes.set_xticks(powers, [f"{power:g}" for power in powers])
    axes.minorticks_off()


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
    axes.xaxis.get_major_locator().set_params(integer=True)
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
    return np.unique(np.round(edges)) - 0.5


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
