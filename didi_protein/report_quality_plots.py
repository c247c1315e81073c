"""Quality against cost: judge NLL over calls, and over seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from didi_protein.report_data import Cell
from didi_protein.report_plots import Plot
from didi_protein.report_references import ReferenceRow
from didi_protein.report_styles import SeriesStyles
from didi_protein.report_svg import NATURAL, inline_svg, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NLL_LABEL = "judge NLL, nats a residue"
LINES = (
    "Lower is better. Bars are 95% intervals. A dashed line is a model's limit: its exact sampler, "
    "one call a residue. Grey lines are natural and shuffled sequences."
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
    caption=f"{LINES} Seconds are those of the batches in which the designs were made: rows of "
    "one machine compare.",
)


def quality_against_calls(
    cells: Sequence[Cell], references: Sequence[ReferenceRow], styles: SeriesStyles
) -> Plot | None:
    """Judge NLL of each cell over its calls; None where no cell has both."""
    return _quality_against(CALLS, cells, references, styles)


def quality_against_seconds(
    cells: Sequence[Cell], references: Sequence[ReferenceRow], styles: SeriesStyles
) -> Plot | None:
    """Judge NLL of each cell over the seconds a design took; None where no cell has both."""
    return _quality_against(SECONDS, cells, references, styles)


def _quality_against(
    cost: _Cost, cells: Sequence[Cell], references: Sequence[ReferenceRow], styles: SeriesStyles
) -> Plot | None:
    judged = [cell for cell in cells if {cost.figure, "judge_nll"} <= cell.figures.keys()]
    shown = [cell for cell in judged if cell.figures[cost.figure].mean > 0]  # it has a logarithm
    if not shown:
        return None
    figure, axes = new_axes(cost.label, NLL_LABEL)
    axes.set_xscale("log", base=cost.base)
    _plain_ticks(axes, [cell.figures[cost.figure].mean for cell in shown], cost)
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


def _plain_ticks(axes: "Axes", values: Sequence[float], cost: _Cost) -> None:
    """Plain numbers on the logarithmic axis, and room on both sides of the points."""
    low, high = np.log2(min(values)) - 0.4, np.log2(max(values)) + 0.4
    if cost.base == 2:
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
