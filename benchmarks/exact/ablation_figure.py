"""The ablation as a picture: likelihood against families, a point a student and seed."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from benchmarks.exact.ablation_table import ADDED, LEFT_OUT
from benchmarks.exact.panels import new_figure
from benchmarks.exact.table import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BESIDE = {"process": "k", "teacher": "C0", "didi-paper": "C1", "dmmd": "C2"}
"""Points that are no students of the ablation: the ends of the scale."""
MARKERS = "os^"
"""Of the seeds."""
STEPS = "8"


def ablation_figure(cells: Iterable[Record]) -> "Figure | None":
    """Signed gap over total variation at 8 steps, a panel a process; None without an ablation.

    What is better is below on the left: (0, 0) is the process. Students on one line differ in what
    they trade, not in how good they are.
    """
    at_steps = [cell for cell in cells if cell["job"]["task"] in (STEPS, "draws")]
    names = _names()
    panels = [
        process
        for process in sorted({cell["job"]["process"] for cell in at_steps})
        if any(c["job"]["model"] in names for c in at_steps if c["job"]["process"] == process)
    ]
    if not panels:
        return None
    figure = new_figure(6.4 * len(panels), 5)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, process in zip(axes, panels, strict=True):
        _draw(panel, [c for c in at_steps if c["job"]["process"] == process], names)
        panel.set_title(f"{process}, {STEPS} steps", fontsize=9)
    return figure


def _names() -> dict[str, str]:
    """In words, of each student of the ablation."""
    added = {model: name for name, (model, variant, _) in ADDED.items() if not variant}
    return added | {model: name for name, model in LEFT_OUT.items() if model not in added}


def _draw(panel: "Axes", cells: list[Record], names: Mapping[str, str]) -> None:
    order = list(names)
    for cell in cells:
        job, figures = cell["job"], cell["figures"]
        model = job["model"]
        if model not in names and model not in BESIDE:
            continue
        place = figures["family_tv"]["mean"], figures["signed_gap"]["mean"]
        number = f"{order.index(model) + 1}" if model in names else ""
        panel.plot(
            *place,
            MARKERS[job["seed"] % len(MARKERS)],
            color=BESIDE.get(model, "C3"),
            label=model if model in BESIDE and job["seed"] == 0 else None,
            markersize=6,
        )
        panel.annotate(number, place, (4, 3), textcoords="offset points", fontsize=7)
    for number, name in enumerate(names.values(), 1):
        panel.plot([], [], " ", label=f"{number}  {name}")
    panel.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    panel.set_xlabel("total variation of families")
    panel.set_ylabel("NLL less entropy (nats a residue)")
    panel.legend(fontsize=6, handlelength=1)
