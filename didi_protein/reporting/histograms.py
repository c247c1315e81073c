"""A histogram of each score of the designs, with nature's range behind it where it is known."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from didi_core.progress import counted
from didi_protein.reporting.cells import Cell
from didi_protein.reporting.listing import numeric_columns
from didi_protein.reporting.plots import Plot
from didi_protein.reporting.styles import (
    INK,
    NATURAL,
    VARIABLES,
    LegendEntry,
    SeriesStyles,
    by_model,
    inline_svg,
    new_axes,
)
from didi_protein.reporting.tables import ScoreTable
from didi_protein.scoring.natural_range import NaturalRange, natural_range
from didi_protein.scoring.score_column import ScoreColumn
from didi_protein.scoring.table import are_designs, numbers_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 20
FEWEST_VALUES = 2
"""Distinct values of a score that are worth a histogram."""
NOT_DRAWN = ("family_evalue",)
"""Numbers over many powers of ten, of which a histogram is one bar: the bits tell the same."""
MOST_LINES = 5
"""Native inputs that are drawn as a line each; of more the range is."""


def score_histograms(
    tables: Sequence[ScoreTable], cells: Sequence[Cell], styles: SeriesStyles
) -> list[Plot]:
    """Return a histogram of each score of which the designs have several values."""
    if not any(len(cell.designs) for cell in cells):
        return []
    designs = pd.concat([cell.designs for cell in cells], ignore_index=True)
    natives = pd.concat([table.rows[~are_designs(table.rows)] for table in tables])
    drawn = [
        _histogram(
            column, cells, _known_range(column, tables), _values(natives, column.name), styles
        )
        for column in numeric_columns(designs)
        if column.type != "yes_no" and column.name not in NOT_DRAWN
    ]
    return [plot for plot in drawn if plot is not None]


def _histogram(
    column: ScoreColumn,
    cells: Sequence[Cell],
    natural: NaturalRange | None,
    natives: np.ndarray,
    styles: SeriesStyles,
) -> Plot | None:
    """Return the histogram of one score; None where its values are all alike.

    Args:
        natives: values of the native inputs, which are no designs.
    """
    values = {
        model: np.concatenate([_values(cell.designs, column.name) for cell in group])
        for model, group in by_model(cells).items()
    }
    found = sum(map(len, values.values()))
    if column.zero:  # nothing was measured there
        values = {model: each[each != 0] for model, each in values.items()}
    values = {model: each for model, each in values.items() if len(each)}
    everything = np.concatenate([np.empty(0), *values.values()])
    if len(np.unique(everything)) < FEWEST_VALUES:
        return None
    name = f"score-{column.name.replace('_', '-')}"
    heading = column.heading or column.name.replace("_", " ")
    unit = f", {column.unit}" if column.unit and not heading.endswith(column.unit) else ""
    figure, axes = new_axes(f"{heading}{unit}", "designs, %")
    legend = []
    if natural is not None:
        axes.axvspan(natural.low, natural.high, color=NATURAL, alpha=0.25, linewidth=0, zorder=0)
        legend.append(LegendEntry("■", VARIABLES[NATURAL], natural.source, ""))
    edges = _edges(column, everything)
    _draw_models(axes, values, edges, styles)
    told = [f"{model}: median {column.write(np.median(each))}" for model, each in values.items()]
    if left_out := found - len(everything):
        told.append(f"Not drawn: {left_out:,} of {counted(found, 'design')}, {column.zero}")
    if natural is not None:
        told.append(f"Nature: {column.write(natural.low)} to {column.write(natural.high)}")
    if len(natives):
        legend.append(_draw_natives(axes, natives))
        told.append(_tell_natives(column, natives))
    legend = [each for each in styles.model_legend(cells) if each.label in values] + legend
    return Plot(
        name=name,
        title=column.title,
        svg=inline_svg(figure, name, f"Histogram of {column.title}", ". ".join(told)),
        legend=legend,
        caption=". ".join(told) + _advice(column) + ".",
    )


def _draw_models(
    axes: "Axes", values: Mapping[str, np.ndarray], edges: np.ndarray, styles: SeriesStyles
) -> None:
    alone = len(values) == 1
    for model, each in values.items():
        counts, _ = np.histogram(each, bins=edges)
        colour, _, _ = styles.of_model(model)
        shares = 100 * counts / len(each)
        axes.stairs(shares, edges, color=colour, linewidth=1.8, zorder=3)
        if alone:
            axes.stairs(shares, edges, color=colour, fill=True, alpha=0.25, zorder=2)
    axes.set_ylim(bottom=0)


def _draw_natives(axes: "Axes", values: np.ndarray) -> LegendEntry:
    """Draw what the designs started from, and return its line of the legend."""
    if len(values) <= MOST_LINES:
        for value in values:
            axes.axvline(value, color=INK, linestyle=(0, (4, 2)), linewidth=1.6, zorder=4)
        label = "native input" if len(values) == 1 else "native inputs"
        return LegendEntry("┆", VARIABLES[INK], label, "")
    axes.axvspan(values.min(), values.max(), color=INK, alpha=0.15, linewidth=0, zorder=1)
    return LegendEntry("■", VARIABLES[INK], counted(len(values), "native input"), "")


def _tell_natives(column: ScoreColumn, values: np.ndarray) -> str:
    if len(values) <= MOST_LINES:
        title = "Native input" if len(values) == 1 else "Native inputs"
        return f"{title}: {', '.join(column.write(value) for value in sorted(values))}"
    ends = f"{column.write(values.min())} to {column.write(values.max())}"
    return f"{counted(len(values), 'native input')}: {ends}"


def _edges(column: ScoreColumn, values: np.ndarray) -> np.ndarray:
    """Return the edges of bins; of a few whole numbers one bin each."""
    low, high = values.min(), values.max()
    if column.type == "integer" and high - low < BINS:
        return np.arange(low, high + 2) - 0.5
    return np.linspace(low, high, BINS + 1)


def _advice(column: ScoreColumn) -> str:
    """Return what to look for, as the end of a caption."""
    better = column.plainly_better
    advice = column.advice or (f"{better.capitalize()} is best" if better else "")
    return f". {advice}" if advice else ""


def _known_range(column: ScoreColumn, tables: Sequence[ScoreTable]) -> NaturalRange | None:
    """Return the first range that is known; several tables may know different ones."""
    ranges = (natural_range(table.summary, column.name) for table in tables)
    return next((each for each in ranges if each is not None), None)


def _values(rows: pd.DataFrame, column: str) -> np.ndarray:
    if column not in rows:
        return np.empty(0)
    return numbers_of(rows, column, "INPUT").dropna().to_numpy()
