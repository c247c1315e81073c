"""The plan of the study: processes, models, and every job by its key.

A key names a job and its result file:

    pairs/truth             entropy and what is known exactly
    pairs/bound             loss of drawing independently, over the number of steps
    pairs/teacher/0/train   the teacher of seed 0;  pairs/dmmd/0/train   a student of it
    pairs/dmmd/0/8          that student's samples in 8 steps, measured
    pairs/dmmd/0/8-late     the same with a variant of the sampler (`VARIANTS`)
    pairs/exact/0/8         the exact conditionals in place of a network
    pairs/process/0/draws   the process's own draws: what a perfect sampler would score
    pairs/frontier/0/8      a sweep of temperatures: the students in 8 steps against the teacher
    pairs/few/0/8           the same of what is to make few calls as good as many, at 8 calls
    pairs/calls/0/8         what won of those, against the many calls that 8, 4 or 2 are to equal
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.exact.models import METHODS, TEACHERS, teacher_of
from benchmarks.exact.paired_families import PairedFamilies
from benchmarks.exact.process import ExactProcess
from benchmarks.exact.profile_families import ProfileFamilies
from benchmarks.exact.variants import VARIANTS, Variant
from didi_core.errors import UserError
from didi_core.sampling.registry import find_sampler

RESULTS = Path(__file__).parents[1] / "results" / "frontier"
RUNS = Path("runs") / "frontier"
"""Weights and training data, relative to where the study is run; not committed."""

PROCESSES: Mapping[str, Callable[[], ExactProcess]] = {
    "profiles": ProfileFamilies,
    "pairs": PairedFamilies,
}

NUM_SAMPLES = 4_096
TEACHER_STEPS = ("8", "16", "64", "limit")


@dataclass(frozen=True)
class Job:
    """One job, named by its key."""

    process: str
    model: str
    """A model, or truth, bound, exact, process; or one of `SWEEPS`."""
    seed: int = 0
    task: str = ""
    """train, draws, a number of steps or limit, with -VARIANT behind it."""

    @property
    def key(self) -> str:
        if not self.task:
            return f"{self.process}/{self.model}"
        return f"{self.process}/{self.model}/{self.seed}/{self.task}"

    @property
    def result(self) -> Path:
        parts = self.key.split("/")
        return RESULTS / parts[0] / (".".join(parts[1:]) + ".json")

    @property
    def is_training(self) -> bool:
        return self.task == "train"

    @property
    def variant(self) -> Variant:
        return VARIANTS[self.task.partition("-")[2]]

    @property
    def steps(self) -> int | None:
        """None for the limit, one token a call."""
        steps = self.task.partition("-")[0]
        return None if steps == "limit" else int(steps)

    @property
    def teacher(self) -> "Job | None":
        """Training of the teacher of a student, of the same seed; None of a teacher."""
        if self.model in TEACHERS:
            return None
        return Job(self.process, teacher_of(self.model), self.seed, "train")

    def model_folder(self, runs: Path = RUNS) -> Path:
        return runs / self.process / f"{self.model}_{self.seed}"

    def needs(self) -> list["Job"]:
        """Jobs that must be done before this one."""
        truth = Job(self.process, "truth")
        if self.model in ("truth", "bound"):
            return []
        if self.model in ("exact", "process"):
            return [truth]
        if self.model in SWEEPS:
            models = dict.fromkeys(name for name, _ in SWEEPS[self.model])
            return [truth, *(Job(self.process, name, self.seed, "train") for name in models)]
        if self.is_training:
            return [] if self.teacher is None else [self.teacher]
        return [truth, Job(self.process, self.model, self.seed, "train")]


SWEEPS = {
    "frontier": [
        ("teacher", "64"),
        ("teacher", "-apart-late"),
        ("didi-paper", ""),
        ("dmmd", ""),
        ("dmmd-long", "-apart"),
    ],
    "few": [
        ("teacher", "limit"),
        ("teacher", "32"),
        ("teacher", ""),
        ("teacher", "-apart-late"),
        ("teacher", "-momentum"),
        ("teacher", "-momentum-late"),
        ("dmmd", "-apart"),
        ("dmmd-renoise", "-renoise"),
        ("mmd", ""),
        ("contrast", ""),
        ("contrast", "-apart-late"),
        ("contrast-two", "half-contrast"),
        ("contrast-two", "half-contrast-apart"),
        ("joint-head", "-late"),
        ("contrast-head", "-late"),
    ],
    "calls": [
        ("teacher", "many"),
        ("teacher", "-apart-late"),
        ("teacher", "-momentum-apart-late"),
        ("joint-head-long", "-momentum-apart-late"),
        ("contrast", "-momentum-apart-late"),
        ("dmmd", "-momentum-apart-late"),
    ],
    "frontier-noise": [("teacher", ""), ("duo", ""), ("dcd", ""), ("dmmd-uniform", "")],
}
"""Temperature sweeps: models with their task, or with a variant of the sweep's own; the first is
the baseline. With `half` a cell has half the sweep's steps, of two calls each; `many` is what so
few calls are to equal."""
MANY = {"8": "limit", "4": "32", "2": "8"}
"""The task that a number of calls is held against."""


def cells_of(sweep: Job) -> list[Job]:
    """Return the cells of a temperature sweep.

    >>> [cell.task for cell in cells_of(Job("pairs", "few", 0, "8"))[:4]]
    ['limit', '32', '8', '8-apart-late']
    >>> cells_of(Job("pairs", "few", 0, "8"))[11].task
    '4-contrast'
    >>> [cell.task for cell in cells_of(Job("pairs", "calls", 0, "4"))[:2]]
    ['32', '4-apart-late']
    """
    cells = []
    for name, task in SWEEPS[sweep.model]:
        if task == "many":
            task = MANY[sweep.task]
        elif task.startswith("half"):
            task = f"{int(sweep.task) // 2}{task.removeprefix('half')}"
        elif not task[:1].isalnum():
            task = sweep.task + task
        cells.append(Job(sweep.process, name, sweep.seed, task))
    return cells


def parse_key(key: str) -> Job:
    """The job of a key.

    Raises:
        UserError: there is none of that key.
    """
    parts = key.split("/")
    if len(parts) not in (2, 4) or parts[0] not in PROCESSES:
        raise UserError(f"job {key}: expected PROCESS/truth or PROCESS/MODEL/SEED/TASK.")
    job = Job(*parts) if len(parts) == 2 else Job(parts[0], parts[1], int(parts[2]), parts[3])
    known = (*METHODS, *TEACHERS, *SWEEPS, "truth", "bound", "exact", "process")
    if job.model not in known:
        raise UserError(f"job {key}: no model {job.model}; there are {', '.join(known)}.")
    if job.model == "calls" and job.task not in MANY:
        raise UserError(f"job {key}: calls are {', '.join(MANY)}.")
    if len(parts) == 4 and job.task not in ("train", "draws"):
        name = job.task.partition("-")[2]
        if name not in VARIANTS:
            raise UserError(f"job {key}: no variant {name}; there are {', '.join(VARIANTS)}.")
        _require_sampler(job)
    return job


def _require_sampler(job: Job) -> None:
    """Refuse a sampler that does not draw what the job is to draw."""
    sampler = "first-hitting" if job.steps is None else job.variant.sampler
    if job.model == "exact" and job.variant.sampler != "ancestral":
        raise UserError(
            f"job {job.key}: exact conditionals are drawn by the ancestral sampler alone."
        )
    if job.model in (*METHODS, *TEACHERS):
        noise = TEACHERS[job.model if job.teacher is None else job.teacher.model].noise
        if noise not in find_sampler(sampler).processes:
            raise UserError(f"job {job.key}: {sampler} draws no {noise} model.")


def quick() -> list[Job]:
    """Both processes, the teacher, the paper's recipe and the default, 8 and 16 calls, one seed."""
    return [job for process in PROCESSES for job in _process_jobs(process, 0, METHODS_QUICK)]


