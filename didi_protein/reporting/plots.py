"""Quality against cost: judge NLL over calls, and over seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from didi_core.evaluation.frontier_plot import error_bars
from didi_core.evaluation.frontier_record import COPIES
from didi_protein.reporting.cells import Cell, ReferenceRow
from didi_protein.reporting.styles import (
    FAINT,
    INK,
    NATURAL,
    LegendEntry,
    SeriesStyles,
    by_model,
    inline_svg,
    new_axes,
)
from didi_protein.scoring.properties import residue_composition
from didi_protein.sequences.residues import CANONICAL_RESIDUES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST_POINTS = 2
"""One point is no plot: its figures stand in the table."""


NLL_LABEL = "judge NLL, nats a residue"


LINES = (
    "Lower reads more natural, and below nature's line no better. Bars are 95% intervals. A dashed "
    "line is a model's limit: its exact sampler, one call a residue. Grey lines are natural and "
    "shuffled sequences."
)


@dataclass(frozen=True)
class _Cost:
    """What a design costs, as one axis."""

    figure: str
    """Its name among a cell's figures."""
    name: str
    title: str
    label: str
    unit: str
    base: int
    """Of the logarithmic axis."""
    caption: str


CALLS = _Cost(
    figure="calls",
    name="quality",
    title="Quality against calls",
    label="network calls a design (logarithmic)",
    unit="calls",
    base=2,
    caption=LINES,
)


SECONDS = _Cost(
    figure="seconds_per_design",
    name="quality-seconds",
    title="Quality against seconds",
    label="seconds a design (logarithmic)",
    unit="seconds",
    base=10,
    caption=f"{LINES} Seconds are those of the batches in which the designs were made: sets of "
    "one machine compare.",
)


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
    """Judge NLL of each cell over its calls; None where fewer than two cells have both."""
    return _quality_against(CALLS, cells, references, styles)


def quality_against_seconds(
    cells: Sequence[Cell], references: Sequence[ReferenceRow], styles: SeriesStyles
) -> Plot | None:
    """Judge NLL of each cell over the seconds a design took; None of fewer than two points."""
    return _quality_against(SECONDS, cells, references, styles)


def _quality_against(
    cost: _Cost, cells: Sequence[Cell], references: Sequence[ReferenceRow], styles: SeriesStyles
) -> Plot | None:
    judged = [cell for cell in cells if {cost.figure, "judge_nll"} <= cell.figures.keys()]
    shown = [cell for cell in judged if cell.figures[cost.figure].mean > 0]  # it has a logarithm
    if len(shown) < FEWEST_POINTS:
        return None
    figure, axes = new_axes(cost.label, NLL_LABEL)
    axes.set_xscale("log", base=cost.base)
    plain_ticks(axes, [cell.figures[cost.figure].mean for cell in shown], cost.base)
    told = []
    for series in dict.fromkeys(cell.series for cell in shown):
        points = [cell for cell in shown if cell.series == series]
        points.sort(key=lambda cell: cell.figures[cost.figure].mean)
        colour, marker, _ = styles[series]
        _draw_points(axes, points, cost, colour, marker)
        told += [_tell_point(cell, cost) for cell in points]
    for reference in references:
        _draw_reference(axes, reference)
    return Plot(
        name=cost.name,
        title=cost.title,
        svg=inline_svg(figure, cost.name, cost.title, ". ".join(told)),
        legend=styles.legend(shown),
        caption=cost.caption,
    )


def _draw_points(
    axes: "Axes", points: Sequence[Cell], cost: _Cost, colour: str, marker: str
) -> None:
    costs = [cell.figures[cost.figure].mean for cell in points]
    estimates = [cell.figures["judge_nll"] for cell in points]
    means = [each.mean for each in estimates]
    below = [each.mean - (each.mean if each.low is None else each.low) for each in estimates]
    above = [(each.mean if each.high is None else each.high) - each.mean for each in estimates]
    axes.errorbar(
        costs, means, yerr=[below, above], color=colour, marker=marker, markersize=6,
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


def _tell_point(cell: Cell, cost: _Cost) -> str:
    nll, mean = cell.figures["judge_nll"], cell.figures[cost.figure].mean
    return f"{cell.model} {cell.sampler}, {mean:.4g} {cost.unit}: {nll.mean:.2f}"


def plain_ticks(axes: "Axes", values: Sequence[float], base: int) -> None:
    """Plain numbers on the logarithmic axis of this base, and room on both sides of the points."""
    low, high = np.log2(min(values)) - 0.4, np.log2(max(values)) + 0.4
    if base == 2:
        ticks = [2.0**power for power in range(int(np.ceil(low)), int(np.floor(high)) + 1)]
    else:
        ticks = decimal_ticks(2**low, 2**high)
    axes.set_xlim(2**low, 2**high)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def decimal_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two values; the powers alone where those are many.

    >>> decimal_ticks(0.08, 1.5)
    [0.1, 0.2, 0.5, 1.0]
    """
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    digits = (1, 2, 5) if high < 100 * low else (1,)
    ticks = [float(f"{digit}e{power}") for power in powers for digit in digits]
    return [tick for tick in ticks if low <= tick <= high]


# Plots of the report: lengths, and residue composition.


def length_histogram(cells: Sequence[Cell], styles: SeriesStyles) -> Plot | None:
    """The share of each model's designs in each bin of lengths."""
    lengths = {
        model: np.concatenate([cell.designs["sequence"].str.len() for cell in group])
        for model, group in by_model(cells).items()
    }
    lengths = {model: each for model, each in lengths.items() if len(each)}
    if len(set(np.concatenate([*lengths.values(), []]).tolist())) < FEWEST_POINTS:
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
        caption="Lengths are asked for, not learnt: sets are compared fairly only where these "
        "lines agree. All sets of a model are taken together.",
    )


