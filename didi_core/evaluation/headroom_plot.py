"""The figure of `headroom`: the curve, and what calls lose on each grid."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from didi_core.errors import missing_extra
from didi_core.evaluation.headroom import CallsLoss, Curve
from didi_core.io.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def require_matplotlib() -> None:
    """Raise UserError where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error


def plot_headroom(
    curve: Curve,
    errors: Sequence[float],
    losses: Sequence[CallsLoss],
    path: Path,
    unit: str,
) -> None:
    """Draw the curve with two standard errors, and the losses with their 95% intervals.

    Args:
        errors: standard error of each of the curve's points.
        path: .png, .svg or .pdf.
        unit: what a token is called.

    Raises:
        UserError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    kept = 1 - np.array(curve.masked)
    left.errorbar(kept, curve.nats, yerr=2 * np.array(errors), marker="o", markersize=3)
    left.set_xlabel("share of the sequence that is known")
    left.set_ylabel(f"nats of a masked {unit}")
    _draw_losses(right, losses)
    right.set_ylabel(f"nats a {unit} lost by drawing together")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _draw_losses(axes: "Axes", losses: Sequence[CallsLoss]) -> None:
    calls = [each.calls for each in losses]
    for name in ("even", "late", "best"):
        found = [getattr(each, name) for each in losses]
        axes.plot(calls, [each.mean for each in found], marker="o", markersize=3, label=name)
        axes.fill_between(calls, [e.low for e in found], [e.high for e in found], alpha=0.15)
    axes.set_xscale("log", base=2)
    axes.set_xticks(calls, [str(each) for each in calls])
    axes.set_xlabel("calls")
    axes.legend(title="grid")
