"""The sweep of a benchmark's temperatures: judge NLL of every cell at equal entropy.

A lower temperature lowers the perplexity of any model. What compares is the NLL where the curves
that the temperatures trace pass one entropy: that of natural text.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from didi_core.commands.comparing.cells import LIMIT_SAMPLER
from didi_core.commands.comparing.study import label_of
from didi_core.commands.comparing.sweep import MODELS_OWN, reading_of
from didi_core.evaluation.frontier import Frontier, FrontierPoint, Level, paired_difference_of
from didi_core.evaluation.frontier_record import frontier_record, interval_columns
from didi_core.evaluation.ratio import Ratio
from didi_text.benchmarking.cells import CellRunner
from didi_text.benchmarking.study import AUTOREGRESSIVE, Cell, Study
from didi_text.benchmarking.table import Row
from didi_text.samples.measures import BIGRAMS


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


# Paired differences of a benchmark: each model less its teacher, at equal steps and at its limit.
#
# Sample i of two cells is the same request with the same random numbers, and varies much as its
# partner does. Their difference is therefore known better than two intervals side by side suggest.

NAME = "{first} - {second}"
"""How a pair of cells is called in `benchmark.json`."""


def pairs_of(study: Study, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """Cells that are subtracted: the first model is the teacher, the others its students.

    Each cell of a student is paired with the teacher at as many steps, and with its limit. The same
    model with another sampler counts as a student. Baselines have no steps in common with anything.
    """
    name, sampler = study.models[0][0], str(study.models[0][1])
    teacher, limit = label_of(name), Cell(label_of(name), LIMIT_SAMPLER, None)
    for cell in cells:
        if cell.sampler == AUTOREGRESSIVE or cell == limit:
            continue
        is_teacher = (cell.model, cell.sampler) == (teacher, sampler)
        others = [limit] if is_teacher else [Cell(teacher, sampler, cell.steps), limit]
        yield from ((cell, other) for other in others if other in cells)


def nll_differences(
    study: Study, qualities: Mapping[Cell, Mapping[str, Any]], seed: int
) -> dict[str, dict[str, float]]:
    """Nats a token of one cell less those of another, with 95% intervals over pairs of samples.

    Args:
        qualities: figures of `measure_samples` of the cells that have some. Every scored token
            counts alike, as in the table; a pair of which one sample was not scored is left out.

    Returns:
        `FIRST - SECOND` -> mean, low, high and the number of pairs; below 0 the first is better.
    """
    found = {}
    for first, second in pairs_of(study, list(qualities)):
        ratios = _paired_nll(qualities[first], qualities[second])
        if ratios is None:
            continue
        name = NAME.format(first=first.name, second=second.name)
        interval = paired_difference_of(*ratios, seed=seed)
        found[name] = interval.as_dict() | {"pairs": len(ratios[0])}
    return found


def _paired_nll(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Ratio, Ratio] | None:
    """Nats over tokens of the samples that both cells have scored; None without one."""
    nats, tokens = (
        np.array([each[f"per_sample_{key}"] for each in (first, second)], dtype=np.float64)
        for key in ("nats", "tokens")
    )
    known = ~np.isnan(nats).any(axis=0)
    if not known.any():
        return None
    one, two = (
        Ratio(mean[known] * counts[known], counts[known])
        for mean, counts in zip(nats, tokens, strict=True)
    )
    return one, two
