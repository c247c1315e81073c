"""Every row of a comparison at several temperatures, and all of them at equal diversity.

A lower temperature makes any model's sequences likelier and more alike. What compares is the judge
NLL where the curves that the temperatures trace pass one diversity: that of natural data.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core.commands.comparing.cells import Cell, ScoredCell
from didi_core.commands.comparing.table import table_of
from didi_core.errors import UserError
from didi_core.evaluation.frontier import Frontier, FrontierPoint, Level
from didi_core.evaluation.frontier_plot import plot_frontiers
from didi_core.evaluation.frontier_record import (
    COPIES,
    frontier_record,
    interval_columns,
    write_frontiers,
)


@dataclass(frozen=True)
class MeasuredSet:
    """What the sequences of a cell put on its curve."""

    cell: Cell
    ids: frozenset[str]
    """Of the sequences that were judged."""
    point: Callable[[Sequence[str]], FrontierPoint]
    """The set's place by the sequences of these ids alone, in this order."""


@dataclass(frozen=True)
class Natural:
    """Natural data, whose diversity the curves are compared at."""

    level: Callable[[Sequence[str]], Level]
    """Their diversity beside sequences of these ids, of as many where it depends on the number."""
    ids: frozenset[str] | None = None
    """Sequences that have a natural one of their length; None where all may count."""


@dataclass(frozen=True)
class Sweep:
    """What the temperatures gave."""

    record: Mapping[str, Any] | None = None
    """Of `frontier_record`, by the names of cells at temperature 1; None where none compare."""
    notes: tuple[str, ...] = ()
    path: Path | None = None
    frontiers: tuple[Frontier, ...] = ()
    """The curves of the record."""

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
    sets: Sequence[MeasuredSet],
    baseline: Cell | None,
    diversity: float | None,
    natural: Natural | None,
    seed: int,
) -> Sweep:
    """All curves, compared at one diversity.

    They rest on the sequences that were judged in every set, so that they are paired; a set of
    which less than half was judged is left out.

    Args:
        diversity: where they are compared; that of natural data where None. A number is of sets of
            all sequences that were judged.
        natural: without them, that of `baseline` at temperature 1.
    """
    natural = natural if diversity is None else None
    if baseline is None:
        return Sweep(None, ("Nothing compares at equal entropy: the teacher has no row.",))
    most = max((len(each.ids) for each in sets), default=0)
    kept = [each for each in sets if each.ids and len(each.ids) >= most / 2]
    notes = [
        f"{each.cell.name}: {len(each.ids)} of {most} could be judged: it is on no curve."
        for each in sets
        if each not in kept
    ]
    judged = frozenset.intersection(*(each.ids for each in kept)) if kept else frozenset()
    ids = sorted(judged if natural is None or natural.ids is None else judged & natural.ids)
    points = [each for each in kept if each.cell == baseline]
    if not ids or not points:
        why = f"{baseline.name} is on no curve" if ids else _why_none(judged)
        return Sweep(None, (*notes, f"Nothing compares at equal entropy: {why}."))
    if len(judged) < most:
        notes.append(f"Curves rest on the {len(judged)} sequences that were judged in every set.")
    if len(ids) < len(judged):
        notes.append(f"Curves rest on {len(ids)} sequences: as many have a natural one as long.")
    level = _level(points[0], ids, diversity, natural)
    frontiers = tuple(_frontiers(kept, ids))
    record = frontier_record(frontiers, level, baseline.name, seed)
    return Sweep(record, (*notes, *reading_of(record)), frontiers=frontiers)


def _why_none(judged: frozenset[str]) -> str:
    if judged:
        return "no natural sequence is as long as one of these"
    return "no sequence was judged in every set"


def _level(
    baseline: MeasuredSet, ids: Sequence[str], diversity: float | None, natural: Natural | None
) -> Level:
    """Where curves are compared: as asked for, at natural data, else at the baseline itself."""
    if diversity is not None:
        return Level(diversity, "--diversity")
    if natural is not None:
        return natural.level(ids)
    own = baseline.point(ids)
    ngrams = own.ngrams and own.ngrams.value
    return Level(own.diversity.value, MODELS_OWN.format(baseline.cell.name), ngrams)


