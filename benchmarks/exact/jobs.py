"""Run one job of the study and write its JSON."""

import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.exact.factorisation import bound_record
from benchmarks.exact.measures import (
    DATA_SEEDS,
    KMER,
    Truth,
    measure_samples,
    truth_of,
    truth_record,
)
from benchmarks.exact.models import TEACHERS
from benchmarks.exact.process import ExactProcess
from benchmarks.exact.sampling import SampleSet, lengths_of, sample_exact, sample_model
from benchmarks.exact.study import (
    FRONTIER_CELLS,
    NUM_SAMPLES,
    PROCESSES,
    RUNS,
    Job,
    describe,
)
from benchmarks.exact.training import train_student, train_teacher
from didi_core.evaluation.frontier import trace_frontier
from didi_core.evaluation.frontier_record import frontier_record
from didi_core.evaluation.ratio import PooledKmerEntropy, Ratio
from didi_core.files import write_json
from didi_core.training.run_folder import git_revision, package_versions

BOUND_STEPS = (1, 2, 4, 8, 16, 32)
BOUND_SEQUENCES = 256
FRONTIER_SAMPLES = 2_048
TEMPERATURES = (0.7, 0.8, 0.9, 1.0)
"""At 1 every model here is more varied than the process: all curves reach its diversity below."""


def run_job(job: Job, runs: Path = RUNS) -> None:
    """Do the job, unless its result is there; what it needs must be done."""
    if job.result.exists() and not (job.is_training and not is_trained(job, runs)):
        return
    torch.set_flush_denormal(True)
    with _metered(job, runs) as spent:
        record = {"job": describe(job), **_work(job, runs)}
    record["cost"] = {
        **record.get("cost", {}),
        "core_minutes_of_job": spent() / 60,
        "threads": torch.get_num_threads(),
    }
    record["machine"] = platform.machine()
    record["versions"] = package_versions()
    record["git_revision"] = git_revision()
    write_json(job.result, record)


@contextmanager
def _metered(job: Job, runs: Path) -> Iterator[Callable[[], float]]:
    """Adds the processor time of the block to a file of the job, also when it is interrupted.

    Yields a function that gives the seconds of all the job's runs so far.
    """
    path = runs / "logs" / (job.key.replace("/", ".") + ".seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    used = time.process_time()
    try:
        yield lambda: sum(map(float, path.read_text(encoding="utf-8").split()))
    finally:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(f"{time.process_time() - used:.3f}\n")


def is_trained(job: Job, runs: Path = RUNS) -> bool:
    """Whether the weights of a training job are on this machine."""
    return (job.model_folder(runs) / "config.json").exists()


def _work(job: Job, runs: Path) -> dict[str, Any]:
    process = PROCESSES[job.process]()
    if job.model == "truth":
        return {"truth": truth_record(truth_of(process))}
    if job.model == "bound":
        return bound_record(process, BOUND_STEPS, (1.0, 2.0), BOUND_SEQUENCES)
    if job.is_training:
        train = train_teacher if job.model in TEACHERS else train_student
        return {"training": train(job, runs)}
    if job.model == "frontier":
        return _frontier(job, process, runs)
    truth = read_truth(job.process)
    if job.model == "process":
        draws = process.sample(NUM_SAMPLES, 7_000_003 + job.seed).sequences
        return {"figures": measure_samples(process, truth, draws)}
    drawn = _draw(job, process, runs, NUM_SAMPLES)
    figures = measure_samples(process, truth, drawn.sequences)
    return {"settings": _settings(job, drawn), "figures": figures, "cost": _cost(drawn)}


def read_truth(process: str) -> Truth:
    """What the truth job found."""
    stored = json.loads(Job(process, "truth").result.read_text(encoding="utf-8"))
    return Truth(**stored["truth"])


def _draw(
    job: Job, process: ExactProcess, runs: Path, count: int, temperature: float = 1.0
) -> SampleSet:
    lengths = lengths_of(process, count)
    if job.model == "exact":
        return sample_exact(process, lengths, job.steps, job.seed, job.variant)
    folder = job.model_folder(runs)
    return sample_model(folder, lengths, job.steps, job.seed, job.variant, temperature)


def _settings(job: Job, drawn: SampleSet) -> dict[str, Any]:
    settings = drawn.settings
    return {
        "steps": settings.steps,
        "sampler": "first-hitting" if settings.steps is None else job.variant.sampler,
        "reveal_exponent": settings.reveal_exponent,
        "temperature": settings.draw.temperature,
        "draws": settings.draw.precision,
        "network_precision": "exact" if job.model == "exact" else job.variant.precision,
        "variant": asdict(job.variant),
    }


def _cost(drawn: SampleSet) -> dict[str, float]:
    return {
        "mean_nfe": drawn.mean_calls,
        "mean_discriminator_calls": drawn.mean_discriminator_calls,
        "core_minutes_of_sampling": drawn.core_minutes,
    }


def _frontier(job: Job, process: ExactProcess, runs: Path) -> dict[str, Any]:
    """Students at the job's steps against the teacher at 64, at the process's own diversity."""
    entropy = PooledKmerEntropy(KMER, process.num_tokens)

    def judge(sequences: list[np.ndarray]) -> Ratio:
        lengths = np.array([len(each) for each in sequences], dtype=float)
        return Ratio(-process.log_prob(sequences), lengths)

    cells = [Job(job.process, "teacher", job.seed, "64")]
    cells += [
        Job(job.process, name, job.seed, job.task + variant)
        for name, variant in FRONTIER_CELLS.items()
    ]
    frontiers = []
    for cell in cells:

        def draw(temperature: float, cell: Job = cell) -> list[np.ndarray]:
            return _draw(cell, process, runs, FRONTIER_SAMPLES, temperature).sequences

        name = f"{cell.model}, {cell.steps} steps, {cell.variant.sampler}"
        settings = {"key": cell.key, "network_precision": cell.variant.precision}
        frontiers.append(
            trace_frontier(
                name, draw, TEMPERATURES, judge, entropy, settings | {"draws": "float64"}
            )
        )
    data = process.sample(FRONTIER_SAMPLES, DATA_SEEDS[0]).sequences
    own = entropy(data).value
    record = frontier_record(frontiers, own, baseline=frontiers[0].name)
    return {"diversity": entropy.label, "truth": [own, judge(data).value], "frontier": record}
