"""The sweep of a benchmark's temperatures: judge NLL of every cell at equal entropy.

A lower temperature lowers the perplexity of any model. What compares is the NLL where the curves
that the temperatures trace pass one entropy: that of natural text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from didi_core.commands.comparison_frontier import MODELS_OWN, reading_of
from didi_core.evaluation.frontier import Frontier, FrontierPoint, Level
from didi_core.evaluation.frontier_record import frontier_record, interval_columns
from didi_core.evaluation.ratio import Ratio
from didi_text.benchmark_cells import CellRunner
from didi_text.benchmark_study import Cell, Study
from didi_text.benchmark_table import Row
from didi_text.text_measures import BIGRAMS


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
        reference: the cell that the others are subtracted from.
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
                points.append(point_of(each.temperature, found["quality"], runner.tokens(each)))
        settings = {"model": cell.model, "sampler": cell.sampler, "steps": cell.steps}
        frontiers.append(Frontier(cell.name, tuple(points), settings))
    missing = tuple(f"No figures of {name}: {reason}" for name, reason in failed.items())
    if reference not in cells:
        why = f"Nothing is compared at equal entropy: {reference.name} has no figures."
        return Sweeps(None, failed, (*missing, why))
    known = runner.opened.natural
    natural = known.level([str(i) for i in range(runner.options.num)]) if known else None
    record = compare_frontiers(frontiers, reference.name, runner.options.seed, natural)
    return Sweeps(record, failed, (*missing, *reading_of(record)))


def point_of(
    temperature: float,
    quality: Mapping[str, Any],
    ids: Sequence[Sequence[int]] | None = None,
) -> FrontierPoint:
    """One set on the curve of its cell.

    Args:
        ids: tokens of its samples, for the entropy of their 2-grams.
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
        ngrams=BIGRAMS.where_known(ids) if ids else None,
    )


def compare_frontiers(
    frontiers: Sequence[Frontier], reference: str, seed: int, natural: Level | None = None
) -> dict[str, Any]:
    """The record of frontiers, compared at the entropy of natural text.

    Where none is known, at that of `reference` at temperature 1.
    """
    if natural is not None:
        return frontier_record(frontiers, natural, reference, seed)
    curve = next(each for each in frontiers if each.name == reference)
    own = next(point for point in curve.points if point.temperature == 1)
    ngrams = own.ngrams and own.ngrams.value
    level = Level(own.diversity.value, MODELS_OWN.format(reference), ngrams)
    return frontier_record(frontiers, level, reference, seed)


def add_comparison(rows: Sequence[Row], cells: Sequence[Cell], record: Mapping[str, Any]) -> None:
    """Fill the columns at equal entropy of the rows of `cells`, where they have a curve."""
    for row, cell in zip(rows, cells, strict=True):
        if cell.name not in record["frontiers"]:
            continue
        found = record["frontiers"][cell.name]
        row["equal_entropy"] = record["equal_diversity"]
        row |= interval_columns("nll_at_equal_entropy", found["nll_at_equal_diversity"])
        row |= interval_columns("difference_at_equal_entropy", found["minus_baseline"])
        bigrams, beside = found["ngrams_at_equal_diversity"], found["at_equal_ngrams"] or {}
        row["bigram_entropy_at_equal_entropy"] = bigrams and bigrams["mean"]
        row["equal_bigram_entropy"] = record["equal_ngrams"]
        row |= interval_columns("nll_at_equal_bigram_entropy", beside.get("nll"))
        row |= interval_columns("difference_at_equal_bigram_entropy", beside.get("minus_baseline"))
