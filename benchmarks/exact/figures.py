"""The figures of the study, from the JSONs that are there."""

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.exact.study import PROCESSES, RESULTS
from benchmarks.exact.table import Record, table
from didi_core.errors import missing_extra
from didi_core.evaluation.frontier_plot import plot_frontiers
from didi_core.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURES = {
    "gap": "gap: |NLL - entropy| (nats a residue)",
    "family_kl": "KL of families from the truth (nats)",
    "family_tv": "total variation of families",
    "broken_above_true": "share of broken pairs above the true",
}

COLOURS = {
    "process": "0.85",
    "exact": "0.3",
    "teacher": "C0",
    "didi-paper": "C1",
    "dmmd": "C2",
    "didi": "C3",
    "dmmd-sequence": "C4",
    "dmmd-long": "C5",
}
"""The models of the figure; all others are in the table alone."""
VARIANTS_DRAWN = ("", "apart", "rgas")


def write_figures(results: Path = RESULTS) -> None:
    """table.md, and figures of the measures, of the bound and of each temperature sweep."""
    records = read_records(results)
    cells = [record for record in records if "figures" in record]
    if not cells:
        return
    write_text(results / "table.md", table(records))
    _save(measures_figure(cells), results / "measures.png")
    bounds = [record for record in records if "curve" in record]
    if bounds:
        _save(bound_figure(bounds, cells), results / "bound.png")
    for record in records:
        if "frontier" in record:
            where = results / f"frontier_{record['job']['process']}_{record['job']['seed']}.png"
            marks = {"process": tuple(record["truth"])}
            plot_frontiers(record["frontier"], where, record["diversity"], marks)


def read_records(results: Path = RESULTS) -> list[Record]:
    """Every result, in the order of its name."""
    paths = sorted(path for name in PROCESSES for path in (results / name).glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def name_of(record: Record) -> str:
    """Model and variant: what one line of a figure is."""
    variant = record["job"].get("task", "").partition("-")[2]
    return record["job"]["model"] + (f" ({variant})" if variant else "")


def _is_drawn(record: Record) -> bool:
    job = record["job"]
    return job["model"] in COLOURS and job.get("task", "").partition("-")[2] in VARIANTS_DRAWN


def _calls(record: Record) -> float:
    return record["cost"]["mean_nfe"]


def measures_figure(cells: list[Record]) -> "Figure":
    """Rows: measures; columns: processes; over network calls, a line for each model."""
    figure = _new_figure(4.2 * len(PROCESSES), 2.3 * len(MEASURES) + 0.6)
    axes = figure.subplots(len(MEASURES), len(PROCESSES), squeeze=False)
    for column, process in enumerate(PROCESSES):
        own = [cell for cell in cells if cell["job"]["process"] == process]
        for row, (measure, label) in enumerate(MEASURES.items()):
            panel = axes[row, column]
            with_it = [cell for cell in own if measure in cell["figures"] and _is_drawn(cell)]
            if not with_it:
                panel.set_axis_off()
                continue
            _draw_measure(panel, with_it, measure)
            panel.set_title(process if row == 0 else "", fontsize=9)
            panel.set_ylabel(label, fontsize=7)
            _call_axis(panel, (4, 64))
            panel.tick_params(labelsize=7)
            panel.set_xlabel("network calls a sequence", fontsize=7)
    handles = {
        line.get_label(): line
        for panel in axes.ravel()
        for line in panel.get_legend_handles_labels()[0]
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=7)
    return figure


def _draw_measure(panel: "Axes", cells: list[Record], measure: str) -> None:
    lines: dict[str, list[Record]] = defaultdict(list)
    for cell in cells:
        lines[name_of(cell)].append(cell)
    floor = lines.pop("process", [])
    for name, members in lines.items():
        base = name.split(" (")[0]
        seeds = sorted({cell["job"]["seed"] for cell in members})
        for seed in seeds:
            own = sorted((c for c in members if c["job"]["seed"] == seed), key=_calls)
            values = [cell["figures"][measure] for cell in own]
            middle = [value["mean"] for value in values]
            below = [max(0.0, v["mean"] - v["low"]) for v in values]
            above = [max(0.0, v["high"] - v["mean"]) for v in values]
            panel.errorbar(
                [_calls(cell) for cell in own],
                middle,
                yerr=[below, above],
                marker="x" if "(" in name else "o",
                markersize=4,
                linewidth=1,
                linestyle=":" if "(" in name else "-",
                color=COLOURS[base],
                label=name if seed == seeds[0] else None,
            )
    for cell in floor[:1]:
        value = cell["figures"][measure]
        panel.axhspan(value["low"], value["high"], color="0.85", label="process's own draws")


def bound_figure(bounds: list[Record], cells: list[Record]) -> "Figure":
    """Loss of drawing independently over the number of steps, and the exact sampler's gap."""
    figure = _new_figure(4.5 * len(bounds), 3.6)
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
            gap = cell["figures"]["gap"]
            label = "gap of the exact conditionals" if cell is own[0] else None
            panel.plot(cell["settings"]["steps"], gap["mean"], "k*", markersize=9, label=label)
        _call_axis(panel, (1, 64))
        panel.set_yscale("log")
        panel.set_title(process, fontsize=9)
        panel.set_xlabel("steps K")
        panel.set_ylabel("nats a residue")
        panel.legend(fontsize=7)
    return figure


def _call_axis(panel: "Axes", span: tuple[int, int]) -> None:
    """A logarithmic axis with the powers of two written out."""
    panel.set_xscale("log", base=2)
    panel.set_xlim(span[0] * 0.85, span[1] * 1.15)
    ticks = [2**power for power in range(7) if span[0] <= 2**power <= span[1]]
    panel.set_xticks(ticks, [str(tick) for tick in ticks])


def _new_figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: "Figure", path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
