"""The plots of folding: the foldable share, and pLDDT against judge perplexity and length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from didi_core.progress import counted
from didi_protein.reporting.cells import Cell, ReferenceRow
from didi_protein.reporting.plots import FEWEST_POINTS, Plot, whole_number_bins
from didi_protein.reporting.styles import (
    INK,
    NATURAL,
    REGION,
    SeriesStyles,
    by_model,
    inline_svg,
    new_axes,
)
from didi_protein.reporting.tables import ScoreTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 1_000
"""Designs drawn in one plot; more would make the page heavy and the plot no clearer."""


FEWEST_FOR_MEAN = 5


PLDDT_LABEL = "mean pLDDT, 0 to 100"


@dataclass(frozen=True)
class FoldRule:
    """What `foldable` asks for."""

    min_plddt: float = 80.0
    min_ptm: float = 0.7
    max_pae: float = 10.0
    differs: bool = False
    """Whether the tables were scored with different rules; this is then that of the first."""

    def in_words(self) -> str:
        text = f"pLDDT > {self.min_plddt:g}, pTM > {self.min_ptm:g}, PAE < {self.max_pae:g} Å"
        return text + (" (other tables: other thresholds)" if self.differs else "")


def foldable_share(cells: Sequence[Cell], styles: SeriesStyles, rule: FoldRule) -> Plot | None:
    """The share of foldable designs of each cell, with its interval; None of fewer than two."""
    shown = [cell for cell in cells if "foldable" in cell.figures]
    if len(shown) < FEWEST_POINTS:
        return None
    figure, axes = new_axes("denoising steps", "foldable designs, %")
    told = []
    for place, cell in enumerate(shown):
        estimate = cell.figures["foldable"].map(lambda share: 100 * share)
        colour, _, _ = styles[cell.series]
        low, high = estimate.low or 0.0, estimate.high or 0.0
        spread = [[estimate.mean - low], [high - estimate.mean]]
        axes.bar(place, estimate.mean, width=0.7, color=colour, alpha=0.6, zorder=2)
        axes.errorbar(place, estimate.mean, yerr=spread, color=INK, capsize=3, zorder=3)
        told.append(f"{cell.model} {cell.sampler} {cell.steps_label}: {estimate.mean:.0f}%")
    axes.set_xticks(range(len(shown)), [cell.steps_label for cell in shown])
    axes.set_xlim(-0.6, max(len(shown), 4) - 0.4)
    axes.set_ylim(0, 100)
    return Plot(
        name="foldable",
        title="Foldable share",
        svg=inline_svg(figure, "foldable", "Share of designs that should fold", ". ".join(told)),
        legend=styles.legend(shown),
        caption=f"The share of designs with {rule.in_words()}. Bars are 95% intervals.",
    )


def plddt_by_perplexity(
    cells: Sequence[Cell],
    references: Sequence[ReferenceRow],
    styles: SeriesStyles,
    rule: FoldRule,
) -> Plot | None:
    """pLDDT of each design over its judge perplexity, and where it counts as foldable."""
    shown, share = _with_both(cells, "judge_perplexity")
    if not shown:
        return None
    figure, axes = new_axes("judge perplexity (lower reads more natural)", PLDDT_LABEL)
    _draw_region(axes, rule)
    told = []
    for model, group in by_model(shown).items():
        points = _points(group, share)
        colour, marker, _ = styles.of_model(model)
        _draw_designs(axes, points["judge_perplexity"], points, colour, marker)
        told.append(f"{model}: {_tell_region(group, rule)}")
    for reference in references:
        if "judge_perplexity" in reference.figures and reference.short_title:
            _draw_reference(axes, reference)
    _plddt_scale(axes, shown)
    return Plot(
        name="plddt-perplexity",
        title="pLDDT against judge perplexity",
        svg=inline_svg(
            figure, "plddt-perplexity", "pLDDT against judge perplexity", ". ".join(told)
        ),
        legend=styles.model_legend(shown),
        caption=f"One point a design{thinned(share)}. Shaded: the pLDDT that foldable asks for. "
        f"Filled: foldable ({rule.in_words()}). Hollow: not. Best is high and left; high and far "
        "left of natural may be repeats, which folding models trust too.",
    )


def plddt_by_length(cells: Sequence[Cell], styles: SeriesStyles, rule: FoldRule) -> Plot | None:
    """pLDDT of each design over its length, and each model's mean by bins of lengths."""
    shown, share = _with_both(cells, "length")
    if not shown:
        return None
    figure, axes = new_axes("length, residues", PLDDT_LABEL)
    _draw_region(axes, rule)
    everything = pd.concat([_folded(cell) for cell in shown])["length"].to_numpy()
    edges = whole_number_bins(everything, most=8)
    told = []
    for model, group in by_model(shown).items():
        points = _points(group, share)
        colour, marker, _ = styles.of_model(model)
        _draw_designs(axes, points["length"], points, colour, marker)
        middles, means = _means_by_bin(pd.concat([_folded(cell) for cell in group]), edges)
        axes.plot(middles, means, color=colour, linewidth=2.2, zorder=4)
        ends = [f"{mean:.0f} at {middle:.0f}" for middle, mean in zip(middles, means, strict=True)]
        told.append(f"{model}, mean pLDDT at length: {', '.join(ends)}")
    axes.locator_params(axis="x", integer=True)
    _plddt_scale(axes, shown)
    return Plot(
        name="plddt-length",
        title="pLDDT by length",
        svg=inline_svg(figure, "plddt-length", "pLDDT by length", ". ".join(told)),
        legend=styles.model_legend(shown),
        caption=f"One point a design{thinned(share)}; filled where foldable. Lines are means over "
        f"bins of lengths with at least {FEWEST_FOR_MEAN} designs. Shaded: the pLDDT that "
        "foldable asks for.",
    )


