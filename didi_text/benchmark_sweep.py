"""The sweep of a benchmark's temperatures: judge NLL of every cell at equal entropy.

A lower temperature lowers the perplexity of any model. What compares is the NLL where the curves
that the temperatures trace pass one entropy: that of the reference cell at temperature 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from didi_core.evaluation.frontier import Frontier, FrontierPoint
from didi_core.evaluation.frontier_record import frontier_record, interval_columns
from didi_core.evaluation.ratio import Ratio
from didi_text.benchmark_cells import CellRunner
from didi_text.benchmark_study import Cell, Study
from didi_text.benchmark_table import Row


@dataclass(frozen=True)
class Sweeps:
    """What the temperatures gave."""

    record: dict[str, Any] | None
    """Of `frontier_record`, frontiers by the names of cells; None where nothing is compared."""
    failed: dict[str, str] = field(default_factory=dict)
    """Sets without figures, and why."""
    notes: tuple[str, ...] = ()


def sweep_cells(
    study: Study,
    cells: Sequence[Cell],
    reference: Cell,
    runner: CellRunner,
    announce: Callable[[Cell], None],
) -> Sweeps:
    """Sample and judge every cell at every temperature, and compare where entropies are equal.

    Args:
        cells: those with figures at temperature 1, which are on file.
        reference: the cell whose entropy counts, and that the others are subtracted from.
        announce: told of each set before it is made.
    """
    if len(study.temperatures) == 1:
        return Sweeps(None)
    frontiers, failed = [], {}
    for cell in cells:
        points = []
        for each in sorted((cell, *study.heated(cell)), key=lambda each: each.temperature):
            if each != cell:
                announce(each)
            found = runner.find(each)
            if isinstance(found, str):
                failed[each.name] = found
            else:
                points.append(point_of(each.temperature, found["quality"]))
        settings = {"model": cell.model, "sampler": cell.sampler, "steps": cell.steps}
        frontiers.append(Frontier(cell.name, tuple(points), settings))
    missing = tuple(f"No figures of {name}: {reason}" for name, reason in failed.items())
    if reference not in cells:
        why = f"Nothing is compared at equal entropy: {reference.name} has no figures."
        return Sweeps(None, failed, (*missing, why))
    record = compare_frontiers(frontiers, reference.name, runner.options.seed)
    return Sweeps(record, failed, (*missing, _note(record, study)))


def point_of(temperature: float, quality: Mapping[str, Any]) -> FrontierPoint:
    """One set on the curve of its cell.

    Args:
        quality: figures of `measure_samples`. The NLL weights every scored token alike, as the
            table's does; samples without a token have no entropy and are left out of its mean.
    """
    tokens = np.array(quality["per_sample_tokens"], dtype=np.float64)
    nats = np.array(quality["per_sample_nats"], dtype=np.float64)  # None becomes NaN
    entropy = np.array(quality["per_sample_entropy"], dtype=np.float64)
    return FrontierPoint(
        temperature,
        nll=Ratio(np.nan_to_num(nats) * tokens, tokens),
        diversity=Ratio(np.nan_to_num(entropy), (~np.isnan(entropy)).astype(np.float64)),
    )


def compare_frontiers(frontiers: Sequence[Frontier], reference: str, seed: int) -> dict[str, Any]:
    """The record of frontiers, compared at the entropy of `reference` at temperature 1."""
    curve = next(each for each in frontiers if each.name == reference)
    own_law = next(point for point in curve.points if point.temperature == 1)
    return frontier_record(frontiers, own_law.diversity.value, reference, seed)


def add_comparison(rows: Sequence[Row], cells: Sequence[Cell], record: Mapping[str, Any]) -> None:
    """Fill the columns at equal entropy of the rows of `cells`, where they have a curve."""
    for row, cell in zip(rows, cells, strict=True):
        if cell.name not in record["frontiers"]:
            continue
        found = record["frontiers"][cell.name]
        row["equal_entropy"] = record["equal_diversity"]
        for column, key in (
            ("nll_at_equal_entropy", "nll_at_equal_diversity"),
            ("difference_at_equal_entropy", "minus_baseline"),
        ):
            row |= interval_columns(column, found[key])


def _note(record: Mapping[str, Any], study: Study) -> str:
    temperatures = ", ".join(f"{each:g}" for each in study.temperatures)
    return (
        f"At equal entropy: nats a token where a cell's curve over temperatures {temperatures} "
        f"passes {record['equal_diversity']:.3f} nats, the entropy of {record['baseline']} at "
        "temperature 1, and what it has more than that cell there (pairs of samples; 95% "
        "intervals, bootstrap). Empty where a sweep does not reach that entropy."
    )
