"""`didi-protein compare`: methods, samplers and step counts on one teacher, in one table.

    didi-protein compare --teacher tiny --methods didi,dmmd --steps 8,16 --budget 300 --out study

Each method distils the teacher for the same time; then teacher and students write designs of the
same lengths from the same seed, and all are scored alike. Run again it goes on where it stopped.
This file imports no torch, so that `--help` is fast; the work is in `didi_protein.compare_run`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from didi_core.command_options import (
    BatchTokens,
    Device,
    JsonOutput,
    Offline,
    Overwrite,
    Precision,
    Resume,
    Seed,
    command_of,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What `compare` can be asked for; the help of each flag says what it does."""

    teacher: Annotated[str, Option(help="A bundled name (tiny), a folder or a hub id.")]
    out: Annotated[Path, Option(help="Folder for students, designs, scores, table and report.")]
    methods: Annotated[
        str,
        Option(
            help="Distillation methods, as in configs/method, with a preset where wanted: "
            "dmmd,didi:paper. Empty for none."
        ),
    ] = "dmmd"
    students: Annotated[
        str, Option(help="Models that are distilled already: names, folders or hub ids.")
    ] = ""
    samplers: Annotated[
        str, Option(help="Samplers of the models, as in generate: ancestral,rgas,dplm.")
    ] = "ancestral"
    steps: Annotated[str, Option(help="Denoising steps of the models.")] = "8,16"
    teacher_steps: Annotated[str, Option(help="More steps for the teacher alone.")] = "64"
    budget: Annotated[float, Option(help="Seconds of training for each method.")] = 300.0
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
        Path | None, Option(help="FASTA of held-out natural sequences: precision and recall.")
    ] = None
    training: Annotated[
        Path | None, Option(help="FASTA of the teacher's training sequences: copies.")
    ] = None
    fold: Annotated[str, Option(help="Folding model, as in score; none for no folding.")] = "none"
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
    """`report.html`; None where the extra `report` is not installed."""
    left_out: tuple[str, ...]
    """Cells that were asked for and cannot be, and why."""


def compare(options: CompareOptions) -> CompareResult:
    """Distil by each method, design, score and compare.

    Raises:
        UserError: an option without sense, an output that exists, a model that cannot be opened.
    """
    from didi_protein.compare_run import run_compare

    return run_compare(options)


def _run_command(options: CompareOptions) -> None:
    result = compare(options)
    from didi_protein.compare_print import as_json, print_result

    if options.json_output:
        print(as_json(result))
    else:
        print_result(result, folded=options.fold != "none")


compare_command = command_of(
    CompareOptions,
    _run_command,
    "Compare distillation methods, samplers and step counts on one teacher and one budget.",
)
