"""From score tables to the cells a report compares.

A cell is one way of making designs: a model, a sampler and a number of steps. Where a table holds
exactly one cell, its figures are those of `NAME.summary.json`, as `score` computed them; where it
holds several, or the summary is missing, what the rows allow is computed here, in the same way,
and the rest (recall needs sequences that the table does not hold) stays empty.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from didi_core.models.hub_names import may_be_hub_id
from didi_core.sampling.sampler_options import sampler_label
from didi_protein.reporting.figures import (
    Estimate,
    figures_from_rows,
    figures_from_summary,
    figures_of_curve,
    means_of_rows,
)
from didi_protein.reporting.tables import ScoreTable
from didi_protein.scoring.length_bins import OWN_LENGTHS, mean_row
from didi_protein.scoring.natural_range import NaturalRange, natural_ranges_of
from didi_protein.scoring.own_shuffles import foreign_to_judge
from didi_protein.scoring.set_measures import FEWEST_REFERENCES
from didi_protein.scoring.table import are_designs

PLAIN_SAMPLER = "ancestral"  # of every model that has a limit


LIMIT_SAMPLER = "first-hitting"  # one call a token: what the model can do at its best


# Names alone: where the samplers are defined all of them are imported, and a report needs none.
OPTIONS = "header_sampler_options"
"""Column of what the sampler was given."""


@dataclass(frozen=True)
class Cell:
    """One model, sampler and number of steps.

    Attributes:
        model: name in the FASTA header (its last folder, of a path), or the table's label where
            the header names none.
        sampler: name in the header, with its options where it was given any, or "".
        steps: steps asked for; None where the header states none (first-hitting takes none).
        source: label of the table it was read from.
        table: path of that table.
        designs: the scored rows (status ok).
        num_records: all rows, failed ones too.
        figures: figure name -> estimate; names are those of `reporting.figures`.
        recomputed: whether the figures come from the rows rather than from the summary.
        shares_settings: whether another cell has the same model, sampler and steps.
        judges_itself: whether its model is also the judge, which finds its own designs likely.
        foreign: why the judge cannot rank these designs, in words; None where it can.
        natural: where natural sequences lie, by score, as far as the summary knows.
    """

    model: str
    sampler: str
    steps: int | None
    source: str
    table: Path
    designs: pd.DataFrame
    num_records: int
    figures: dict[str, Estimate]
    recomputed: bool
    shares_settings: bool = False
    judges_itself: bool = False
    foreign: str | None = None
    natural: Mapping[str, NaturalRange] = field(default_factory=dict)

    @property
    def is_limit(self) -> bool:
        return self.sampler == LIMIT_SAMPLER

    @property
    def steps_label(self) -> str:
        """In a plot."""
        if self.is_limit:
            return "limit"
        return "–" if self.steps is None else str(self.steps)

    @property
    def series(self) -> tuple[str, str]:
        """What one line of a plot joins: a model with one sampler."""
        return self.model, self.sampler


def cells_of(tables: Iterable[ScoreTable]) -> list[Cell]:
    """All cells, models with their limit measured (teachers) first, then by steps."""
    cells = [cell for table in tables for cell in _cells_of_table(table)]
    cells = _mark_shared(_shorten_paths(cells))
    with_limit = {cell.model for cell in cells if cell.is_limit}

    def order(cell: Cell) -> tuple[bool, str, bool, str, float, str]:
        steps = float("inf") if cell.steps is None else cell.steps
        is_student = cell.model not in with_limit
        return is_student, cell.model, cell.is_limit, cell.sampler, steps, cell.source

    return sorted(cells, key=order)


def at_equal_diversity(cells: Sequence[Cell], frontiers: Mapping[str, Any] | None) -> list[Cell]:
    """The cells with their judge NLL at equal diversity, and what that is less the baseline's.

    Args:
        frontiers: of `didi_core.evaluation.frontier_record`, by the sources of the cells.
    """
    curves = {} if frontiers is None else frontiers["frontiers"]
    return [
        replace(cell, figures=cell.figures | figures_of_curve(curves.get(cell.source) or {}))
        for cell in cells
    ]


def _shorten_paths(cells: Sequence[Cell]) -> list[Cell]:
    """A model given as a path goes by its last folder, where no other model is called so."""
    short = {cell.model: _last_folder(cell.model) for cell in cells}
    taken = Counter(short.values())
    return [
        replace(cell, model=short[cell.model]) if taken[short[cell.model]] == 1 else cell
        for cell in cells
    ]


def _last_folder(model: str) -> str:
    """The folder's name of `/runs/student` or `./student`; a hub id stays whole."""
    return model if may_be_hub_id(model) else PurePath(model).name or model


def _mark_shared(cells: Sequence[Cell]) -> list[Cell]:
    counts = Counter((cell.series, cell.steps) for cell in cells)
    return [replace(cell, shares_settings=counts[cell.series, cell.steps] > 1) for cell in cells]


def _cells_of_table(table: ScoreTable) -> Iterator[Cell]:
    groups, natural = list(_groups(table)), natural_ranges_of(table.summary)
    for (model, sampler, steps), rows in groups:
        designs = rows[rows["status"] == "ok"]
        summary = table.summary if len(groups) == 1 and _summarises(table) else None
        if summary is None:
            figures = figures_from_rows(designs, _has_reference(table))
        else:
            figures = figures_from_summary(summary.get("set") or {})
        figures |= means_of_rows(designs)
        if len(groups) == 1 and table.timing is not None:
            figures |= _time_figures(table.timing)
        yield Cell(
            model=model or table.label,
            sampler=sampler,
            steps=steps,
            source=table.label,
            table=table.path,
            designs=designs,
            num_records=len(rows),
            figures=figures,
            recomputed=summary is None,
            judges_itself=_last_folder(model or table.label) == _judge_of(table),
            foreign=foreign_to_judge(table.summary),
            natural=natural,
        )


