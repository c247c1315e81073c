"""What the figures of the study have in common."""

from typing import TYPE_CHECKING

from didi_core.errors import missing_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def call_axis(panel: "Axes", span: tuple[int, int]) -> None:
    """A logarithmic axis with the powers of two written out."""
    panel.set_xscale("log", base=2)
    panel.set_xlim(span[0] * 0.85, span[1] * 1.15)
    ticks = [2**power for power in range(7) if span[0] <= 2**power <= span[1]]
    panel.set_xticks(ticks, [str(tick) for tick in ticks])


def new_figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    return Figure(figsize=(width, height), layout="constrained")
