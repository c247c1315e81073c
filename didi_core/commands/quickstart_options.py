"""What every `quickstart` does and returns. Imports no torch: help is fast."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from didi_core.command_options import Device, JsonOutput, Seed

if TYPE_CHECKING:
    import pandas as pd

    from didi_core.evaluation.bootstrap import Interval

METHOD: Mapping[str, Any] = {"name": "dmmd"}
"""The distillation method of the quickstart, as in configs/method/."""
PAIRED_STEPS = 16
"""The fresh student is compared with its teacher at this many steps."""
STUDENT = "student"
"""Name of the fresh student: its folder, and the model its sequences name."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a quickstart does. The work is fixed, not the time, so that every run gives the same."""

    teacher: str = "tiny"
    student: str = "tiny-student"
    """A student distilled earlier, to compare the fresh one with."""
    judge: str = "tiny-judge"
    method: Mapping[str, Any] = field(default_factory=lambda: METHOD)
    distill_steps: int = 200
    """Updates of the fresh student."""
    tokens_per_batch: int = 2048
    pool_size: int = 96
    """Teacher's samples that distillation starts from."""
    pool_steps: int | None = 32
    """Steps they are made in; None for the teacher's limit."""
    num: int = 64
    """Sequences of each model and number of steps."""
    length: str
    """Their lengths, as in `generate`."""
    teacher_steps: tuple[int | None, ...] = (8, PAIRED_STEPS, 64, None)
    """None is the teacher's limit: one call a token."""
    student_steps: tuple[int | None, ...] = (4, 8, PAIRED_STEPS)


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions:
    """What `quickstart` can be asked for."""

    out: Path
    seed: Seed = 0
    device: Device = "auto"
    json_output: JsonOutput = False
    plan: Plan
    """Other models, or less work (Python only)."""


@dataclass(frozen=True)
class QuickstartResult:
    """What was made."""

    out: Path
    report: Path | None
    """The page or figure; None where the extra `report` is not installed and is not required."""
    comparison: Path
    """`comparison.csv`: one row for each model and number of steps."""
    table: "pd.DataFrame"
    """Its contents."""
    gain: "Interval"
    """Judge NLL of the fresh student less that of the teacher, both at 16 steps, over pairs of
    sequences of equal length; nats a token, below zero is better."""
    num_pairs: int
    """Pairs that it rests on."""
    reference_rows: dict[str, Any] | None
    """What the judge finds of real sequences, and of shuffled ones."""
