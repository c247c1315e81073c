"""Every row of a comparison at several temperatures, and all of them at equal diversity.

A lower temperature makes any model's sequences likelier and more alike. What compares is the judge
NLL where the curves that the temperatures trace pass one diversity.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core.commands.comparison_cells import Cell, ScoredCell
from didi_core.commands.comparison_table import table_of
from didi_core.errors import UserError
from didi_core.evaluation.frontier import Frontier, FrontierPoint
from didi_core.evaluation.frontier_plot import plot_frontiers
from didi_core.evaluation.frontier_record import frontier_record, interval_columns, write_frontiers


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
        """With `frontier.json` in `out`, and the figure where the extra `report` is installed.

        Where nothing compares, those of an earlier run are removed.
        """
        path = out / "frontier.json"
        for earlier in (path, path.with_suffix(".png")):
            earlier.unlink(missing_ok=True)
        if self.record is None:
            return self
        write_frontiers(path, self.record)
        with suppress(UserError):  # no extra `report`
            plot_frontiers(self.record, path.with_suffix(".png"), label)
        return replace(self, path=path)


def baseline_of(scored: Sequence[ScoredCell], teacher: str) -> Cell | None:
    """What the others are subtracted from: the teacher's limit, or its plain row of most steps.

    Its other samplers are no reference: the variety of a greedy tail, for one, may be nothing.
    None where the teacher has neither.
    """
    cells = [each.cell for each in scored if each.cell.model == teacher]
    plain = [cell for cell in cells if cell.steps is None or cell.is_plain]
    return max(plain, key=lambda cell: (cell.steps is None, cell.steps or 0), default=None)


def sweep_of(
    sets: Sequence[MeasuredSet], baseline: Cell | None, diversity: float | None, seed: int
) -> Sweep:
    """All curves, compared at one diversity.

    They rest on the sequences that were judged in every set, so that they are paired; a set of
    which less than half was judged is left out.

    Args:
        diversity: where they are compared; that of `baseline` at temperature 1 where None.
    """
    if baseline is None:
        return Sweep(None, ("Nothing compares at equal entropy: the teacher has no row.",))
    most = max(len(each.ids) for each in sets)
    kept = [each for each in sets if each.ids and len(each.ids) >= most / 2]
    notes = [
        f"{each.cell.name}: {len(each.ids)} of {most} could be judged: it is on no curve."
        for each in sets
        if each not in kept
    ]
    ids = sorted(frozenset.intersection(*(each.ids for each in kept))) if kept else []
    points = [each for each in kept if each.cell == baseline]
    if not ids or not points:
        why = f"{baseline.name} is on no curve" if ids else "no sequence was judged in every set"
        return Sweep(None, (*notes, f"Nothing compares at equal entropy: {why}."))
    if len(ids) < most:
        notes.append(f"Curves rest on the {len(ids)} sequences that were judged in every set.")
    at = points[0].point(ids).diversity.value if diversity is None else diversity
    record = frontier_record(_frontiers(kept, ids), at, baseline.name, seed)
    return Sweep(record, (*notes, _reading(record)))


def _frontiers(sets: Sequence[MeasuredSet], ids: Sequence[str]) -> list[Frontier]:
    """The curves, called by their cells at temperature 1."""
    curves: dict[Cell, list[FrontierPoint]] = {}
    for each in sorted(sets, key=lambda each: each.cell.temperature):
        curves.setdefault(each.cell.at(1.0), []).append(each.point(ids))
    return [
        Frontier(
            cell.name,
            tuple(points),
            {"model": cell.model, "sampler": cell.label, "steps": cell.steps},
        )
        for cell, points in curves.items()
    ]


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
            row |= interval_columns(column, curve and curve[key])
    return table_of(rows)