METHODS_QUICK = ("didi-paper", "dmmd")


def full() -> list[Job]:
    """Three seeds; also DiDi-Instruct with a small model's rates, and longer students."""
    methods = (*METHODS_QUICK, "didi")
    jobs = [
        job
        for seed in range(3)
        for process in PROCESSES
        for job in _process_jobs(process, seed, methods)
    ]
    long = ("8", "16", "8-apart", "16-apart")
    jobs += [
        Job(process, "dmmd-long", seed, task)
        for seed in range(3)
        for process in PROCESSES
        for task in long
    ]
    jobs += [Job(process, "frontier", seed, "8") for seed in range(3) for process in PROCESSES]
    jobs += [Job(process, "teacher", 0, "8-float32") for process in PROCESSES]
    return jobs


DUALITY_CELLS = {
    "teacher": ("", "-remdm"),
    "dmmd": ("",),
    "didi-paper": ("",),
    "didi": ("",),
    "sdtt": ("",),
    "sdtt-fast": ("",),
    "duo": ("", "-greedy-tail", "-psi"),
    "dcd": ("",),
    "dcd-fast": ("", "-greedy-tail"),
    "dmmd-uniform": ("",),
}
"""Masked and uniform-state models, with the variants by which they are drawn."""


def duality() -> list[Job]:
    """Noise processes, their samplers and their students side by side; three seeds."""
    jobs = [
        Job("profiles", model, seed, f"{steps}{variant}")
        for seed in range(3)
        for steps in (8, 16, 32)
        for model, variants in DUALITY_CELLS.items()
        for variant in variants
    ]
    jobs += [Job("profiles", "duo-gaussian", seed, "train") for seed in range(3)]
    jobs += [Job("profiles", "frontier-noise", seed, "8") for seed in range(3)]
    return [Job("profiles", "process", 0, "draws"), *jobs]


def _process_jobs(process: str, seed: int, methods: tuple[str, ...]) -> list[Job]:
    jobs = [Job(process, "truth"), Job(process, "process", seed, "draws")]
    if seed == 0:
        exact = [Job(process, "exact", 0, task) for task in ("8", "16", "8-late", "16-late")]
        jobs += [Job(process, "bound"), *exact]
    jobs += [Job(process, "teacher", seed, task) for task in (*TEACHER_STEPS, "8-late", "16-late")]
    jobs += [Job(process, method, seed, task) for method in methods for task in ("8", "16")]
    return jobs


def few() -> list[Job]:
    """What is to make few calls as good as many, at equal diversity, one seed; what won, three."""
    tried = [Job(process, "few", 0, steps) for steps in ("8", "4") for process in PROCESSES]
    won = [
        Job(process, "calls", seed, steps)
        for seed in range(3)
        for steps in MANY
        for process in PROCESSES
    ]
    return tried + won


def with_needs(jobs: list[Job]) -> list[Job]:
    """The jobs and all that they need, each once, what is needed first."""
    ordered: dict[str, Job] = {}

    def add(job: Job) -> None:
        for needed in job.needs():
            add(needed)
        ordered.setdefault(job.key, job)

    for job in jobs:
        add(job)
    return list(ordered.values())


def describe(job: Job) -> dict[str, Any]:
    """The job in its result file."""
    return {"key": job.key, "process": job.process, "model": job.model, "seed": job.seed} | (
        {"task": job.task} if job.task else {}
    )
