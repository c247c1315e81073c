"""The plots of a family: covariances, contacts and identities beside nature's, r against calls.

What has thousands of squares is an image inside the SVG, in one colour for light and dark pages.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from didi_protein.families.plot_data import IDENTITY_BINS, FamilyPlotData, SetPlotData
from didi_protein.reporting.cells import Cell
from didi_protein.reporting.plots import CALLS, Plot, plain_ticks
from didi_protein.reporting.styles import (
    FAINT,
    INK,
    NATURAL,
    SERIES,
    VARIABLES,
    LegendEntry,
    SeriesStyles,
    inline_svg,
    new_axes,
    new_figure,
    style_axes,
)
from didi_protein.similarity.neighbours import COPY_IDENTITY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE = (0x4B / 255, 0x8B / 255, 0xD6 / 255)  # of the density; readable on white and on black
_GREY = (0x85 / 255, 0x8E / 255, 0x9C / 255)  # of known contacts
_FAINTEST = 0.18  # opacity of a square with one entry; the fullest is opaque


@dataclass(frozen=True)
class FamilySet:
    """Designs of one table held against one family."""

    title: str
    cell: Cell | None
    """None where the table mixes several settings."""
    statistics: Mapping[str, Any]
    """As in the summary."""
    plots: FamilyPlotData | None


def covariance_density(shown: FamilySet, name: str, of: str) -> Plot | None:
    """Pair covariances of the designs over nature's, and of natural and independent sequences.

    Args:
        name: of the plot, which begins its ids.
        of: behind its title, where there are several sets.
    """
    plots = shown.plots
    if plots is None or "designs" not in plots.sets:
        return None
    figure = new_figure(5.4)
    small = [each for each in ("natural", "independent") if each in plots.sets]
    layout: list[Any] = [["designs", "designs"], small] if len(small) == 2 else [["designs"]]
    panels = figure.subplot_mosaic(layout, height_ratios=[2.1, 1][: len(layout)])
    told = []
    for panel, axes in panels.items():
        is_main = panel == "designs"
        style_axes(axes, "in nature" if is_main else "", f"in the {panel}" if is_main else "")
        _draw_density(axes, plots.sets[panel], plots.covariance_limit, shown.statistics[panel])
        words = f"{panel}: {_fit_in_words(shown.statistics[panel])}"
        axes.set_title(words if is_main else _short_fit(panel, shown.statistics[panel]),
                       loc="left", color=INK, fontsize=10)  # fmt: skip
        told.append(words)
    counted = shown.statistics
    return Plot(
        name=name,
        title=f"What varies together{of}",
        svg=inline_svg(figure, name, "Pair covariances of designs and nature", ". ".join(told)),
        legend=[LegendEntry("━", VARIABLES[SERIES[1]], "fitted slope", ""),
                LegendEntry("┄", VARIABLES[INK], "as in nature", "")],
        caption=f"The place of each of {counted['num_entries']:,} pairs of residues says how much "
        "more often than by chance they occur together at two positions, in nature across and in "
        "the designs upwards (below 0: less often); darker squares hold more pairs. Designs that "
        "keep nature's dependences lie along the dashed line, as natural sequences do (lower "
        "left); a flat cloud, like positions drawn independently (lower right), has lost them.",
    )  # fmt: skip


def _draw_density(
    axes: "Axes", counted: SetPlotData, limit: float, statistics: Mapping[str, Any]
) -> None:
    counts = counted.covariance_counts
    most = math.log(max(2, counts.max()))
    # Logarithmic: most entries are near 0, and those that tell are few.
    shade = np.where(
        counts > 0, _FAINTEST + (1 - _FAINTEST) * np.log(np.maximum(counts, 1)) / most, 0
    )
    _draw_image(axes, shade.T, _BLUE, (-limit, limit, -limit, limit))
    axes.plot([-limit, limit], [-limit, limit], color=INK, linestyle=(0, (4, 3)), linewidth=1)
    slope = statistics["covariance_slope"]
    if slope is not None:
        ends = np.array([-limit, limit])
        line = counted.mean_own + slope["mean"] * (ends - counted.mean_natural)
        axes.plot(ends, line, color=SERIES[1], linewidth=1.8)
    ticks = {-0.1: "-0.1", 0: "0", 0.1: "+0.1"}  # covariances of shares stay within 0.25
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_xlim(-limit, limit)
    axes.set_ylim(-limit, limit)


def _draw_image(
    axes: "Axes",
    opacity: Float[ndarray, "rows columns"],
    colour: tuple[float, float, float],
    extent: tuple[float, float, float, float],
) -> None:
    """Draw squares of one colour, the first row at the bottom."""
    image = np.empty((*opacity.shape, 4))
    image[..., :3], image[..., 3] = colour, opacity
    axes.imshow(image, extent=extent, origin="lower", interpolation="none", zorder=1)


def _fit_in_words(counted: Mapping[str, Any]) -> str:
    """The correlation with its interval, and the slope."""
    r, slope = counted["covariance_correlation"], counted["covariance_slope"]
    if r is None or slope is None:
        return "no correlation"
    ends = f"{r['low']:.3f} to {r['high']:.3f}"
    return f"r = {r['mean']:.3f} ({ends}), slope {slope['mean']:.2f}"


def _short_fit(panel: str, counted: Mapping[str, Any]) -> str:
    r = counted["covariance_correlation"]
    return panel if r is None else f"{panel}, r = {round(r['mean'], 2) + 0.0:.2f}"


def contact_map(shown: FamilySet, name: str, of: str) -> Plot | None:
    """Known contacts, and the pairs coupled most strongly in the designs and in nature."""
    plots = shown.plots
    if plots is None or plots.contacts is None or "designs" not in plots.sets:
        return None
    figure, axes = _square_axes(plots.num_columns)
    known = plots.contacts | plots.contacts.T
    edge = plots.num_columns + 0.5
    _draw_image(axes, 0.45 * known, _GREY, (0.5, edge, 0.5, edge))
    axes.plot([0.5, edge], [0.5, edge], color=INK, linewidth=0.8)
    found = {}
    for panel in ("designs", "natural"):
        pairs = plots.sets[panel].couplings if panel in plots.sets else None
        if pairs is not None:
            found[panel] = plots.contacts[pairs[:, 0], pairs[:, 1]]
            # Designs below the diagonal, nature above it.
            across, up = pairs.T[::-1] if panel == "designs" else pairs.T
            _draw_pairs(axes, across + 1, up + 1, found[panel])
    axes.set_title("natural sequences above, designs below", loc="left", color=INK, fontsize=10)
    shares = {panel: f"{right.sum()} of {len(right)}" for panel, right in found.items()}
    told = ", ".join(f"{panel}: {share} in contact" for panel, share in shares.items())
    natural = (
        f", and {shares['natural']} in as many natural sequences" if "natural" in shares else ""
    )
    return Plot(
        name=name,
        title=f"Contacts found without a structure{of}",
        svg=inline_svg(figure, name, "Contact map of the family", told),
        legend=[LegendEntry("●", VARIABLES[SERIES[2]], "found, a contact", ""),
                LegendEntry("×", VARIABLES[SERIES[1]], "found, none", ""),
                LegendEntry("■", VARIABLES[NATURAL], "contact in known structures", "")],
        caption="Pairs of positions that touch in known structures are grey; marked are the pairs "
        "that depend on each other most, by the sequences alone: of the designs below the "
        f"diagonal, of nature above it. {shares.get('designs', 'None')} found in the designs are "
        f"contacts{natural}: designs that obey the fold mark the same grey stripes as nature does.",
    )  # fmt: skip


def _square_axes(num_columns: int) -> tuple[Any, "Axes"]:
    figure = new_figure(4.1)
    axes = figure.add_subplot()
    style_axes(axes, "position in the family", "position in the family")
    axes.set_xlim(0.5, num_columns + 0.5)
    axes.set_ylim(0.5, num_columns + 0.5)
    return figure, axes


def _draw_pairs(axes: "Axes", across: ndarray, up: ndarray, is_contact: ndarray) -> None:
    for chosen, marker, colour in ((is_contact, "o", SERIES[2]), (~is_contact, "x", SERIES[1])):
        axes.plot(
            across[chosen], up[chosen], marker, color=colour, markersize=3.6, markeredgewidth=1.2,
            linestyle="none", zorder=3,
        )  # fmt: skip


def identity_histogram(shown: FamilySet, name: str, of: str) -> Plot | None:
    """How near the designs are to nature, over how near natural sequences are to each other."""
    plots = shown.plots
    if plots is None or "designs" not in plots.sets:
        return None
    figure, axes = new_axes("identity to the nearest natural sequence, %", "sequences, %")
    edges = np.linspace(0, 100, IDENTITY_BINS + 1)
    looks: dict[str, dict[str, Any]] = {
        "natural": {"color": NATURAL, "fill": True, "alpha": 0.4},
        "held_out": {"color": NATURAL, "linewidth": 1.5, "linestyle": (0, (4, 2))},
        "designs": {"color": SERIES[0], "linewidth": 2.0},
    }
    legend = {"natural": ("■", NATURAL, "natural, to the others"),
              "held_out": ("┄", NATURAL, "natural, held out"),
              "designs": ("━", SERIES[0], "designs")}  # fmt: skip
    entries, told = [], []
    for panel, look in looks.items():
        if panel in plots.sets and (total := plots.sets[panel].identity_counts.sum()):
            axes.stairs(100 * plots.sets[panel].identity_counts / total, edges, **look)
            glyph, colour, words = legend[panel]
            entries.append(LegendEntry(glyph, VARIABLES[colour], words, f"{total:,}"))
            told.append(f"{words}: mean {100 * _mean(shown, panel):.0f}%")
    axes.axvline(100 * COPY_IDENTITY, color=INK, linestyle=":", linewidth=1.4, zorder=1)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, 100)
    return Plot(
        name=name,
        title=f"How near to nature{of}",
        svg=inline_svg(figure, name, "Identity to the nearest natural sequence", ". ".join(told)),
        legend=entries[::-1],
        caption="How much of each design its nearest natural relative shares, over the same for "
        "natural sequences among the others of the family (grey). Designs further right than "
        f"nature, above all beyond the dotted line at {100 * COPY_IDENTITY:.0f}%, are memory. "
        "Further left is newer: natural sequences have near relatives in the alignment. Whether a "
        "design belongs to the family, its bits say.",
    )


def _mean(shown: FamilySet, panel: str) -> float:
    found = shown.statistics[panel]["nearest_identity"]
    return math.nan if found is None else found["mean"]


def dependence_against_calls(
    sets: Sequence[FamilySet], styles: SeriesStyles, name: str
) -> Plot | None:
    """The correlation of pair covariances of each cell over its calls; None of fewer than two."""
    points = [each for each in sets if _has_point(each)]
    if len(points) < 2:
        return None
    figure, axes = new_axes(CALLS.label, "dependence kept, r")
    axes.set_xscale("log", base=CALLS.base)
    plain_ticks(axes, [_calls_of(each) for each in points], CALLS.base)
    told = []
    cells = [each.cell for each in points if each.cell is not None]
    for series in dict.fromkeys(cell.series for cell in cells):
        line = [each for each in points if each.cell is not None and each.cell.series == series]
        line.sort(key=_calls_of)
        _draw_line(axes, line, *styles[series][:2])
        told += [
            f"{each.title}: {each.statistics['designs']['covariance_correlation']['mean']:.3f}"
            for each in line
        ]
    for control, words in (("natural", "natural, as many"), ("independent", "independent")):
        _draw_control(axes, points, control, words)
    axes.set_ylim(top=1.04)
    return Plot(
        name=name,
        title="Dependence against calls",
        svg=inline_svg(figure, name, "Dependence against calls", ". ".join(told)),
        legend=styles.legend(cells),
        caption="How well pairs of positions vary together as in nature (r, higher is better), "
        "over what a design costs; bars are 95% intervals. The upper grey line is what as many "
        "natural sequences reach, the lower one positions drawn independently: what a point lacks "
        "to the upper one is what its model or its few steps have lost.",
    )


def _has_point(shown: FamilySet) -> bool:
    calls = shown.cell and shown.cell.figures.get("calls")
    counted = shown.statistics.get("designs") or {}
    return bool(calls and calls.mean > 0 and counted.get("covariance_correlation"))


def _calls_of(shown: FamilySet) -> float:
    assert shown.cell is not None
    return shown.cell.figures["calls"].mean


def _draw_line(axes: "Axes", line: Sequence[FamilySet], colour: str, marker: str) -> None:
    found = [each.statistics["designs"]["covariance_correlation"] for each in line]
    means = np.array([each["mean"] for each in found])
    ends = np.array([[each["low"], each["high"]] for each in found]).T
    axes.errorbar(
        [_calls_of(each) for each in line], means, yerr=np.abs(ends - means), color=colour,
        marker=marker, markersize=6, linewidth=1.8, elinewidth=1.3, capsize=3, zorder=3,
    )  # fmt: skip


def _draw_control(axes: "Axes", points: Sequence[FamilySet], control: str, words: str) -> None:
    """A grey line for every level that the control has at the sizes of the sets."""
    found = [(each.statistics.get(control) or {}).get("covariance_correlation") for each in points]
    levels = sorted({round(each["mean"], 3) for each in found if each})
    for level in levels:
        axes.axhline(level, color=NATURAL, linewidth=1.2, zorder=1)
    if levels:
        axes.annotate(
            words, (0.99, levels[-1]), xycoords=("axes fraction", "data"), xytext=(0, 3),
            textcoords="offset points", ha="right", color=NATURAL, fontsize=9,
        )  # fmt: skip
