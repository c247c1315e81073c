"""The jobs, each done by the package's own commands and judged by the corpus's judge."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.metering import metered
from benchmarks.side_by_side.corpus import Corpus
from benchmarks.side_by_side.plan import (
    BASELINE,
    CELLS,
    HIGHER,
    LOWER,
    MODELS,
    NUM_SAMPLES,
    RUNS,
    TEMPERATURES,
    Job,
)
from benchmarks.side_by_side.proteins import PROTEINS
from benchmarks.side_by_side.texts import TEXTS
from didi_core.evaluation.frontier import Frontier, FrontierPoint, Level
from didi_core.evaluation.frontier_record import frontier_record, point_record
from didi_core.io.files import write_json
from didi_core.sampling.registry import find_sampler
from didi_core.training.devices import describe_device
from didi_core.training.run_folder import git_revision, package_versions

CORPORA: dict[str, Corpus] = {"protein": PROTEINS, "text": TEXTS}


def run_job(job: Job, data: Path, num: int = NUM_SAMPLES) -> None:
    """Do one job unless its result is there; training goes on where it was stopped."""
    if job.result.exists():
        return
    for name in needed(job):
        if not (job.folder(name) / "config.json").is_file():
            print(f"{name} is not in {RUNS}: it is trained again", file=sys.stderr)
            train(replace(job, kind="train", name=name, steps=0), data, num)
    log = RUNS / "logs" / (job.key.replace("/", ".") + ".seconds")
    with metered(log) as spent:
        record = DO[job.kind](job, data, num)
        seconds = spent()
    job.result.parent.mkdir(parents=True, exist_ok=True)
    facts = {"device": describe_device(torch.device("cpu")), "versions": package_versions()}
    facts["git_revision"] = git_revision()
    write_json(job.result, asdict(job) | record | {"processor_seconds": seconds} | facts)
    log.unlink()  # done again, it would cost what it costs then


def needed(job: Job) -> list[str]:
    """Models that the job works on, each after its teacher; results may be there without them."""
    if job.kind == "natural":
        return []
    own = {"train": [], "bound": [job.name], "sweep": [BASELINE]}[job.kind]
    own += [CELLS[job.name].model] if job.kind == "sweep" else []
    teachers = [MODELS[name].teacher for name in own or [job.name]]
    return list(dict.fromkeys([*filter(None, teachers), *own]))


def train(job: Job, data: Path, num: int) -> dict[str, Any]:
    """A teacher from scratch, or a student of the teacher of its seed."""
    del num
    corpus, model = CORPORA[job.corpus], MODELS[job.name]
    updates = corpus.student_updates if model.teacher else corpus.teacher_updates
    told = [each.format(half=updates // 2) for each in model.overrides]
    if model.teacher is None:
        verb, more = "pretrain", [f"curriculum.steps={updates // 5}", *told]
    else:
        verb, more = "distill", ["reference=data", *told]
        more.append(f"teacher={job.folder(model.teacher)}")
    where = [f"data={data / corpus.train}", f"out={job.folder(job.name)}", "precision=bf16"]
    last = {each.partition("=")[0]: each for each in (*corpus.told[verb], *more)}.values()
    corpus.verbs[verb](*where, *last, f"steps={updates}", f"seed={job.seed}", "resume=true")
    return {"updates": updates, "settings": sorted(last)}


def bound(job: Job, data: Path, num: int) -> dict[str, Any]:
    """The likelihood bound of a teacher on held-out data, and on what it was trained on."""
    del num
    corpus, folder = CORPORA[job.corpus], job.folder(job.name)
    seen = corpus.bound(folder, data / corpus.train)
    return corpus.bound(folder, data / corpus.held_out) | {"training_data": seen}


def sweep(job: Job, data: Path, num: int) -> dict[str, Any]:
    """The frontier of a cell at a number of steps, beside that of the baseline."""
    baseline = trace(job, BASELINE, data, num)
    diversity = next(each for each in baseline.points if each.temperature == 1).diversity.value
    frontiers = [baseline]
    if job.name != BASELINE:
        frontiers.append(trace(job, job.name, data, num, through=diversity))
    level = Level(diversity, f"that of {BASELINE} in as many steps at temperature 1")
    record = frontier_record(frontiers, level, BASELINE, job.seed)
    own = record["frontiers"][job.name]
    return {"equal_diversity": record["equal_diversity"], "baseline": BASELINE, **own}


def trace(job: Job, name: str, data: Path, num: int, through: float | None = None) -> Frontier:
    """Sets of a cell at all temperatures, from the files where they are made.

    Args:
        through: diversity that the curve should reach from both sides; further temperatures are
            tried for it.
    """
    points = [point(job, name, data, num, temperature) for temperature in TEMPERATURES]
    if through is not None:
        for temperature in LOWER:
            if points[0].diversity.value > through:
                points.insert(0, point(job, name, data, num, temperature))
        for temperature in HIGHER:
            if points[-1].diversity.value < through:
                points.append(point(job, name, data, num, temperature))
    cell = CELLS[name]
    settings = {"model": cell.model, "sampler": cell.sampler, "steps": steps_of(job, name)}
    return Frontier(name, tuple(points), settings)


def point(job: Job, name: str, data: Path, num: int, temperature: float) -> FrontierPoint:
    """One set of a cell: made, unless its file is there, and judged."""
    corpus, cell = CORPORA[job.corpus], CELLS[name]
    folder = RUNS / job.corpus / "sets"
    folder.mkdir(parents=True, exist_ok=True)
    steps = steps_of(job, name)
    stem = f"{name.replace(' ', '-')}_{steps or 'any'}_{temperature:g}_{job.seed}"
    out = folder / f"{stem}{corpus.suffix}"
    if not out.exists():
        corpus.generate(
            model=str(job.folder(cell.model)),
            num=num,
            length=corpus.lengths(data / corpus.held_out, folder),
            steps=steps,
            sampler=cell.sampler,
            temperature=temperature,
            seed=100 + job.seed,
            out=out,
            resume=True,
            quiet=True,
        )
    return corpus.judge(out, temperature)


def steps_of(job: Job, name: str) -> int | None:
    """None of autoregressive models: their sets are compared with those of any number."""
    return job.steps if find_sampler(CELLS[name].sampler).takes_steps else None


def natural(job: Job, data: Path, num: int) -> dict[str, Any]:
    """What the judge finds of the corpus: what was trained on, the same shuffled, held out."""
    corpus = CORPORA[job.corpus]
    folder = RUNS / job.corpus / "sets"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for name, source in {
        "trained on": corpus.train,
        "shuffled": corpus.train,
        "held out": corpus.held_out,
    }.items():
        path = folder / f"natural_{name.replace(' ', '-')}{corpus.suffix}"
        count = corpus.write_natural(data / source, path, num, name == "shuffled")
        found[name] = {"n": count, **point_record(corpus.judge(path, 1.0), job.seed)}
    return {"sequences": found}


DO = {"train": train, "bound": bound, "sweep": sweep, "natural": natural}
