"""A temperature sweep of the study: models at few steps against one of them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.exact.measures import DATA_SEEDS, KMER, Truth, measure_samples, nll_of
from benchmarks.exact.process import ExactProcess
from benchmarks.exact.sampling import SampleSet
from benchmarks.exact.study import SWEEPS, Job
from didi_core.evaluation.frontier import Frontier, Level, trace_frontier
from didi_core.evaluation.frontier_record import frontier_record
from didi_core.evaluation.ratio import PooledKmerEntropy

NUM_SAMPLES = 2_048
TEMPERATURES = (0.7, 0.8, 0.9, 1.0)
"""At 1 every model here is more varied than the process: all curves reach its diversity below."""
GUARDS = ("family_tv", "broken_above_true")
"""What a lower temperature may cost beside diversity; kept of every set."""

Draw = Callable[[Job, float], SampleSet]
"""Samples of a cell at a temperature."""


def sweep(job: Job, process: ExactProcess, truth: Truth, draw: Draw) -> dict[str, Any]:
    """The curves of all cells, each compared with the first at the process's own diversity."""
    cells = [
        Job(job.process, name, job.seed, task if task[:1].isdigit() else job.task + task)
        for name, task in SWEEPS[job.model]
    ]
    traced = [_trace(cell, process, truth, draw) for cell in cells]
    frontiers = [frontier for frontier, _ in traced]
    data = process.sample(NUM_SAMPLES, DATA_SEEDS[0]).sequences
    entropy = PooledKmerEntropy(KMER, process.num_tokens)
    own = entropy(data)
    level = Level(own, "that of the process's own draws")
    record = frontier_record(frontiers, level, baseline=frontiers[0].name)
    for frontier, guards in traced:
        for point in record["frontiers"][frontier.name]["points"]:
            point |= guards[point["temperature"]]
    return {
        "diversity": entropy.label,
        "truth": [own.value, nll_of(process, data).value],
        "frontier": record,
    }


def _trace(
    cell: Job, process: ExactProcess, truth: Truth, draw: Draw
) -> tuple[Frontier, dict[float, dict[str, Any]]]:
    """A cell's curve, and its guards and calls by temperature."""
    guards: dict[float, dict[str, Any]] = {}

    def draw_and_guard(temperature: float) -> list[np.ndarray]:
        drawn = draw(cell, temperature)
        found = measure_samples(process, truth, drawn.sequences)
        kept = {name: found[name] for name in GUARDS if name in found}
        guards[temperature] = kept | {"mean_nfe": drawn.mean_calls}
        return drawn.sequences

    frontier = trace_frontier(
        f"{cell.model}, {cell.steps} steps, {cell.variant.sampler}",
        draw_and_guard,
        TEMPERATURES,
        lambda sequences: nll_of(process, sequences),
        PooledKmerEntropy(KMER, process.num_tokens),
        {"key": cell.key, "network_precision": cell.variant.precision, "draws": "float64"},
    )
    return frontier, guards
