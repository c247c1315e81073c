"""`didi-protein compare`: methods, samplers and step counts on one teacher, in one table.

    didi-protein compare --teacher tiny --methods didi,dmmd --steps 8,16 --budget 300 --out study

Each method distils the teacher for the same time; then teacher and students write designs of the
same lengths from the same seed, and all are scored alike. Run again it goes on where it stopped.
This file imports no torch, so that `--help` is fast; the work is in `didi_protein.compare_run`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from didi_core.command_options import command_of
from didi_core.commands import compare_options as shared
from didi_core.commands.compare_options import CompareResult

__all__ = ["CompareOptions", "CompareResult", "compare", "compare_command"]


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
        Path | None, Option(help="FASTA of the teacher's training sequences: copies.")
    ] = None
    fold: Annotated[str, Option(help="Folding model, as in score; none for no folding.")] = "none"


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
