"""Quality at equal variety: the curve of each row over several temperatures."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from didi_core.evaluation.frontier_plot import error_bars
from didi_core.evaluation.frontier_record import COPIES
from didi_protein.report_data import Cell
from didi_protein.report_plots import Plot
from didi_protein.report_quality_plots import NLL_LABEL
from didi_protein.report_styles import SeriesStyles
from didi_protein.report_svg import FAINT, INK, inline_svg, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        caption="One curve a row of the table, drawn at several temperatures: cold on the left, "
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
