"""What every `compare` and `quickstart` can be asked for and returns; imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from didi_core.cli.command_options import (
    BatchTokens,
    Device,
    JsonOutput,
    Offline,
    Overwrite,
    Precision,
    Resume,
    Seed,
)

if TYPE_CHECKING:
    import pandas as pd

    from didi_core.evaluation.bootstrap import Interval


FREE_TO_CHANGE = (
    *("out", "resume", "overwrite", "offline", "json_output"),
    *("temperatures", "diversity", "family", "contacts"),
)
"""Options that do not decide what a comparison holds, or only add to it."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """The flags of both programs; each adds its own, and its own words where they differ."""

    teacher: Annotated[str, Option(help="A bundled name (tiny), a folder or a hub id.")]
    out: Annotated[Path, Option(help="Folder for students, sequences, scores and table.")]
    methods: Annotated[
        str,
        Option(
            help="Distillation methods, as in distill --help, with a preset where wanted: "
            "dmmd,didi:paper. Empty for none."
        ),
    ] = "dmmd"
    students: Annotated[
        str,
        Option(
            help="Models that are distilled already, and autoregressive baselines: names, folders "
            "or hub ids."
        ),
    ] = ""
    samplers: Annotated[
        str,
        Option(
            help="Samplers of the models, as in generate, with options of --sampler-option in "
            'brackets: "ancestral,remdm(schedule=loop,eta=0.02)". '
            "own: each model's, as its folder names it."
        ),
    ] = "ancestral"
    steps: Annotated[str, Option(help="Denoising steps of the models.")] = "8,16"
    teacher_steps: Annotated[str, Option(help="More steps for the teacher alone.")] = "64"
    temperatures: Annotated[
        str,
        Option(
            help="Sampling temperatures of every row, as in 0.8,0.9,1,1.1: compares rows at equal "
            "diversity. The rows themselves are at 1, which is always among them."
        ),
    ] = "1"
    diversity: Annotated[
        float | None,
        Option(
            help="Entropy in nats at which --temperatures compare. Default: that of natural data "
            "(--reference), else of the teacher's limit at temperature 1, or of its ancestral row "
            "of most steps where it has none."
        ),
    ] = None
    top_p: Annotated[
        float,
        Option(help="Top-p of every row, the teacher's limit too, as in generate; 1 is all."),
    ] = 1.0
    budget: Annotated[float, Option(help="Seconds of training for each method.")] = 300.0
    data: Annotated[
        str | None,
        Option(help="Data to distil with. Default: the teacher's own samples, no data needed."),
    ] = None
    pool_size: Annotated[
        int, Option(help="Teacher's samples to distil with, where there is no --data.")
    ] = 512
    pool_steps: Annotated[
        int | None, Option(help="Steps they are made in. Default: one call a token, the slowest.")
    ] = None
    num: Annotated[int, Option(help="Sequences of each model, sampler and number of steps.")] = 128
    length: Annotated[str | None, Option(help="Their lengths, as in generate.")] = None
    judge: Annotated[str | None, Option(help="Autoregressive judge: a folder, a hub id.")] = None
    reference: Annotated[
        Path | None, Option(help="Held-out data, for scale, and to compare at their diversity.")
    ] = None
    seed: Seed = 0
    device: Device = "auto"
    precision: Precision = "float32"
    batch_tokens: BatchTokens = 8192
    resume: Resume = False
    overwrite: Overwrite = False
    offline: Offline = False
    json_output: JsonOutput = False


@dataclass(frozen=True)
class CompareResult:
    """What was made."""

    out: Path
    comparison: Path
    """`comparison.csv`: one row for each model, sampler and number of steps."""
    table: "pd.DataFrame"
    report: Path | None
    """The page or figure; None where the extra `report` is not installed."""
    left_out: tuple[str, ...]
    """Cells that were asked for and cannot be, and why."""
    frontier: Path | None = None
    """`frontier.json`, of more temperatures than one."""
    notes: tuple[str, ...] = ()
    """How the columns at equal diversity are to be read, and what has no curve."""


# What every `quickstart` does and returns.

METHOD: Mapping[str, Any] = {"name": "dmmd"}
"""The distillation method of the quickstart, as `method=` has it."""


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
    data: str | None = None
    """What it is distilled with; None for samples of the teacher."""
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