def _folded(cell: Cell) -> pd.DataFrame:
    """Designs with a pLDDT, with the columns length and foldable (NaN where unknown)."""
    designs = cell.designs[cell.designs["mean_plddt"].notna()]
    foldable = designs.get("foldable", np.nan)
    return designs.assign(length=designs["sequence"].str.len(), foldable=foldable)


def _with_both(cells: Sequence[Cell], column: str) -> tuple[list[Cell], float]:
    """Cells with designs that have pLDDT and `column`, and the share of designs to draw."""
    shown = [cell for cell in cells if "mean_plddt" in cell.figures]
    if column != "length":
        shown = [cell for cell in shown if column in cell.figures]
    total = sum(len(cell.designs) for cell in shown)
    return shown, min(1.0, MOST_POINTS / max(total, 1))


def _points(cells: Sequence[Cell], share: float) -> pd.DataFrame:
    """The designs to draw: evenly spaced ones where there are too many."""
    return evenly_spaced(pd.concat([_folded(cell) for cell in cells], ignore_index=True), share)


def evenly_spaced(designs: pd.DataFrame, share: float) -> pd.DataFrame:
    """Return a share (0 to 1) of the rows, evenly spaced; one at least."""
    places = np.linspace(0, len(designs) - 1, max(1, round(share * len(designs)))).round()
    return designs.iloc[np.unique(places.astype(int))]


def thinned(share: float) -> str:
    """Say in a caption which share of the designs is drawn, where it is not all."""
    return "" if share == 1 else f" ({share:.0%} of them drawn)"


def _draw_designs(
    axes: "Axes", x: pd.Series, points: pd.DataFrame, colour: str, marker: str
) -> None:
    filled = points["foldable"] != 0  # unknown counts as filled
    draw_points(axes, x, points["mean_plddt"], filled.to_numpy(), colour, marker)


def draw_points(
    axes: "Axes", x: pd.Series, y: pd.Series, filled: np.ndarray, colour: str, marker: str
) -> None:
    """Draw a point a design, hollow where `filled` [designs] is false."""
    for chosen, face in ((filled, colour), (~filled, "none")):
        axes.plot(
            x[chosen], y[chosen], marker, color=colour, markerfacecolor=face,
            markersize=4, markeredgewidth=0.9, alpha=0.7, zorder=3,
        )  # fmt: skip


def _draw_region(axes: "Axes", rule: FoldRule) -> None:
    axes.axhspan(rule.min_plddt, 100, color=REGION, alpha=0.16, linewidth=0, zorder=0)
    axes.axhline(rule.min_plddt, color=REGION, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
    axes.annotate(
        f"above {rule.min_plddt:g}", (1.01, (rule.min_plddt + 100) / 2),
        xycoords=("axes fraction", "data"), rotation=90, va="center", color=REGION, fontsize=9,
    )  # fmt: skip


def _draw_reference(axes: "Axes", reference: ReferenceRow) -> None:
    level = reference.figures["judge_perplexity"].mean
    axes.axvline(level, color=NATURAL, linewidth=1.2, zorder=1)
    axes.annotate(
        reference.short_title, (level, 0.02), xycoords=("data", "axes fraction"),
        xytext=(3, 0), textcoords="offset points", rotation=90, va="bottom", color=NATURAL,
        fontsize=9,
    )  # fmt: skip


def _plddt_scale(axes: "Axes", cells: Sequence[Cell]) -> None:
    lowest = min(cell.designs["mean_plddt"].min() for cell in cells)
    axes.set_ylim(min(50.0, 10 * np.floor(lowest / 10)), 100)


def _tell_region(cells: Sequence[Cell], rule: FoldRule) -> str:
    values = pd.concat([_folded(cell)["mean_plddt"] for cell in cells])
    above = int((values > rule.min_plddt).sum())
    return f"{above} of {counted(len(values), 'design')} above pLDDT {rule.min_plddt:g}"


def _means_by_bin(designs: pd.DataFrame, edges: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean length and mean pLDDT of each bin with enough designs."""
    bins = np.digitize(designs["length"], edges)
    middles, means = [], []
    for _, group in designs.groupby(bins):
        if len(group) >= FEWEST_FOR_MEAN:
            middles.append(float(group["length"].mean()))
            means.append(float(group["mean_plddt"].mean()))
    return middles, means


# What `foldable` asks for in the tables of a report.


def fold_rule(tables: Sequence[ScoreTable]) -> FoldRule:
    """The rule stated in the summaries; the usual one where none is."""
    stated = [rule for table in tables if (rule := _stated(table.summary or {}))]
    if not stated:
        return FoldRule()
    differs = any(rule != stated[0] for rule in stated)
    return FoldRule(**stated[0], differs=differs)


def _stated(summary: Mapping[str, Any]) -> dict[str, float] | None:
    rule = (summary.get("fold") or {}).get("foldable")
    return (
        {name: float(rule[name]) for name in ("min_plddt", "min_ptm", "max_pae")} if rule else None
    )
