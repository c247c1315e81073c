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

    out: Annotated[Path, Option(help="Folder for students, designs, scores, table and report.")]
    data: Annotated[
        str | None,
        Option(help="FASTA to distil with. Default: the teacher's own samples, no data needed."),
    ] = None
    num: Annotated[int, Option(help="Designs of each model, sampler and number of steps.")] = 128
    length: Annotated[
        str, Option(help="Residues: 100, or 50,100,200 in turn, or 80-120, or from:REF.fasta.")
    ] = "50-150"
    judge: Annotated[str, Option(help="Autoregressive judge: tiny-judge, a folder, a hub id.")] = (
        "tiny-judge"
    )
    reference: Annotated[
        Path | None,
        Option(
            help="FASTA of held-out natural sequences: precision and recall, and --temperatures "
            "compare at their diversity."
        ),
    ] = None
    training: Annotated[
        Path | None,
        Option(
            help="FASTA of the teacher's training sequences: copies. Default: what each model says "
            "it was trained on; none looks for no copies."
        ),
    ] = None
    fold: Annotated[str, Option(help="Folding model, as in score; none for no folding.")] = "none"
    family: Annotated[
        str | None,
        Option(
            help="Families to count the designs of each row against, as in score: PF00595, or "
            "alignments between commas. Each design goes to the one it fits best."
        ),
    ] = None
    contacts: Annotated[
        str | None,
        Option(
            help="Tables of known distances, one for each of --family. Default: those of bundled "
            "families."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Plan(shared.Plan):
    """What a quickstart does. The work is fixed, not the time, so that every run gives the same."""

    length: str = "from:PF00595"
    """Lengths of the designs: drawn from those of natural PDZ domains, one of the two families that
    the teacher knows."""
    family: str | None = "PF00595"
    """What the designs are counted against; None for no family."""
    data: str | None = "families"
    distill_steps: int = 150
    num: int = 512
    """Enough for pair covariances to be told from noise."""
    teacher_steps: tuple[int | None, ...] = (8, PAIRED_STEPS, 64)


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions(shared.QuickstartOptions):
    """What `quickstart` can be asked for."""

    out: Annotated[
        Path, Option(help="Folder for everything; an unfinished quickstart there is continued.")
    ] = Path("didi-quickstart")
    plan: Plan = field(default_factory=Plan)
    """Other models, or less work (Python only)."""
