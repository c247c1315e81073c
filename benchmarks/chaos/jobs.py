"""The commands that are killed: small jobs of the verbs that take long, each in its own folder.

Every path is relative to that folder, so that two runs have the same command line, and the model
cards that quote it are the same too.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from didi_core.io.journal import partial_path
from didi_core.training.state_files import load_state
from didi_protein.sequences.residues import CANONICAL_RESIDUES

SEQUENCES, TEACHER = "natural.fasta", "teacher"
_SHAPE = (
    *("model.num_layers=1", "model.hidden_size=16", "model.num_heads=2"),
    *("model.intermediate_size=32", "tokens_per_batch=256", "max_length=40", "device=cpu"),
)
_COSTS = ("seconds", "peak_memory")
"""What a summary says of the machine's speed and memory: never the same twice."""


@dataclass(frozen=True)
class Job:
    """One command line, and what it leaves."""

    name: str
    program: str
    """Module whose `main` it is."""
    arguments: tuple[str, ...]
    resume: str
    """What is added to start it again."""
    parts: Callable[[Path], int]
    """Finished parts that stand in a run's folder: batches or checkpoints."""
    results: tuple[str, ...]
    """Files that must be the same, byte for byte, after any kills."""
    records: tuple[str, ...] = ()
    """JSON files that must be the same but for what they cost."""

    def differing(self, run: Path, unbroken: Path) -> list[str]:
        """Names of results that differ from an unbroken run's, and of files that one alone has."""
        names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
        wanted = {p.relative_to(unbroken).as_posix() for p in unbroken.rglob("*") if p.is_file()}
        unequal = [
            name
            for name in (*self.results, *self.records)
            if name in names & wanted and self._content(run, name) != self._content(unbroken, name)
        ]
        return sorted({*unequal, *(names ^ wanted)})

    def half_written(self, run: Path, unbroken: Path) -> list[str]:
        """Results that stand under their names while the job goes on and are not whole."""
        return [
            name
            for name in self.results
            if (run / name).exists()
            and not name.endswith("metrics.jsonl")
            and (run / name).read_bytes() != (unbroken / name).read_bytes()
        ] + [path.name for path in run.rglob("step_*.safetensors") if not _is_whole(path)]

    def _content(self, run: Path, name: str) -> object:
        if name in self.results:
            return (run / name).read_bytes()
        return _without_costs(json.loads((run / name).read_text(encoding="utf-8")))


def _without_costs(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_costs(each) for key, each in value.items() if key not in _COSTS}
    return value


def _is_whole(checkpoint: Path) -> bool:
    try:
        load_state(checkpoint)
    except ValueError:
        return False
    return True


def write_inputs(folder: Path) -> None:
    """The sequences and the teacher that the jobs read."""
    from didi_protein.pretrain import pretrain
    from didi_protein.settings import ModelSettings, PretrainSettings

    generator = np.random.default_rng(0)
    lengths = generator.integers(20, 60, size=60)
    rows = ["".join(generator.choice(list(CANONICAL_RESIDUES), size=n)) for n in lengths]
    path = folder / SEQUENCES
    path.write_text("".join(f">natural_{i}\n{row}\n" for i, row in enumerate(rows)))
    shape = ModelSettings(num_layers=1, hidden_size=16, num_heads=2, intermediate_size=32)
    settings = PretrainSettings(
        data=str(path), out=str(folder / TEACHER), model=shape, steps=3, device="cpu"
    )
    pretrain(settings)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _checkpoint(folder: Path) -> int:
    steps = [int(path.stem.removeprefix("step_")) for path in folder.glob("step_*.safetensors")]
    return max(steps, default=0)


PRETRAIN = Job(
    name="pretrain",
    program="didi_protein.app",
    arguments=(
        *("pretrain", f"data=../{SEQUENCES}", "out=run", "steps=90", *_SHAPE),
        *("checkpoint_every=3", "log_every=3"),
    ),
    resume="resume=true",
    parts=lambda run: _checkpoint(run / "run" / "checkpoints"),
    results=(
        *("run/model.safetensors", "run/config.json", "run/README.md", "run/vocab.txt"),
        *("run/metrics.jsonl", "run/checkpoints/step_00000090.safetensors"),
    ),
)
DISTILL = Job(
    name="distill",
    program="didi_protein.app",
    arguments=(
        *("distill", f"teacher=../{TEACHER}", "method=didi", "out=run", "reference=pool"),
        *("pool_size=12", "pool_length=10-20", "pool_steps=4", "steps=24", "tokens_per_batch=256"),
        *("checkpoint_every=2", "log_every=2", "device=cpu"),
    ),
    resume="resume=true",
    parts=lambda run: _checkpoint(run / "run" / "checkpoints"),
    results=(
        *("run/model.safetensors", "run/discriminator.safetensors", "run/config.json"),
        *("run/README.md", "run/vocab.txt", "run/metrics.jsonl"),
        "run/checkpoints/step_00000024.safetensors",
    ),
)
GENERATE = Job(
    name="generate",
    program="didi_protein.app",
    arguments=(
        *("generate", "--model", "tiny", "--num", "36", "--length", "20-40", "--steps", "8"),
        *("--batch-tokens", "128", "--device", "cpu", "--out", "designs.fasta"),
    ),
    resume="--resume",
    parts=lambda run: _lines(partial_path(run / "designs.fasta")),
    results=("designs.fasta",),
    records=("designs.generate.json",),
)
SCORE = Job(
    name="score",
    program="didi_protein.app",
    arguments=(
        *("score", f"../{SEQUENCES}", "--judge", "tiny-judge", "--batch-tokens", "128"),
        *("--pseudo", "none", "--max-length", "50", "--device", "cpu", "--threads", "1"),
        *("--out", "scores.csv"),
    ),
    resume="--resume",
    parts=lambda run: _lines(partial_path(run / "scores.csv")),
    results=("scores.csv",),
    records=("scores.summary.json",),
)
TEXT_GENERATE = Job(
    name="text generate",
    program="didi_text.app",
    arguments=(
        *("generate", "--model", "tiny", "--num", "36", "--length", "20,40", "--steps", "6"),
        *("--batch-tokens", "128", "--device", "cpu", "--out", "samples.jsonl"),
    ),
    resume="--resume",
    parts=lambda run: _lines(partial_path(run / "samples.jsonl")),
    results=("samples.jsonl",),
    records=("samples.generate.json",),
)
TEXT_EVALUATE = Job(
    name="text evaluate",
    program="didi_text.app",
    arguments=(
        *("evaluate", "--model", "tiny", "--task", "genppl", "--num", "36", "--length", "30"),
        *("--steps", "6", "--judge", "tiny-judge", "--batch-tokens", "128", "--device", "cpu"),
        *("--threads", "1", "--out", "genppl.json"),
    ),
    resume="--resume",
    parts=lambda run: _lines(partial_path(run / "genppl.json.samples.partial" / "samples.jsonl")),
    results=(),
    records=("genppl.json",),
)
JOBS = {job.name: job for job in (PRETRAIN, DISTILL, GENERATE, SCORE, TEXT_GENERATE, TEXT_EVALUATE)}
