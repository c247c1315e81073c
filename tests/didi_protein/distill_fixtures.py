"""Students that are made in a second."""

from pathlib import Path

from didi_protein.distill import distill
from didi_protein.settings import DistillSettings


def student_of(teacher: Path, out: Path, method: dict[str, object], **changes: object) -> Path:
    """Three updates from a pool of eight samples, unless `changes` says otherwise."""
    return distill(student_settings(teacher, out, method, **changes))


def student_settings(
    teacher: Path, out: Path, method: dict[str, object], **changes: object
) -> DistillSettings:
    values = {
        "reference": "pool",
        "pool_size": 8,
        "pool_length": "10-20",
        "pool_steps": 4,
        "steps": 3,
        "tokens_per_batch": 256,
        "device": "cpu",
    }
    settings = DistillSettings(teacher=str(teacher), out=str(out), method=method)
    for name, value in {**values, **changes}.items():
        setattr(settings, name, value)
    return settings
