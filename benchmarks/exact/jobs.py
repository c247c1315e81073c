"""Run one job of the study and write its JSON."""

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.exact import sweep
from benchmarks.exact.factorisation import bound_record
from benchmarks.exact.measures import Truth, measure_samples, truth_of, truth_record
from benchmarks.exact.models import TEACHERS
from benchmarks.exact.process import ExactProcess
from benchmarks.exact.sampling import SampleSet, lengths_of, sample_exact, sample_model
from benchmarks.exact.study import NUM_SAMPLES, PROCESSES, RUNS, SWEEPS, Job, describe
from benchmarks.exact.training import train_student, train_teacher
from benchmarks.metering import metered
from didi_core.io.files import write_json
from didi_core.training.run_folder import git_revision, package_versions

BOUND_STEPS = (1, 2, 4, 8, 16, 32)
BOUND_SEQUENCES = 256


def run_job(job: Job, runs: Path = RUNS) -> None:
    """Do the job, unless its result is there; what it needs must be done."""
    if job.result.exists() and not (job.is_training and not is_trained(job, runs)):
        return
    torch.set_flush_denormal(True)
    log = runs / "logs" / (job.key.replace("/", ".") + ".seconds")
    with metered(log) as spent:
        record = {"job": describe(job), **_work(job, runs)}
        minutes = spent() / 60
    record["cost"] = {
        **record.get("cost", {}),
        "core_minutes_of_job": minutes,
        "threads": torch.get_num_threads(),
    }
    record["machine"] = platform.machine()
    record["versions"] = package_versions()
    record["git_revision"] = git_revision()
    write_json(job.result, record)
    log.unlink()  # done again, it would cost what it costs then


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
    truth = read_truth(job.process)
    if job.model in SWEEPS:
        count = sweep.NUM_SAMPLES.get(job.model, sweep.FEWER)
        return sweep.sweep(
            job, process, truth, lambda cell, t: _draw(cell, process, runs, count, t)
        )
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
        "mean_head_passes": drawn.mean_head_passes,
        "core_minutes_of_sampling": drawn.core_minutes,
    }
