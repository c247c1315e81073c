"""One real distillation by the command itself: teacher of random weights, real proteins."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.gpu.runner import Bench, Row, Rows, measured
from benchmarks.speed.layouts import LAYOUTS
from didi_core.models.folder import save_model_folder
from didi_core.peak_memory import PeakMemory
from didi_core.training.run_folder import read_metrics
from didi_protein.distill import distill
from didi_protein.sequences.training_data import read_training_sequences
from didi_protein.settings import DistillSettings

FAMILY = "PF00595"
"""Ships in the package."""
MEMBERS = 4_096
"""Of it, the first; the rest would be read and sketched for nothing."""
SECONDS = 110.0


def distillation(bench: Bench) -> Rows:
    """Distil a 150M teacher with the default method for two minutes, checkpoints and log on."""
    yield from measured({"dmmd": lambda: _distilled(bench)})


def _distilled(bench: Bench) -> Row:
    layout = LAYOUTS["esm-small" if bench.dry else "150m"]
    with TemporaryDirectory() as folder:
        teacher, out = Path(folder) / "teacher", Path(folder) / "student"
        save_model_folder(teacher, layout.build(), layout.vocabulary, card="Random weights.\n")
        settings = DistillSettings(
            teacher=str(teacher),
            data=str(_members(Path(folder), 40 if bench.dry else MEMBERS)),
            out=str(out),
            method={"name": "dmmd"},
            steps=2 if bench.dry else 100_000,
            max_seconds=0 if bench.dry else SECONDS,
            tokens_per_batch=256 if bench.dry else 16_384,
            device=bench.device.type,
            precision=bench.precision,
            verdict=False,
            log_every=1 if bench.dry else 10,
            checkpoint_every=1_000,
        )
        with PeakMemory(bench.device) as peak:
            distill(settings)
        return _summary(read_metrics(out), peak.bytes, settings.tokens_per_batch)


def _members(folder: Path, count: int) -> Path:
    """Write the first members of the family."""
    path = folder / "members.fasta"
    found = read_training_sequences(FAMILY)[:count]
    path.write_text("".join(f">{name}\n{each}\n" for name, each in found), encoding="utf-8")
    return path


def _summary(lines: list[dict[str, float]], peak: int | None, tokens: int) -> Row:
    """Return the curve's ends, and whether everything logged was a finite number."""
    values = torch.tensor([float(v) for line in lines for v in line.values()])
    last = lines[-1]
    return {
        "updates": last["step"],
        "tokens_per_batch": tokens,
        "first": lines[0],
        "last": last,
        "all_finite": bool(values.isfinite().all()),
        "peak_bytes": peak,
    }
