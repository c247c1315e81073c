"""Render the report: tables in, one HTML text out."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from didi_core import __version__
from didi_core.progress import counted
from didi_protein.reporting.cells import Cell, ReferenceRow, natural_row, references_of
from didi_protein.reporting.designs import (
    best_designs,
    fasta_link,
    order_of_filter,
    ranked_by,
)
from didi_protein.reporting.families import columns_of, family_sections
from didi_protein.reporting.figures import columns_for
from didi_protein.reporting.filters import MOST_SHOWN, FilterOutcome
from didi_protein.reporting.fold_agreement import plddt_of_two_models
from didi_protein.reporting.fold_plots import (
    fold_rule,
    foldable_share,
    plddt_by_length,
    plddt_by_perplexity,
)
from didi_protein.reporting.histograms import score_histograms
from didi_protein.reporting.left_out import left_out_of_plots, left_out_of_table
from didi_protein.reporting.listing import SHOWN_FIRST, list_designs
from didi_protein.reporting.plots import (
    Plot,
    composition_plot,
    length_histogram,
    quality_against_calls,
    quality_against_seconds,
    quality_along_temperatures,
)
from didi_protein.reporting.structures import BANDS
from didi_protein.reporting.styles import SeriesStyles
from didi_protein.reporting.tables import ScoreTable
from didi_protein.reporting.text import cautions, highlights


@dataclass(frozen=True)
class Section:
    """A part of the page, and its place in the menu."""

    anchor: str
    title: str
    template: str


OF_DESIGNS = (
    Section("designs", "Best designs", "designs.html.j2"),
    Section("all-designs", "All designs", "listing.html.j2"),
    Section("filters", "Filters", "filters.html.j2"),
)
OF_SETS = (
    Section("comparison", "Comparison", "comparison.html.j2"),
    Section("plots", "Plots", "plots.html.j2"),
    Section("families", "The family", "families.html.j2"),
)
SCORES = Section("scores", "Scores", "scores.html.j2")
VIEWER = "_3dmol"
"""Folder of the package that holds 3Dmol.js."""


@dataclass(frozen=True)
class PageSettings:
    """What the reader asked for."""

    title: str
    top: int
    """Designs to show."""
    max_repeat: float
    """Largest repeat fraction among them."""
    frontiers: Mapping[str, Any] | None = None
    """What temperatures gave, of `didi_core.evaluation.frontier_record`, by labels of tables."""


def render_page(
    tables: Sequence[ScoreTable],
    cells: Sequence[Cell],
    outcomes: Sequence[FilterOutcome],
    settings: PageSettings,
) -> str:
    """The whole page. Every text from the tables is escaped by the template."""
    references, styles = references_of(tables), SeriesStyles(cells)
    designs = best_designs(cells, settings.top, settings.max_repeat, outcomes)
    listing, histograms = list_designs(tables, outcomes), score_histograms(tables, cells, styles)
    present = {name for cell in cells for name in cell.figures}
    plots = _plots(tables, cells, references, styles, settings.frontiers)
    families = family_sections(tables, cells, styles)
    missing_plots = left_out_of_plots(plots, cells)
    left_out = {
        "plots": not (plots or missing_plots),
        "families": not families,
        "all-designs": not listing.rows,
        "filters": not outcomes,
        "scores": not histograms,
    }
    has_structures = any(design.backbone is not None for design in designs)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=settings.title,
            version=__version__,
            style=Markup(_text_of("_templates", "report.css")),
            scripts=_scripts(has_structures),
            viewer_licence=_text_of(VIEWER, "LICENSE") if has_structures else "",
            cells=cells,
            num_designs=sum(len(cell.designs) for cell in cells),
            columns=columns_for(present),
            references=references,
            highlights=highlights(tables, cells),
            cautions=cautions(tables, cells, references),
            missing_figures=left_out_of_table(present, cells),
            plots=plots,
            missing_plots=missing_plots,
            sections=_sections(cells, outcomes, left_out),
            histograms=histograms,
            listing=listing,
            shown_first=SHOWN_FIRST,
            families=families,
            family_columns=columns_of(families),
            outcomes=outcomes,
            most_shown=MOST_SHOWN,
            designs=designs,
            has_structures=has_structures,
            has_plddt=any(design.backbone and design.backbone.shares for design in designs),
            bands=BANDS,
            ranked_by=ranked_by(cells),
            order_of_filter=order_of_filter(cells, outcomes),
            max_repeat=settings.max_repeat,
            fasta=Markup(fasta_link(designs)),
            provenance=_provenance(tables),
            definitions=_definitions(tables),
            devices=_devices(tables),
        )
    )


def _sections(
    cells: Sequence[Cell], outcomes: Sequence[FilterOutcome], left_out: Mapping[str, bool]
) -> list[Section]:
    """Return the parts of the page in the order in which its reader needs them.

    Who chose designs, or has one set, comes for the designs; who compares sets, for the comparison.

    Args:
        left_out: by anchor, whether a part is empty; of those not named, none is.
    """
    comparison, plots, family = OF_SETS
    order = (*OF_DESIGNS, SCORES, plots, comparison, family)
    if len(cells) > 1 and not outcomes:
        order = (*OF_SETS, *OF_DESIGNS, SCORES)
    return [each for each in order if not left_out.get(each.anchor)]


def _plots(
    tables: Sequence[ScoreTable],
    cells: Sequence[Cell],
    references: Sequence[ReferenceRow],
    styles: SeriesStyles,
    frontiers: Mapping[str, Any] | None,
) -> list[Plot]:
    rule = fold_rule(tables)
    drawn = [
        quality_against_calls(cells, references, styles),
        quality_against_seconds(cells, references, styles),
        quality_along_temperatures(cells, frontiers, styles),
        foldable_share(cells, styles, rule),
        plddt_by_perplexity(cells, references, styles, rule),
        plddt_by_length(cells, styles, rule),
        plddt_of_two_models(cells, styles, rule),
        length_histogram(cells, styles),
        composition_plot(cells, natural_row(references), styles),
    ]
    return [plot for plot in drawn if plot is not None]


def _definitions(tables: Sequence[ScoreTable]) -> dict[str, list[str]]:
    """Figure -> its definitions: one, unless the tables were scored with different settings."""
    merged: dict[str, list[str]] = {}
    for table in tables:
        for name, text in ((table.summary or {}).get("definitions") or {}).items():
            if text not in merged.setdefault(name, []):
                merged[name].append(text)
    return merged


def _provenance(tables: Sequence[ScoreTable]) -> list[dict[str, Any]]:
    """What the tables were scored with; tables scored alike stand together."""
    parts = ("judge", "pseudo", "fold", "embedding", "reference", "training", "versions")
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for table in tables:
        summary = table.summary or {}
        scored_with = tuple((part, _in_words(summary[part])) for part in parts if summary.get(part))
        alike.setdefault(scored_with, []).append(
            f"{table.label} ({counted(len(table.rows), 'record')})"
        )
    return [{"tables": labels, "scored_with": scored_with} for scored_with, labels in alike.items()]


def _devices(tables: Sequence[ScoreTable]) -> dict[str, list[str]]:
    """Machine -> labels of the tables whose designs were made on it."""
    devices: dict[str, list[str]] = {}
    for table in tables:
        if device := (table.timing or {}).get("device"):
            devices.setdefault(device, []).append(table.label)
    return devices


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        pairs = ((key.replace("_", " "), each) for key, each in value.items() if each is not None)
        return ", ".join(f"{key} {each}" for key, each in pairs)
    return str(value)


def _scripts(has_structures: bool) -> list[Markup]:
    """Return the scripts of the page: ours, after 3Dmol.js where there are structures."""
    if not has_structures:
        return [_joined("report.js", "listing.js")]
    viewer = Markup(_text_of(VIEWER, "3Dmol-min.js"))
    return [viewer, _joined("report.js", "listing.js", "structures.js")]


def _joined(*names: str) -> Markup:
    return Markup("\n".join(_text_of("_templates", name) for name in names))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("didi_protein", "_templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["content_hash"] = _content_hash
    return environment


def _text_of(folder: str, name: str) -> str:
    return (files("didi_protein") / folder / name).read_text(encoding="utf-8")


def _content_hash(script: str) -> str:
    """For the page's content security policy: this script may run, and no other."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
