"""One figure of frontiers: judge NLL over diversity, from what `frontier_record` writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from didi_core.errors import missing_extra
from didi_core.io.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class PlottedPoint:
    """One set of sequences; `across` and `up` are `{mean, low, high}`."""

    label: str
    across: Mapping[str, float]
    up: Mapping[str, float]


def plot_frontiers(
    record: Mapping[str, Any],
    path: Path,
    diversity_label: str = "diversity (nats)",
    marks: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Draw every curve with its 95% intervals, and where they are compared.

    Args:
        record: of `frontier_record.frontier_record`.
        path: .png, .svg or .pdf.
        marks: further sets, such as the data, as (diversity, NLL).

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, frontier in record["frontiers"].items():
        points = [
            PlottedPoint(f"{each['temperature']:g}", each["diversity"], each["nll"])
            for each in frontier["points"]
        ]
        draw_curve(axes, name, points)
    for name, (diversity, nll) in (marks or {}).items():
        axes.plot(diversity, nll, "k*", markersize=11, label=name)
    axes.axvline(record["equal_diversity"], color="0.6", linewidth=0.8, linestyle=":")
    axes.set_xlabel(diversity_label)
    axes.set_ylabel("judge NLL (nats a token)")
    axes.legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def draw_curve(axes: "Axes", name: str, points: Sequence[PlottedPoint]) -> None:
    """Draw points in their order, with error bars and labels."""
    across, up = [each.across["mean"] for each in points], [each.up["mean"] for each in points]
    bars = [error_bars([each.across for each in points]), error_bars([each.up for each in points])]
    axes.errorbar(across, up, xerr=bars[0], yerr=bars[1], marker="o", markersize=4, label=name)
    for point, x, y in zip(points, across, up, strict=True):
        axes.annotate(point.label, (x, y), (3, -9), textcoords="offset points", fontsize=6)


def error_bars(intervals: Sequence[Mapping[str, float]]) -> list[list[float]]:
    """Return the lengths of the bars below and above each estimate."""
    # A percentile interval of a biased figure need not hold its estimate: no negative bar.
    return [
        [max(0.0, each["mean"] - each["low"]) for each in intervals],
        [max(0.0, each["high"] - each["mean"]) for each in intervals],
    ]
