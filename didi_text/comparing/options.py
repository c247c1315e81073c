"""What `compare` and `quickstart` can be asked for; imports no torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from typer import Option

from didi_core.commands.comparing import options as shared
from didi_core.commands.comparing.options import PAIRED_STEPS


@dataclass(frozen=True, kw_only=True)
class CompareOptions(shared.CompareOptions):
    """What `compare` can be asked for; the help of each flag says what it does."""

    out: Annotated[Path, Option(help="Folder for students, samples, scores, table and figure.")]
    data: Annotated[
        str | None,
        Option(
            help="Text to distil with, .jsonl or .txt, plain or .gz. Default: the teacher's own "
            "samples, no data needed."
        ),
    ] = None
    samplers: Annotated[
        str,
        Option(
            help="Samplers of the models, as in generate, with options of --sampler-option in "
            'brackets: "ancestral,apart,remdm(schedule=loop,eta=0.02)". '
            "own: each model's, as its folder names it."
        ),
    ] = "ancestral"
    num: Annotated[int, Option(help="Samples of each model, sampler and number of steps.")] = 128
    length: Annotated[
        str | None,
        Option(
            help="Tokens: 128, or 64,128 in turn, or 80-120. Default: as many as the teacher "
            "reads, at most 1024."
        ),
    ] = None
    judge: Annotated[
        str | None,
        Option(
            help="Causal LM that judges samples: a bundled name, a folder or a hub id. Default: "
            "tiny-judge where the teacher shares its tokenizer, else gpt2-large."
        ),
    ] = None
    reference: Annotated[
        Path | None,
        Option(
            help="Held-out text, .jsonl or .txt: a row for scale, and --temperatures compare at "
            "its entropy (default: that of the text bundled with tiny-judge)."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Plan(shared.Plan):
    """What a quickstart does. The work is fixed, not the time, so that every run gives the same."""

    length: str = "128"
    """Tokens of the samples: the blocks that the teacher was trained on."""
    pool_size: int = 64
    num: int = 48
    teacher_steps: tuple[int | None, ...] = (4, 8, PAIRED_STEPS, 64, None)
    """None is the teacher's limit: one call a token."""


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions(shared.QuickstartOptions):
    """What `quickstart` can be asked for."""

    out: Annotated[
        Path, Option(help="Folder for everything; an unfinished quickstart there is continued.")
    ] = Path("didi-text-quickstart")
    plan: Plan = field(default_factory=Plan)
    """Other models, or less work (Python only)."""
