"""The curves of `benchmarks.fine_tune` as a picture: a panel a number of members, a line a start.

python -m benchmarks.fine_tune_figure benchmarks/results/fine_tune.json docs/images/fine_tune.png
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from benchmarks.exact.panels import new_figure
from didi_core.cli.run import run_program

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STARTS = {
    "scratch": ("C7", "from scratch"),
    "families": ("C0", "from a model of many families"),
    "lactamases": ("C3", "from a model of one other family"),
}
"""Colour and words of each start."""
COUNTED = {"unigram": ":", "profile": "--"}
"""What counting alone reaches, and how its line is drawn."""


def draw(record: dict[str, Any]) -> "Figure":
    """Return the figure of a record, seed 0 of each cell: shaded are the 95% intervals."""
    members = list(dict.fromkeys(name.split("/")[1] for name in record["curves"]))
    figure = new_figure(3.6 * len(members) + 0.6, 3.4)
    axes = figure.subplots(1, len(members), squeeze=False, sharey=True)[0]
    for panel, count in zip(axes, members, strict=True):
        draw_members(panel, record, count)
    axes[0].set_ylabel("bound of held-out clusters\n(nats a residue)")
    axes[0].legend(fontsize=8)
    return figure


def draw_members(panel: "Axes", record: dict[str, Any], count: str) -> None:
    """Draw the curves of one number of training members."""
    for start, (colour, words) in STARTS.items():
        points = record["curves"].get(f"{start}/{count}/0", [])
        updates = [each["updates"] for each in points]
        panel.plot(updates, [each["nats"] for each in points], "o-", color=colour, label=words)
        low, high = ([each[end] for each in points] for end in ("low", "high"))
        panel.fill_between(updates, low, high, color=colour, alpha=0.2, linewidth=0)
    for name, style in COUNTED.items():
        panel.axhline(record["counting"][name]["mean"], color="0.4", linestyle=style, label=name)
    panel.set_title(f"{count} training members", fontsize=9)
    panel.set_xlabel("updates")


def main(results: Path, out: Path) -> None:
    """Read the JSON and write the picture."""
    draw(json.loads(results.read_text(encoding="utf-8"))).savefig(out, dpi=120)


if __name__ == "__main__":
    app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(run_program(lambda: app(standalone_mode=False)))
