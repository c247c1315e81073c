"""Figures of one kind: measures of the cells over network calls, a line a model and sampler."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.exact.panels import call_axis, new_figure
from benchmarks.exact.study import PROCESSES
from benchmarks.exact.table import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Choice:
    """What a figure shows; all else is in the table alone."""

    colours: Mapping[str, str]
    """Of the models."""
    variants: tuple[str, ...]
    """Of their samplers."""
    processes: tuple[str, ...]
    """A column each."""
    measures: Mapping[str, str]
    """A row each: its name in the JSONs, and in words."""

    def has(self, record: Record) -> bool:
        """Whether the cell is shown."""
        job = record["job"]
        known = job["model"] in self.colours and variant_of(record) in self.variants
        return known and job["process"] in self.processes


FAMILIES = {"family_tv": "total variation of families"}
STUDENTS = Choice(
    {
        "process": "0.85",
        "exact": "0.3",
        "teacher": "C0",
        "didi-paper": "C1",
        "dmmd": "C2",
        "didi": "C3",
        "dmmd-sequence": "C4",
        "dmmd-long": "C5",
    },
    ("", "apart", "rgas"),
    tuple(PROCESSES),
    {
        "signed_gap": "NLL - entropy (nats a residue)",
        "family_kl": "KL of families from the truth (nats)",
        **FAMILIES,
        "broken_above_true": "share of broken pairs above the true",
    },
)
DUALITY = Choice(
    {
        "process": "0.85",
        "teacher": "C0",
        "sdtt": "C4",
        "dmmd": "C2",
        "didi": "C3",
        "duo": "C1",
        "dcd": "C5",
    },
    ("", "remdm", "greedy-tail", "psi"),
    ("profiles",),
    {
        "signed_gap": "NLL - entropy (nats a residue)",
        "pooled_3mer_entropy": "pooled 3-mer entropy (nats)",
        **FAMILIES,
    },
)
MARKS = {
    "": ("o", "-"),
    "apart": ("x", ":"),
    "greedy-tail": ("x", ":"),
    "psi": ("^", "--"),
    "remdm": ("v", ":"),
    "rgas": ("s", ":"),
}
"""Marker and line of each variant."""


def name_of(record: Record) -> str:
    """Model and variant: what one line of a figure is."""
    variant = variant_of(record)
    return record["job"]["model"] + (f" ({variant})" if variant else "")


def variant_of(record: Record) -> str:
    return record["job"].get("task", "").partition("-")[2]


def _calls(record: Record) -> float:
    """Of the denoiser, and of a discriminator that guides it."""
    cost = record["cost"]
    return cost["mean_nfe"] + cost.get("mean_discriminator_calls", 0.0)


def measures_figure(cells: list[Record], choice: Choice) -> "Figure | None":
    """Over network calls a line for each model, in rows of measures and columns of processes.

    One process alone has its measures in a row. None where there is nothing of the choice.
    """
    cells = [cell for cell in cells if choice.has(cell)]
    if not cells:
        return None
    processes, measures = choice.processes, choice.measures
    rows, columns = len(measures), len(processes)
    if columns == 1:
        rows, columns = 1, rows
    figure = new_figure(4.2 * columns, 2.3 * rows + 0.8)
    axes = figure.subplots(rows, columns, squeeze=False).reshape(len(measures), len(processes))
    for column, process in enumerate(processes):
        own = [cell for cell in cells if cell["job"]["process"] == process]
        for row, (measure, label) in enumerate(measures.items()):
            panel = axes[row, column]
            with_it = [cell for cell in own if measure in cell["figures"]]
            if not with_it:
                panel.set_axis_off()
                continue
            _draw_measure(panel, with_it, measure, choice)
            panel.set_title(process if row == 0 else "", fontsize=9)
            panel.set_ylabel(label, fontsize=7)
            call_axis(panel, (4, 64))
            panel.tick_params(labelsize=7)
            panel.set_xlabel("network calls a sequence", fontsize=7)
    handles = {
        line.get_label(): line
        for panel in axes.ravel()
        for line in panel.get_legend_handles_labels()[0]
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=7)
    return figure


def _draw_measure(panel: "Axes", cells: list[Record], measure: str, choice: Choice) -> None:
    """A line for each model, sampler and seed, and the band of the process's own draws."""
    lines: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for cell in cells:
        lines[name_of(cell), cell["job"]["seed"]].append(cell)
    labelled = set()
    for (name, _), members in lines.items():
        if name == "process":
            continue
        own = sorted(members, key=_calls)
        values = [cell["figures"][measure] for cell in own]
        marker, line = MARKS[variant_of(own[0])]
        panel.errorbar(
            [_calls(cell) for cell in own],
            [value["mean"] for value in values],
            yerr=[
                [max(0.0, v["mean"] - v["low"]) for v in values],
                [max(0.0, v["high"] - v["mean"]) for v in values],
            ],
            marker=marker,
            markersize=4,
            linewidth=1,
            linestyle=line,
            color=choice.colours[own[0]["job"]["model"]],
            label=None if name in labelled else name,
        )
        labelled.add(name)
    floor = [cell for cell in cells if cell["job"]["model"] == "process"]
    for cell in floor[:1]:
        value = cell["figures"][measure]
        panel.axhspan(value["low"], value["high"], color="0.85", label="process's own draws")
