"""A colour for each model and a marker for each of its samplers, the same in every plot.

Legends are written by the page, not drawn: there they wrap on a phone, and a model's name cannot
be markup.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from didi_protein.report_data import Cell
from didi_protein.report_svg import SERIES, VARIABLES

# For matplotlib, and as a character for the legend.
MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"))


@dataclass(frozen=True)
class LegendEntry:
    """One line of a legend: `variable` is the CSS colour, `counts` how many designs it rests on."""

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
