"""Every row of a comparison at several temperatures, and all of them at equal diversity.

A lower temperature makes any model's sequences likelier and more alike. What compares is the judge
NLL where the curves that the temperatures trace pass one diversity.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core.commands.comparison_cells import Cell, ScoredCell
from didi_core.commands.comparison_table import table_of
from didi_core.errors import UserError
from didi_core.evaluation.frontier import Frontier, FrontierPoint
from didi_core.evaluation.frontier_plot import plot_frontiers
from didi_core.evaluation.frontier_record import frontier_record
from didi_core.files import write_json


@dataclass(frozen=True)
class MeasuredSet:
    """What the sequences of a cell put on its curve."""

    cell: Cell
    ids: frozenset[str]
    """Of the sequences that were judged."""
    point: Callable[[Sequence[str]], FrontierPoint]
    """The set's place by the sequences of these ids alone, in this order."""


@dataclass(frozen=True)
class Sweep:
    """What the temperatures gave."""

    record: Mapping[str, Any] | None = None
    """Of `frontier_record`, by the names of cells at temperature 1; None where none compare."""
    notes: tuple[str, ...] = ()
    path: Path | None = None

    def written(self, out: Path, label: str) -> "Sweep":
        """With `frontier.json` in `out`, and the figure where the extra `report` is installed."""
        if self.record is None:
            return self
        path = out / "frontier.json"
        write_json(path, dict(self.record))
        try:
            plot_frontiers(self.record, path.with_suffix(".png"), label)
        except UserError:
            path.with_suffix(".png").unlink(missing_ok=True)  # of an earlier run
        return replace(self, path=path)


def baseline_of(scored: Sequence[ScoredCell], teacher: str) -> Cell:
    """What the others are subtracted from: the teacher's limit, or its row of most steps."""
    cells = [each.cell for each in scored if each.cell.model == teacher]
    return max(cells, key=lambda cell: (cell.steps is None, cell.steps or 0))


def sweep_of(
    sets: Sequence[MeasuredSet], baseline: Cell, diversity: float | None, seed: int
) -> Sweep:
    """All curves, compared at one diversity.

    They rest on the sequences that were judged in every set that has any, so that they are paired.

    Args:
        diversity: where they are compared; that of `baseline` at temperature 1 where None.
    """
    without = [each.cell.name for each in sets if not each.ids]
    notes = [f"{name} has no figures, and no place on a curve." for name in without]
    curves = _curves([each for each in sets if each.ids])
    own = [point for point in curves.get(baseline, ()) if point.temperature == 1]
    if not own:
        notes.append(f"Nothing compares at equal entropy: {baseline.name} has no figures.")
        return Sweep(None, tuple(notes))
    frontiers = [
        Frontier(
            cell.name,
            tuple(points),
            {"model": cell.model, "sampler": cell.sampler, "steps": cell.steps},
        )
        for cell, points in curves.items()
    ]
    at = own[0].diversity.value if diversity is None else diversity
    record = frontier_record(frontiers, at, baseline.name, seed)
    return Sweep(record, (*notes, _reading(record)))


def _curves(judged: Sequence[MeasuredSet]) -> dict[Cell, list[FrontierPoint]]:
    """Points by rising temperature, by their cells at temperature 1."""
    common = frozenset.intersection(*(each.ids for each in judged)) if judged else frozenset()
    curves: dict[Cell, list[FrontierPoint]] = {}
    for each in sorted(judged, key=lambda each: each.cell.temperature) if common else ():
        curves.setdefault(each.cell.at(1.0), []).append(each.point(sorted(common)))
    return curves


def _reading(record: Mapping[str, Any]) -> str:
    return (
        f"Equal entropy: judge NLL where a row's curve over the temperatures passes "
        f"{record['equal_diversity']:.3f} nats of entropy, less that of {record['baseline']} "
        "there, with its 95% interval; empty where a curve does not pass it."
    )


def add_columns(
    table: pd.DataFrame, scored: Sequence[ScoredCell], record: Mapping[str, Any]
) -> pd.DataFrame:
    """The table with each row's NLL at equal diversity, and what that is less the baseline's."""
    rows = table.to_dict("records")
    for row, each in zip(rows, scored, strict=True):
        curve = record["frontiers"].get(each.cell.name)
        row["equal_diversity"] = None if curve is None else record["equal_diversity"]
        for column, key in (
            ("nll_at_equal_diversity", "nll_at_equal_diversity"),
            ("difference_at_equal_diversity", "minus_baseline"),
        ):
            interval = (curve and curve[key]) or {}
            row[column] = interval.get("mean")
            row |= {f"{column}_{end}": interval.get(end) for end in ("low", "high")}
    return table_of(rows)