def _judge_of(table: ScoreTable) -> str | None:
    """The judge's name as models are called here; None where nothing was judged."""
    name = ((table.summary or {}).get("judge") or {}).get("name")
    return None if name is None else _last_folder(name)


def _summarises(table: ScoreTable) -> bool:
    """Whether the summary is there and is of this very table, not of an earlier one."""
    return table.summary is not None and table.summary.get("num_records") == len(table.rows)


def _has_reference(table: ScoreTable) -> bool:
    """Whether the rows were compared with enough natural sequences, even where none is near."""
    column = "nearest_reference_identity"
    stated = (table.summary or {}).get("reference")
    if stated is not None:  # of a handful of natural sequences the shares are chance
        return bool(stated["num_sequences"] >= FEWEST_REFERENCES)
    return bool(table.rows[column].notna().any())


def _groups(table: ScoreTable) -> Iterator[tuple[tuple[str, str, int | None], pd.DataFrame]]:
    """Rows by model, sampler and steps. A row that states none of them is a group of its own.

    Natives, which an inverse folder was given, are no designs and left out.
    """
    rows = table.rows[are_designs(table.rows)].copy()
    for name in ("model", "sampler"):
        rows[name] = rows.get(name, "")
    if OPTIONS in rows:
        pairs = zip(rows["sampler"], rows[OPTIONS].fillna("").astype(str), strict=True)
        rows["sampler"] = [sampler_label(sampler, options) for sampler, options in pairs]
    rows["steps"] = rows.get("steps", float("nan"))
    for (model, sampler, steps), group in rows.groupby(
        ["model", "sampler", "steps"], dropna=False, sort=False
    ):
        yield (model, sampler, None if pd.isna(steps) else int(steps)), group


def _time_figures(timing: dict[str, Any]) -> dict[str, Estimate]:
    """Seconds and discriminator calls a design, from `NAME.generate.json`."""
    num_designs = timing.get("num_designs") or 0
    if not num_designs:
        return {}
    totals = {"seconds": timing.get("seconds"), "discriminator": timing.get("discriminator_calls")}
    return {
        f"{name}_per_design": Estimate(total / num_designs)
        for name, total in totals.items()
        if total is not None
    }


# The rows that frame a comparison: natural sequences, and the same residues shuffled.

# Key in the summary -> title in the table, title in the plot ("" where it is not drawn).
TITLES = {
    "natural_held_out": ("Natural sequences, held out", "natural, held out"),
    "natural_training": ("Natural sequences, training", ""),
    "residue_shuffled": ("The same residues, shuffled", "shuffled"),
}


@dataclass(frozen=True)
class ReferenceRow:
    """Figures of sequences that are not designs.

    Attributes:
        key: natural_held_out, natural_training or residue_shuffled.
        title: what the table calls it; names the score table where several disagree.
        num_sequences: how many sequences the figures rest on.
        figures: figure name -> estimate, as in a cell.
        composition: share of each residue; empty where the summary holds none.
    """

    key: str
    title: str
    num_sequences: int
    figures: dict[str, Estimate]
    composition: dict[str, float] = field(default_factory=dict)

    @property
    def short_title(self) -> str:
        return TITLES[self.key][1]


def references_of(tables: Sequence[ScoreTable]) -> list[ReferenceRow]:
    """The distinct reference rows of all summaries: usually every table repeats the same ones."""
    rows = []
    for key, (title, _) in TITLES.items():
        distinct = _distinct_rows(tables, key)
        for label, row in distinct:
            full_title = title if len(distinct) == 1 else f"{title} ({label})"
            full_title += "" if row.get(OWN_LENGTHS, True) else ", of other lengths"
            rows.append(
                ReferenceRow(
                    key=key,
                    title=full_title,
                    num_sequences=int(row["n"]),
                    figures=_without_cost(figures_from_summary(row)),
                    composition=row.get("residue_composition") or {},
                )
            )
    return rows


def _without_cost(figures: dict[str, Estimate]) -> dict[str, Estimate]:
    return {name: each for name, each in figures.items() if name != "calls"}  # nobody drew these


def _distinct_rows(tables: Sequence[ScoreTable], key: str) -> list[tuple[str, dict]]:
    """(label of the first table that has it, row), each different row once.

    Shuffles of a table's own designs differ in every table: they become one row.
    """
    found: dict[str, tuple[str, dict]] = {}
    for table in tables:
        row = ((table.summary or {}).get("reference_rows") or {}).get(key)
        if row:
            found.setdefault(json.dumps(row, sort_keys=True), (table.label, row))
    own = [row for _, row in found.values() if row.get(OWN_LENGTHS)]
    if key == "residue_shuffled" and len(found) > 1 and len(own) == len(found):
        return [("", mean_row(own, [row["n"] for row in own]))]
    return list(found.values())


def natural_row(references: Sequence[ReferenceRow]) -> ReferenceRow | None:
    """The row designs are held against: held-out natural sequences, else training ones."""
    natural = [row for row in references if row.key != "residue_shuffled"]
    return natural[0] if natural else None
