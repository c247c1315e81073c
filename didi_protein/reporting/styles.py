"""A colour for each model and a marker for each of its samplers, the same in every plot.

Legends are written by the page, not drawn: there they wrap on a phone, and a model's name cannot
be markup.
"""

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from didi_protein.reporting.cells import Cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# For matplotlib, and as a character for the legend.
MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"))


@dataclass(frozen=True)
class LegendEntry:
    """One line of a legend: `variable` is the CSS colour, `counts` how many designs it rests on.

    `counts` is "" where that is nothing to say.
    """

    glyph: str
    variable: str
    label: str
    counts: str


def by_model(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    models: dict[str, list[Cell]] = {}
    for cell in cells:
        models.setdefault(cell.model, []).append(cell)
    return models


class SeriesStyles:
    """A colour for each model, a marker for each of its samplers; the same in every plot."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._models = list(dict.fromkeys(cell.model for cell in cells))
        self._samplers = {
            model: list(dict.fromkeys(cell.sampler for cell in group))
            for model, group in by_model(cells).items()
        }

    def of_model(self, model: str) -> tuple[str, str, str]:
        """Placeholder colour, matplotlib marker, the marker as a character."""
        number = self._models.index(model)
        return (SERIES[number % len(SERIES)], *MARKERS[number % len(MARKERS)])

    def __getitem__(self, series: tuple[str, str]) -> tuple[str, str, str]:
        model, sampler = series
        colour, _, _ = self.of_model(model)
        number = self._models.index(model) + self._samplers[model].index(sampler)
        return (colour, *MARKERS[number % len(MARKERS)])

    def legend(self, cells: Sequence[Cell]) -> list[LegendEntry]:
        entries = []
        for series in dict.fromkeys(cell.series for cell in cells):
            counts = [len(cell.designs) for cell in cells if cell.series == series]
            colour, _, glyph = self[series]
            label = " · ".join(part for part in series if part)
            entries.append(LegendEntry(glyph, VARIABLES[colour], label, _each(counts)))
        return entries

    def model_legend(self, cells: Sequence[Cell]) -> list[LegendEntry]:
        entries = []
        for model, group in by_model(cells).items():
            colour, _, glyph = self.of_model(model)
            count = sum(len(cell.designs) for cell in group)
            entries.append(LegendEntry(glyph, VARIABLES[colour], model, f"{count:,}"))
        return entries


def _each(counts: Sequence[int]) -> str:
    """How many designs each point of a line rests on."""
    low, high = min(counts), max(counts)
    if len(counts) == 1:
        return f"{low:,}"
    return f"{low:,} a point" if low == high else f"{low:,} to {high:,} a point"


# Matplotlib axes and their SVG, which takes its colours from the page.
#
# Matplotlib draws in placeholder colours, which become CSS variables in the SVG: one drawing then
# serves the light and the dark page. Text stays text.

# Placeholder colours: any colour that nothing else uses will do.
INK, FAINT, NATURAL, REGION = "#0a0001", "#0a0002", "#0a0003", "#0a0004"


SERIES = ("#0b0001", "#0b0002", "#0b0003", "#0b0004", "#0b0005", "#0b0006")


VARIABLES = {INK: "--muted", FAINT: "--line", NATURAL: "--natural", REGION: "--region"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES)
}


WIDTH, HEIGHT = 4.2, 3.1  # inches; narrow, so that text stays readable on a phone


def new_axes(x_label: str, y_label: str) -> tuple["Figure", "Axes"]:
    figure = new_figure(HEIGHT)
    axes = figure.add_subplot()
    style_axes(axes, x_label, y_label)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.spines["left"].set_visible(False)
    return figure, axes


def new_figure(height: float) -> "Figure":
    """A figure of the page's width; height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_alpha(0)
    return figure


def style_axes(axes: "Axes", x_label: str, y_label: str) -> None:
    """Colours, sizes and spines of axes as everywhere on the page."""
    axes.patch.set_alpha(0)
    axes.set_xlabel(x_label, color=INK, fontsize=10)
    axes.set_ylabel(y_label, color=INK, fontsize=10)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=10, length=0, pad=5)


def inline_svg(figure: "Figure", name: str, title: str, description: str) -> str:
    """The figure as an inline SVG element with a title and a description for screen readers."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        # No date and no creator: the same data give the same page.
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Ids must differ between the plots of one page.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    view_box = re.match(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', svg)
    assert view_box, "matplotlib writes a viewBox"
    opening = (
        f'<svg viewBox="{view_box[1]}" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-desc">{html.escape(description)}</desc>'
    )
    return opening + svg[view_box.end() :]
