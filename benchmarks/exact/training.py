"""Train a teacher on a process's draws and distil students of it, by the package's own verbs.

Both continue from their last checkpoint when they were interrupted.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.exact.models import METHODS, TEACHERS, UPDATES
from benchmarks.exact.process import Ranks
from benchmarks.exact.study import PROCESSES, Job
from didi_core.cli.hydra_app import compose_settings
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.evaluation.bounds import bound_samples
from didi_core.io.files import write_text
from didi_core.training.curricula import CurriculumSettings, GaussianSettings
from didi_protein.distill import distill
from didi_protein.models.load import open_model
from didi_protein.pretrain import pretrain
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.settings import DistillSettings, ModelSettings, PretrainSettings


@dataclass(frozen=True)
class Scale:
    """How much is trained: what fits a job of at most 20 minutes on one core."""

    num_training: int = 60_000
    """Draws of the process; with so many nothing can be learnt by heart."""
    num_layers: int = 4
    hidden_size: int = 96
    teacher_updates: int = 6_000
    gentle_updates: int = 1_500
    """Of those, with few masks, at the start: without them it sees no dependence for long."""
    warmup_updates: int = 80
    teacher_tokens: int = 2_048
    """Rows times padded width of a batch."""
    student_updates: int = 400
    student_tokens: int = 2_048
    num_bound: int = 4_096
    """Draws on which the teacher's likelihood bound is computed."""
    precision: str = "bf16"
    """Of training."""
    num_heads: int = 4
    gentle_masks: tuple[float, float] = (0.1, 0.5)
    """Shares of masked residues at the start."""
    teacher_lr: float = 0.003
    """Of AdamW; that of Muon is twice as high."""


SCALES = {
    "profiles": Scale(),
    # A partner is to be found before it can be copied: with 4 heads of 24, 2,048 tokens a batch and
    # more masks, 6,000 updates did not learn that the columns are paired at all.
    "pairs": Scale(
        hidden_size=128,
        num_heads=8,
        teacher_tokens=4_096,
        teacher_updates=4_200,
        gentle_updates=1_800,
        gentle_masks=(0.05, 0.3),
        teacher_lr=0.002,
    ),
}
TRAINING_SEED = 10
"""Seed of the draws to train on; far from those of samples and of the truth."""


def train_teacher(job: Job, runs: Path, scale: Scale | None = None) -> dict[str, Any]:
    """A teacher from scratch, and how far its likelihood bound is from the truth."""
    scale, kind = scale or SCALES[job.process], TEACHERS[job.model]
    process = PROCESSES[job.process]()
    data = training_data(job.process, runs, scale)
    folder = job.model_folder(runs)
    updates = scale.teacher_updates
    pretrain(
        PretrainSettings(
            data=str(data),
            out=str(folder),
            model=ModelSettings(
                num_layers=scale.num_layers,
                hidden_size=scale.hidden_size,
                num_heads=scale.num_heads,
                intermediate_size=4 * scale.hidden_size,
            ),
            steps=updates,
            seed=job.seed,
            precision=scale.precision,
            device="cpu",
            resume=True,
            tokens_per_batch=scale.teacher_tokens,
            max_length=process.max_length,
            ema=0.99,
            process=kind.noise,
            curriculum=CurriculumSettings(
                0 if kind.gaussian else scale.gentle_updates, scale.gentle_masks
            ),
            gaussian=GaussianSettings(updates // 2 if kind.gaussian else 0),
            optimizer=OptimizerSettings(
                name="muon",
                lr=scale.teacher_lr,
                muon_lr=2 * scale.teacher_lr,
                betas=(0.9, 0.98),
                warmup_steps=scale.warmup_updates,
                decay_fraction=0.3,
            ),
            checkpoint_every=max(1, updates // 6),
        )
    )
    draws = process.sample(scale.num_bound, TRAINING_SEED + 1).sequences
    ids = [(np.array(PROTEIN.generable_ids)[each]).tolist() for each in draws]
    samples = bound_samples(open_model(folder).denoiser, PROTEIN, ids, process=kind.noise)
    bound = samples.estimate().nats_per_token
    nll = float(-process.log_prob(draws).sum() / sum(len(each) for each in draws))
    return {
        "scale": asdict(scale),
        "bound": bound,
        "nll_of_the_same_draws": nll,
        "bound_above_truth": bound - nll,
    }


def train_student(job: Job, runs: Path, scale: Scale | None = None) -> dict[str, Any]:
    """A student of the teacher of the same seed; data are the draws that trained the teacher."""
    scale = scale or SCALES[job.process]
    assert job.teacher is not None, "a teacher is no student"
    settings = student_settings(job, job.teacher.model_folder(runs), runs, scale)
    distill(replace(settings, verdict=False))
    return {
        "scale": asdict(scale),
        "overrides": METHODS[job.model],
        "updates": settings.steps,
        "method": settings.method,
    }


def student_settings(job: Job, teacher: Path, runs: Path, scale: Scale) -> DistillSettings:
    """What `didi-protein distill` is told, as its command line would compose it."""
    updates = UPDATES.get(job.model, scale.student_updates)
    overrides = [
        f"teacher={teacher}",
        f"out={job.model_folder(runs)}",
        "reference=data",
        f"data={training_data(job.process, runs, scale)}",
        f"steps={updates}",
        f"seed={job.seed}",
        f"precision={scale.precision}",
        "device=cpu",
        "resume=true",
        f"tokens_per_batch={scale.student_tokens}",
        f"max_length={PROCESSES[job.process]().max_length}",
        f"checkpoint_every={max(1, updates // 4)}",
        *METHODS[job.model],
    ]
    settings = compose_settings("distill", DistillSettings, overrides)
    for name in ("student", "discriminator", "auxiliary"):
        part = settings.method.get(name)
        if part is not None:  # a warm-up longer than the run would be no warm-up
            part["warmup_steps"] = min(part["warmup_steps"], updates // 10)
    return settings


def training_data(process: str, runs: Path, scale: Scale) -> Path:
    """The draws as FASTA, written once."""
    path = runs / process / f"train_{scale.num_training}.fasta"
    if not path.exists():
        draws = PROCESSES[process]().sample(scale.num_training, TRAINING_SEED).sequences
        write_text(path, "".join(f">d{i}\n{letters(s)}\n" for i, s in enumerate(draws)))
    return path


def letters(sequence: Ranks) -> str:
    """Ranks as residues, in the vocabulary's order."""
    return "".join(CANONICAL_RESIDUES[rank] for rank in sequence)
