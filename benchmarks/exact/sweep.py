"""A temperature sweep of the study: models at few steps against one of them."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks.exact.measures import DATA_SEEDS, KMER, Truth, measure_samples, nll_of
from benchmarks.exact.process import ExactProcess
from benchmarks.exact.sampling import SampleSet
from benchmarks.exact.study import Job, cells_of
from didi_core.evaluation.frontier import Frontier, Level, trace_frontier
from didi_core.evaluation.frontier_record import frontier_record
from didi_core.evaluation.ratio import PooledKmerEntropy

NUM_SAMPLES: Mapping[str, int] = {"calls": 4_096}
"""Of a set; of other sweeps `FEWER`."""
FEWER = 2_048
TEMPERATURES = (0.7, 0.8, 0.9, 1.0)
"""At 1 every model here is more varied than the process: all curves reach its diversity below."""
FEW_TEMPERATURES = (0.8, 0.9, 1.0, 1.1)
"""Contrast leaves some models less varied than the process at 1."""
LADDER = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
"""Tried one after the other, from 0.9, until two neighbours lie about the process's diversity."""
GUARDS = ("family_tv", "broken_above_true")
"""What a lower temperature may cost beside diversity; kept of every set."""

Draw = Callable[[Job, float], SampleSet]
"""Samples of a cell at a temperature."""


def sweep(job: Job, process: ExactProcess, truth: Truth, draw: Draw) -> dict[str, Any]:
    """The curves of all cells, each compared with the first at the process's own diversity."""
    data = process.sample(NUM_SAMPLES.get(job.model, FEWER), DATA_SEEDS[0]).sequences
    entropy = PooledKmerEntropy(KMER, process.num_tokens)
    own = entropy(data)
    traced = []
    for cell in cells_of(job):
        drawn = cache(partial(draw, cell))
        temperatures: Sequence[float] = FEW_TEMPERATURES if job.model == "few" else TEMPERATURES
        if job.model == "calls":
            temperatures = climbed(lambda t, of=drawn: entropy(of(t).sequences).value, own.value)
        traced.append(_trace(cell, process, truth, drawn, temperatures))
    frontiers = [frontier for frontier, _ in traced]
    assert len({each.name for each in frontiers}) == len(frontiers), "cells of one name"
    level = Level(own, "that of the process's own draws")
    record = frontier_record(frontiers, level, baseline=frontiers[0].name)
    for frontier, guards in traced:
        found = record["frontiers"][frontier.name]
        for point in found["points"]:
            point |= guards[point["temperature"]]
        found["at_equal_diversity"] = at_level(found["points"], own.value)
    return {
        "diversity": entropy.label,
        "truth": [own.value, nll_of(process, data).value],
        "frontier": record,
    }


def climbed(diversity: Callable[[float], float], level: float) -> list[float]:
    """Return the rungs of the ladder that were tried until two neighbours lie about a level.

    >>> climbed(lambda temperature: 10 * temperature, 7.5)
    [0.9, 0.8, 0.7]
    >>> climbed(lambda temperature: 10 * temperature, 9.0)
    [0.9, 0.8]
    """
    rung = LADDER.index(0.9)
    first = diversity(LADDER[rung]) >= level
    tried = [LADDER[rung]]
    step = -1 if first else 1
    while 0 <= rung + step < len(LADDER):
        rung += step
        tried.append(LADDER[rung])
        if (diversity(LADDER[rung]) >= level) != first:
            break
    return tried


def named(cell: Job) -> str:
    """Return what a cell's curve is called: by its steps and all that its variant changes.

    >>> named(Job("pairs", "teacher", 0, "limit")), named(Job("pairs", "dmmd", 0, "8-apart"))
    ('teacher, limit', 'dmmd, 8 steps, apart')
    """
    if cell.steps is None:
        return f"{cell.model}, limit"
    variant = cell.task.partition("-")[2] or cell.variant.sampler
    return f"{cell.model}, {cell.steps} steps, {variant}"


def at_level(points: list[dict[str, Any]], level: float) -> dict[str, float] | None:
    """Return temperature, guards and calls where the diversity passes `level`.

    All are straight in temperature between two neighbouring sets; None where no two lie about it.

    >>> cold = {"temperature": 0.8, "diversity": {"mean": 1.0}, "broken": 0.1}
    >>> warm = {"temperature": 1.0, "diversity": {"mean": 3.0}, "broken": 0.3}
    >>> {name: round(value, 3) for name, value in at_level([cold, warm], 1.5).items()}
    {'temperature': 0.85, 'broken': 0.15}
    """

    def value(point: dict[str, Any], name: str) -> float:
        found = point[name]
        return float(found["mean"] if isinstance(found, dict) else found)

    for cold, warm in itertools.pairwise(sorted(points, key=lambda each: each["temperature"])):
        low, high = value(cold, "diversity"), value(warm, "diversity")
        if (low - level) * (high - level) <= 0 and low != high:
            share = (level - low) / (high - low)
            names = [name for name in cold if name not in ("diversity", "nll")]
            return {n: value(cold, n) + share * (value(warm, n) - value(cold, n)) for n in names}
    return None


def _trace(
    cell: Job,
    process: ExactProcess,
    truth: Truth,
    draw: Callable[[float], SampleSet],
    temperatures: Sequence[float],
) -> tuple[Frontier, dict[float, dict[str, Any]]]:
    """A cell's curve, and its guards and calls by temperature."""
    guards: dict[float, dict[str, Any]] = {}

    def draw_and_guard(temperature: float) -> list[np.ndarray]:
        drawn = draw(temperature)
        found = measure_samples(process, truth, drawn.sequences)
        kept = {name: found[name] for name in GUARDS if name in found}
        guards[temperature] = kept | {
            "mean_nfe": drawn.mean_calls,
            "mean_head_passes": drawn.mean_head_passes,
            "core_minutes": drawn.core_minutes,
        }
        return drawn.sequences

    frontier = trace_frontier(
        named(cell),
        draw_and_guard,
        temperatures,
        lambda sequences: nll_of(process, sequences),
        PooledKmerEntropy(KMER, process.num_tokens),
        {"key": cell.key, "network_precision": cell.variant.precision, "draws": "float64"},
    )
    return frontier, guards
