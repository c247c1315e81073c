"""The figure of the study, and its table's file, from the JSONs that are there."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.side_by_side.plan import CELLS, MODELS, NUM_SAMPLES, RESULTS
from benchmarks.side_by_side.tables import (
    UNITS,
    Record,
    bound_lines,
    equal_lines,
    natural_equal_lines,
    natural_lines,
    sweep_lines,
)
from didi_core.errors import missing_extra
from didi_core.io.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = {"ancestral": "-", "apart": ":", "remdm": "--", "greedy-tail": "-.", "psi": (0, (1, 3))}
LINES |= {"analytic": "-", "autoregressive": "-"}
"""Line style of each sampler."""
FAR = 1.0
"""Nats."""


def write_figures(results: Path = RESULTS) -> None:
    """table.md, and the curves of the seed of each corpus that has most of them."""
    sections = []
    for corpus in UNITS:
        records = [json.loads(p.read_text()) for p in sorted((results / corpus).glob("*.json"))]
        if records:
            parts = (
                *(bound_lines, equal_lines, natural_equal_lines),
                *(sweep_lines, natural_lines),
            )
            sections += [f"## {corpus}", ""]
            sections += [line for part in parts for line in (*part(corpus, records), "")]
            draw_curves(corpus, records, results / f"{corpus}.png")
    if sections:
        write_text(results / "table.md", "\n".join(sections))


def draw_curves(corpus: str, records: list[Record], path: Path) -> None:
    """One panel a number of steps: NLL over diversity along the temperatures, of one seed.

    A curve that is `FAR` from the diversity compared at is left out: it would leave the others no
    room.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    sweeps = [r for r in records if r["kind"] == "sweep"]
    if not sweeps:
        return
    seeds = [record["seed"] for record in sweeps]
    seed = max(sorted({*seeds}), key=seeds.count)
    drawn = sorted({r["steps"] for r in sweeps if r["seed"] == seed})
    figure = Figure(figsize=(1 + 4 * len(drawn), 4.5), layout="constrained")
    panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    unit, diversity = UNITS[corpus]
    for axes, steps in zip(panels, drawn, strict=True):
        for record in sweeps:
            if (record["steps"], record["seed"]) == (steps, seed) and not _is_far(record):
                _draw_curve(axes, record)
        _draw_natural(axes, records)
        axes.set_title(f"{steps} steps, seed {seed}")
        axes.set_xlabel(f"{diversity} (nats)")
    panels[0].set_ylabel(f"judge NLL (nats a {unit})")
    panels[0].legend(fontsize=7)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _is_far(record: Record) -> bool:
    reached = [point["diversity"]["mean"] for point in record["points"]]
    return min(abs(each - record["equal_diversity"]) for each in reached) > FAR


def _draw_curve(axes: "Axes", record: Record) -> None:
    """A cell in the colour of its model and the line of its sampler."""
    across, up = (
        [point[axis]["mean"] for point in record["points"]] for axis in ("diversity", "nll")
    )
    cell = CELLS[record["name"]]
    colour, line = f"C{list(MODELS).index(cell.model)}", LINES[cell.sampler]
    style = {"color": colour, "linestyle": line, "marker": "o", "markersize": 3}
    axes.plot(across, up, label=record["name"], **style)


def _draw_natural(axes: "Axes", records: list[Record]) -> None:
    """What the judge finds of the corpus itself: of sets as large as the cells', none shuffled.

    Pooled entropies grow with the size of a set, and what is shuffled is far from all curves.
    """
    for record in records:
        if record["kind"] == "natural":
            for name, mark in {"trained on": "*", "held out": "P"}.items():
                at = record["sequences"][name]
                if at["n"] == NUM_SAMPLES:
                    where = at["diversity"]["mean"], at["nll"]["mean"]
                    axes.plot(*where, mark, color="0.4", label=f"natural, {name}")
