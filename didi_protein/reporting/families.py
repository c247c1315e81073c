"""The section "The family, counted": what tables that were scored with a family say of it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from didi_core.errors import UserError
from didi_protein.families.plot_data import FamilyPlotData
from didi_protein.families.statistics import SETS
from didi_protein.reporting.cells import Cell
from didi_protein.reporting.family_plots import (
    FamilySet,
    contact_map,
    covariance_density,
    dependence_against_calls,
    identity_histogram,
)
from didi_protein.reporting.figures import Column, decimals, figures_of_set, percent
from didi_protein.reporting.plots import Plot
from didi_protein.reporting.styles import SeriesStyles
from didi_protein.reporting.tables import ScoreTable
from didi_protein.reporting.text import name_of
from didi_protein.sequences.bundled import FAMILIES

MOST_DRAWN = 3
"""Sets whose covariances, contacts and identities are drawn on one page."""

INTRO = (
    "{num_natural:,} natural sequences over {num_columns:,} positions, counted without any "
    "network. Read each figure beside the rows in italics: natural sequences, as many, are what a "
    "perfect model reaches, and positions drawn independently of each other what a model without "
    "any dependence reaches."
)

COLUMNS = (
    Column(
        "covariance_correlation",
        "Dependence, r",
        "natural",
        "Whether positions that vary together in nature vary together in the designs: 1 is as in "
        "all of nature, 0 is positions drawn independently of each other. It falls with few "
        "sequences, so compare it with natural sequences of the same number, one row below.",
        decimals(3),
        to=" to ",
    ),
    Column(
        "covariance_slope",
        "Strength, slope",
        "natural",
        "How strongly they vary together: 1 is as strongly as in nature, 0.5 half as strongly.",
        decimals(2),
        to=" to ",
    ),
    Column(
        "contact_precision",
        "Contacts",
        "natural",
        "The share of true contacts among the pairs of positions that depend on each other most in "
        "the set, found without knowing the structure. High: the designs obey the fold.",
        percent,
    ),
    Column(
        "site_correlation",
        "Residues by position, r",
        "natural",
        "Whether each position by itself has nature's residues. Independent positions reach 1: it "
        "says nothing of how positions fit together.",
        decimals(3),
        to=" to ",
    ),
    Column(
        "nearest_identity",
        "Identity to nature",
        "natural",
        "The mean identity of a sequence to the natural one most like it.",
        percent,
    ),
    Column(
        "copies",
        "Copies of nature",
        "natural",
        "The share at least 95% identical to a natural sequence. Natural ones have near relatives "
        "too: more than they have is memory.",
        percent,
    ),
    Column(
        "pairwise_identity",
        "Likeness of each other",
        "natural",
        "The mean identity of two sequences of the set. Higher than nature's: less variety.",
        percent,
    ),
)


@dataclass(frozen=True)
class FamilyRow:
    """A row of the section's table."""

    title: str
    n: int
    n_given: int
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class FamilyGroup:
    """Sets of one size, and the natural sequences and controls of that size."""

    sets: list[FamilyRow]
    controls: list[FamilyRow]


@dataclass(frozen=True)
class FamilySection:
    """All that the page says of one family."""

    title: str
    intro: str
    groups: list[FamilyGroup]
    columns: list[Column]
    plots: list[list[Plot]]
    """In rows, one of each set."""
    warnings: list[str]


def family_sections(
    tables: Sequence[ScoreTable], cells: Sequence[Cell], styles: SeriesStyles
) -> list[FamilySection]:
    """Return a section for each family that tables were held against, in their order.

    Raises:
        UserError: a summary whose data for plots are damaged.
    """
    by_file: dict[str, list[FamilySet]] = {}
    for table in tables:
        own = [cell for cell in cells if cell.table == table.path]
        for file, record in table.families.items():
            by_file.setdefault(file, []).append(_set_of(table, own, file, record))
    num_drawn = sum(each.plots is not None for sets in by_file.values() for each in sets)
    return [
        _section(number, file, sets, styles, draw=num_drawn <= MOST_DRAWN)
        for number, (file, sets) in enumerate(by_file.items())
    ]


def columns_of(sections: Sequence[FamilySection]) -> list[Column]:
    """Return the columns that some section has, to be explained once."""
    shown = {column.name for section in sections for column in section.columns}
    return [column for column in COLUMNS if column.name in shown]


