"""One figure of frontiers: judge NLL over diversity, from what `frontier_record` writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from didi_core.errors import missing_extra
from didi_core.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        _draw_curve(axes, name, frontier["points"])
    for name, (diversity, nll) in (marks or {}).items():
        axes.plot(diversity, nll, "k*", markersize=11, label=name)
    axes.axvline(record["equal_diversity"], color="0.6", linewidth=0.8, linestyle=":")
    axes.set_xlabel(diversity_label)
    axes.set_ylabel("judge NLL (nats a token)")
    axes.legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _draw_curve(axes: "Axes", name: str, points: list[dict[str, Any]]) -> None:
    across, up = ([point[key]["mean"] for point in points] for key in ("diversity", "nll"))
    errors = [
        [
            [point[key]["mean"] - point[key]["low"] for point in points],
            [point[key]["high"] - point[key]["mean"] for point in points],
        ]
        for key in ("diversity", "nll")
    ]
    # A percentile interval of a biased figure need not hold its estimate: no negative bar.
    errors = [[[max(0.0, e) for e in side] for side in pair] for pair in errors]
    axes.errorbar(across, up, xerr=errors[0], yerr=errors[1], marker="o", markersize=4, label=name)
    for point, x, y in zip(points, across, up, strict=True):
        axes.annotate(
            f"{point['temperature']:g}", (x, y), (3, -9), textcoords="offset points", fontsize=6
        )