def _frontiers(sets: Sequence[MeasuredSet], ids: Sequence[str]) -> list[Frontier]:
    """The curves, called by their cells at temperature 1."""
    curves: dict[Cell, list[FrontierPoint]] = {}
    for each in sets:
        curves.setdefault(each.cell.at(1.0), []).append(each.point(ids))
    return [
        Frontier(
            cell.name,
            tuple(sorted(points, key=lambda point: point.temperature)),
            {"model": cell.model, "sampler": cell.label, "steps": cell.steps},
        )
        for cell, points in curves.items()
    ]


def reading_of(record: Mapping[str, Any], flag: str = "--reference") -> list[str]:
    """How curves at equal diversity are to be read, and which do not reach it.

    Args:
        flag: what names natural data.
    """
    level, at = record["level"], record["equal_diversity"]
    spread = level["diversity"]
    width = f" ({spread['low']:.3f} to {spread['high']:.3f}, n={level['n']})" if spread else ""
    notes = [
        f"Equal entropy: judge NLL where a curve over the temperatures passes {at:.3f} nats "
        f"of entropy{width}, {level['source']}, less that of {record['baseline']} there, with its "
        "95% interval, in which the entropy compared at is resampled where it was measured."
    ]
    if level["source"] == MODELS_OWN.format(record["baseline"]):
        notes.append(
            f"That is a model's own entropy, not nature's: give {flag} with as many natural "
            "sequences as long."
        )
    if record["equal_ngrams"] is not None:
        notes.append(
            f"Equal n-grams: the same at {record['equal_ngrams']:.3f} nats of the pooled entropy "
            "of longer n-grams. Where the two disagree in sign, neither settles it."
        )
    if out_of_reach := _out_of_reach(record):
        notes.append(f"Not reached: {'; '.join(out_of_reach)}.")
    return [*notes, COPIES]


MODELS_OWN = "that of {} at temperature 1"


def _out_of_reach(record: Mapping[str, Any]) -> list[str]:
    """Curves that do not pass the diversity compared at, and which temperatures may reach it."""
    found = []
    for name, curve in record["frontiers"].items():
        if curve["nll_at_equal_diversity"] is not None:
            continue
        reached = [point["diversity"]["mean"] for point in curve["points"]]
        side = "lower" if min(reached) > record["equal_diversity"] else "higher"
        ends = f"{min(reached):.3f} to {max(reached):.3f}"
        found.append(f"{name} has {ends} nats, {side} temperatures may reach it")
    return found


def add_columns(
    table: pd.DataFrame, scored: Sequence[ScoredCell], record: Mapping[str, Any]
) -> pd.DataFrame:
    """The table with the columns of `columns_of` of each row that has a curve."""
    rows = table.to_dict("records")
    for row, each in zip(rows, scored, strict=True):
        row |= columns_of(each.cell, record)
    return table_of(rows)


def columns_of(
    cell: Cell, record: Mapping[str, Any], diversity: str = "diversity", ngrams: str = "ngram"
) -> dict[str, Any]:
    """A cell's NLL at equal diversity, and what that is less the baseline's; none without a curve.

    Beside it the same at equal entropy of longer n-grams.

    Args:
        diversity: what the columns call it.
        ngrams: what they call longer n-grams.
    """
    curve = record["frontiers"].get(cell.name)
    if curve is None:
        return {}
    at, beside = f"equal_{diversity}", f"equal_{ngrams}_entropy"
    there, found = curve["ngrams_at_equal_diversity"], curve["at_equal_ngrams"] or {}
    return {
        at: record["equal_diversity"],
        **interval_columns(f"nll_at_{at}", curve["nll_at_equal_diversity"]),
        **interval_columns(f"difference_at_{at}", curve["minus_baseline"]),
        f"{ngrams}_entropy_at_{at}": there and there["mean"],
        beside: record["equal_ngrams"],
        **interval_columns(f"nll_at_{beside}", found.get("nll")),
        **interval_columns(f"difference_at_{beside}", found.get("minus_baseline")),
    }