def _set_of(
    table: ScoreTable, cells: Sequence[Cell], file: str, record: Mapping[str, Any]
) -> FamilySet:
    plain, plots = record.get("plots"), None
    if plain is not None:
        try:
            plots = FamilyPlotData.from_dict(plain)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise UserError(
                f"INPUT {table.path}: what is to be drawn of the family {file} is damaged in its "
                "summary; write it again with score --family."
            ) from error
    cell = cells[0] if len(cells) == 1 else None
    title = table.label if cell is None else name_of(cell)
    return FamilySet(title, cell, record["statistics"], plots)


def _section(
    number: int, file: str, sets: Sequence[FamilySet], styles: SeriesStyles, *, draw: bool
) -> FamilySection:
    groups = list(_groups(sets))
    rows = [row for group in groups for row in (*group.sets, *group.controls)]
    present = {name for row in rows for name in row.figures}
    name = family_name(file)
    drawn = [[dependence_against_calls(sets, styles, f"family-{number}-calls")]]
    for place, each in enumerate(sets if draw else ()):
        drawn.append(_plots_of(each, f"family-{number}-{place}", several=len(sets) > 1))
    plots = [[plot for plot in row if plot is not None] for row in drawn]
    counted = [each.statistics for each in sets if each.statistics.get("designs")]
    intro = f"{name}: " + (INTRO.format(**counted[0]) if counted else "nothing to count.")
    if not draw:
        intro += (
            f" What pairs of positions, contacts and identities look like is drawn where a page "
            f"holds at most {MOST_DRAWN} sets: report one table alone."
        )
    return FamilySection(
        title=name,
        intro=intro,
        groups=groups,
        columns=[column for column in COLUMNS if column.name in present],
        plots=[row for row in plots if row],
        warnings=list(dict.fromkeys(_warnings(sets))),
    )


def _plots_of(shown: FamilySet, name: str, *, several: bool) -> list[Plot | None]:
    if shown.plots is None:
        return []
    of = f": {shown.title}" if several else ""
    return [
        covariance_density(shown, f"{name}-covariances", of),
        contact_map(shown, f"{name}-contacts", of),
        identity_histogram(shown, f"{name}-identities", of),
    ]


def family_name(file: str) -> str:
    """What a family is called: a bundled one by what it is, a file by its bare name.

    >>> family_name("PF00595"), family_name("data/sh3.aligned.fasta.gz")
    ('PDZ domains (PF00595)', 'sh3')
    """
    if file in FAMILIES:
        return f"{FAMILIES[file]} ({file})"
    return Path(file).name.split(".")[0] or file


def _groups(sets: Sequence[FamilySet]) -> Iterator[FamilyGroup]:
    """Sets by the number of their sequences, each with controls of the same number."""
    by_size: dict[int, list[FamilySet]] = {}
    for each in sets:
        if each.statistics.get("designs"):
            by_size.setdefault(each.statistics["designs"]["n"], []).append(each)
    titles = (
        "Natural sequences",
        "Independent positions",
        "Natural sequences, held out",
    )
    for alike in by_size.values():
        first = alike[0].statistics
        controls = [
            _row(title, first[name])
            for name, title in zip(SETS[1:], titles, strict=True)
            if first.get(name)
        ]
        yield FamilyGroup(
            [_row(each.title, each.statistics["designs"]) for each in alike], controls
        )


def _row(title: str, counted: Mapping[str, Any]) -> FamilyRow:
    names = [column.name for column in COLUMNS]
    return FamilyRow(title, counted["n"], counted["n_given"], figures_of_set(counted, names))


def _warnings(sets: Sequence[FamilySet]) -> Iterator[str]:
    """What the statistics warn of: once where sets differ by numbers alone, with one of them."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for each in sets:
        reason = each.statistics.get("reason")
        said = [f"No statistics: {reason}."] if reason else []
        for warning in (*said, *(each.statistics.get("warnings") or ())):
            without_numbers = re.sub(r"\d[\d.,]*", "#", warning)
            alike.setdefault(without_numbers, []).append((each.title, warning))
    for found in alike.values():
        title, warning = found[0]
        if len(sets) == 1:
            yield warning
        elif len(found) == 1:
            yield f"{title}: {warning}"
        else:
            yield f"In {len(found)} of {len(sets)} sets, as in {title}: {warning}"
