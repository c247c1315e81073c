"""The figures of the study, from the JSONs that are there."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.exact.ablation_figure import ablation_figure
from benchmarks.exact.ablation_table import ablation_tables
from benchmarks.exact.measures_figure import DUALITY, STUDENTS, measures_figure
from benchmarks.exact.panels import call_axis, new_figure
from benchmarks.exact.study import PROCESSES, RESULTS
from benchmarks.exact.table import Record, table
from didi_core.evaluation.frontier_plot import plot_frontiers
from didi_core.io.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figures(results: Path = RESULTS) -> None:
    """Tables, and figures of the measures, the ablation, the bound and each temperature sweep."""
    records = read_records(results)
    cells = [record for record in records if "figures" in record]
    if not cells:
        return
    write_text(results / "table.md", table(records))
    if ablation := ablation_tables(records):
        write_text(results / "ablation.md", ablation)
    if figure := ablation_figure(cells):
        _save(figure, results / "ablation.png")
    for name, choice in (("measures", STUDENTS), ("duality", DUALITY)):
        if figure := measures_figure(cells, choice):
            _save(figure, results / f"{name}.png")
    bounds = [record for record in records if "curve" in record]
    if bounds:
        _save(bound_figure(bounds, cells), results / "bound.png")
    for record in records:
        if "frontier" in record:
            job = record["job"]
            where = results / f"{job['model']}_{job['process']}_{job['seed']}.png"
            marks = {"process": tuple(record["truth"])}
            plot_frontiers(record["frontier"], where, record["diversity"], marks)


def read_records(results: Path = RESULTS) -> list[Record]:
    """Every result, in the order of its name."""
    paths = sorted(path for name in PROCESSES for path in (results / name).glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def bound_figure(bounds: list[Record], cells: list[Record]) -> "Figure":
    """Loss of drawing independently over the number of steps, and the exact sampler's gap."""
    figure = new_figure(4.5 * len(bounds), 3.6)
    panels = figure.subplots(1, len(bounds), squeeze=False)[0]
    for panel, record in zip(panels, bounds, strict=True):
        process = record["job"]["process"]
        for exponent in sorted({point["reveal_exponent"] for point in record["curve"]}):
            points = [p for p in record["curve"] if p["reveal_exponent"] == exponent]
            values = [point["nats_a_residue"] for point in points]
            panel.errorbar(
                [point["steps"] for point in points],
                [value["mean"] for value in values],
                yerr=[
                    [max(0.0, v["mean"] - v["low"]) for v in values],
                    [max(0.0, v["high"] - v["mean"]) for v in values],
                ],
                marker="o",
                markersize=4,
                label=f"total correlation, alpha = (k/K)^{exponent:g}",
            )
        own = [c for c in cells if c["job"]["process"] == process and c["job"]["model"] == "exact"]
        for cell in own:
            gap, late = cell["figures"]["gap"], cell["settings"]["reveal_exponent"] > 1
            label = "gap of the exact conditionals" + (", alpha = (k/K)^2" if late else "")
            known = panel.get_legend_handles_labels()[1]
            panel.plot(
                cell["settings"]["steps"],
                gap["mean"],
                "k*",
                fillstyle="none" if late else "full",
                markersize=9,
                label=None if label in known else label,
            )
        call_axis(panel, (1, 64))
        panel.set_yscale("log")
        panel.set_title(process, fontsize=9)
        panel.set_xlabel("steps K")
        panel.set_ylabel("nats a residue")
        panel.legend(fontsize=7)
    return figure


def _save(figure: "Figure", path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
