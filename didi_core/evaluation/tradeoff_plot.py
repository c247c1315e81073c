"""One figure of two panels: perplexity over entropy, and perplexity over the time of a sequence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from didi_core.errors import missing_extra
from didi_core.evaluation.frontier_plot import PlottedPoint, draw_curve
from didi_core.io.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis

WIDE = 5


@dataclass(frozen=True)
class MeasuredPoint:
    """One setting of a model; intervals are `{mean, low, high}`."""

    label: str
    perplexity: Mapping[str, float]
    entropy: Mapping[str, float]
    seconds: Mapping[str, float]
    """Of one sequence alone."""


@dataclass(frozen=True)
class Sweeps:
    """Temperatures of the points of curves: perplexity over entropy, in the first panel alone."""

    points: Mapping[str, Sequence[Sequence[PlottedPoint]]]
    """By the name of a curve, a sweep of each of its points."""
    equal_entropy: float
    """Where they are compared."""


def plot_tradeoffs(
    curves: Mapping[str, Sequence[MeasuredPoint]],
    path: Path,
    references: Mapping[str, tuple[float, float]] | None = None,
    judge: str = "a judge",
    seconds_label: str = "seconds a sample, batch 1",
    sweeps: Sweeps | None = None,
) -> None:
    """Draw every curve in both panels. Axes of figures that span decades are logarithmic.

    Args:
        curves: points of each model in the order in which they are joined.
        path: .png, .svg or .pdf.
        references: figures of others as (entropy, perplexity), in the first panel alone.
        judge: of the perplexities, for the axis.
        seconds_label: of the axis of times.
        sweeps: dashed, in the colours of their curves.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    variety, speed = figure.subplots(1, 2)
    for number, (name, points) in enumerate(curves.items()):
        draw_curve(variety, name, [PlottedPoint(p.label, p.entropy, p.perplexity) for p in points])
        draw_curve(speed, name, [PlottedPoint(p.label, p.seconds, p.perplexity) for p in points])
        for sweep in sweeps.points.get(name, ()) if sweeps else ():
            _draw_sweep(variety, sweep, f"C{number}")
    if sweeps is not None:
        variety.axvline(sweeps.equal_entropy, color="0.6", linewidth=0.8, linestyle=":")
    for name, (entropy, perplexity) in (references or {}).items():
        variety.plot(entropy, perplexity, "k*", fillstyle="none", markersize=8)
        variety.annotate(
            name, (entropy, perplexity), (4, 3), textcoords="offset points", fontsize=5
        )
    variety.set_xlabel("mean unigram entropy of a sample (nats); more is more varied")
    speed.set_xlabel(seconds_label)
    shown = [p.perplexity["mean"] for points in curves.values() for p in points]
    shown += [perplexity for _, perplexity in (references or {}).values()]
    every = sweeps.points.values() if sweeps else ()
    shown += [p.up["mean"] for each in every for sweep in each for p in sweep]
    for axes in (variety, speed):
        axes.set_ylabel(f"perplexity under {judge}")
        _log_where_wide(axes.yaxis, shown)
    _log_where_wide(speed.xaxis, [p.seconds["mean"] for points in curves.values() for p in points])
    if curves:  # every cell may have failed
        variety.legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _draw_sweep(axes: "Axes", points: Sequence[PlottedPoint], colour: str) -> None:
    across, up = [p.across["mean"] for p in points], [p.up["mean"] for p in points]
    axes.plot(across, up, color=colour, linestyle="--", linewidth=0.8, marker=".", markersize=3)
    for point, x, y in zip(points, across, up, strict=True):
        axes.annotate(point.label, (x, y), (3, 4), textcoords="offset points", fontsize=5)


def _log_where_wide(axis: "XAxis | YAxis", values: Sequence[float]) -> None:
    """Scale an axis by logarithms, with plain numbers, where its values span a wide range."""
    if not values or max(values) < WIDE * min(values):
        return
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:e}"[0] in "25" else "")
