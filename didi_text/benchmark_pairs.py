"""Paired differences of a benchmark: each model less its teacher, at equal steps and at its limit.

Sample i of two cells is the same request with the same random numbers, and varies much as its
partner does. Their difference is therefore known better than two intervals side by side suggest.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from didi_core.commands.comparison_cells import LIMIT_SAMPLER
from didi_core.commands.study import label_of
from didi_core.evaluation.frontier import paired_difference_of
from didi_core.evaluation.ratio import Ratio
from didi_text.benchmark_study import AUTOREGRESSIVE, Cell, Study

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