def whole_number_bins(lengths: NDArray[np.int64], most: int = 40) -> NDArray[np.float64]:
    """Return edges half-way between whole numbers, of at most `most` bins that hold equally many.

    >>> whole_number_bins(np.array([70, 72])), whole_number_bins(np.array([70, 73]), most=2)
    (array([69.5, 70.5, 71.5, 72.5]), array([69.5, 71.5, 73.5]))
    """
    first, last = int(lengths.min()), int(lengths.max())
    width = -(-(last - first + 1) // most)
    return np.arange(first, last + 1 + width, width, dtype=np.float64) - 0.5


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


# Quality at equal variety: the curve of each row over several temperatures.


def quality_along_temperatures(
    cells: Sequence[Cell], frontiers: Mapping[str, Any] | None, styles: SeriesStyles
) -> Plot | None:
    """Judge NLL over 3-mer entropy of each cell at several temperatures; None where none are known.

    Args:
        frontiers: of `didi_core.evaluation.frontier_record`, by the sources of the cells.
    """
    curves = {} if frontiers is None else frontiers["frontiers"]
    shown = [cell for cell in cells if cell.source in curves]
    if frontiers is None or not shown:
        return None
    figure, axes = new_axes("3-mer entropy of the set, nats", NLL_LABEL)
    equal = frontiers["equal_diversity"]
    axes.axvline(equal, color=INK, linestyle=":", linewidth=1.4, zorder=1)
    told = []
    for cell in shown:
        colour, marker, _ = styles[cell.series]
        _draw_curve(axes, cell, curves[cell.source]["points"], colour, marker)
        told.append(_tell_curve(cell, curves[cell.source], equal))
    return Plot(
        name="quality-temperatures",
        title="Quality at equal variety",
        svg=inline_svg(figure, "quality-temperatures", "Quality at equal variety", ". ".join(told)),
        legend=styles.legend(shown),
        caption="One curve a set, drawn at several temperatures: cold on the left, "
        "hot on the right. The large points are temperature 1, and the numbers their steps. Lower "
        f"is better at one entropy: where the curves pass the dotted line, at {equal:.2f} nats "
        f"({frontiers['level']['source']}), they are compared in the table. Bars are 95% "
        f"intervals, at temperature 1. {COPIES}",
    )


def _draw_curve(
    axes: "Axes", cell: Cell, points: Sequence[Mapping[str, Any]], colour: str, marker: str
) -> None:
    across, up = ([each[name]["mean"] for each in points] for name in ("diversity", "nll"))
    axes.plot(across, up, color=colour, linewidth=1.5, marker=marker, markersize=3, zorder=3)
    for each, x, y in zip(points, across, up, strict=True):
        if each["temperature"] == 1:  # bars of all points would hide the curves
            bars = [error_bars([each[name]]) for name in ("diversity", "nll")]
            axes.errorbar(
                x, y, xerr=bars[0], yerr=bars[1], color=colour, elinewidth=0.9,
                marker=marker, markersize=7, zorder=4,
            )  # fmt: skip
            axes.annotate(
                cell.steps_label, (x, y), xytext=(4, -11), textcoords="offset points",
                color=INK, fontsize=9, zorder=5,
            )  # fmt: skip
    axes.grid(axis="x", color=FAINT, linewidth=0.8)


def _tell_curve(cell: Cell, curve: Mapping[str, Any], equal: float) -> str:
    at, where = curve["nll_at_equal_diversity"], f"{equal:.2f} nats of entropy"
    name = f"{cell.model} {cell.sampler}, {cell.steps_label} steps"
    if at is None:
        return f"{name}: does not pass {where}"
    return f"{name}, at {where}: {at['mean']:.2f}"
