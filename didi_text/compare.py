"""`didi-text compare`: methods, samplers and step counts on one teacher, in one table.

    didi-text compare --teacher tiny --methods dmmd,sdtt --steps 8,16 --out study

Each method distils the teacher for the same time; then teacher and students write samples of the
same lengths from the same seed, and all are judged alike. Run again it goes on where it stopped.
This file imports no torch, so that `--help` is fast; the work is in `didi_text.compare_run`.
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


def compare(options: CompareOptions) -> CompareResult:
    """Distil by each method, sample, judge and compare.

    Raises:
        UserError: an option without sense, an output that exists, a model that cannot be opened.
    """
    from didi_text.compare_run import run_compare

    return run_compare(options)


def _run_command(options: CompareOptions) -> None:
    result = compare(options)
    from didi_text.compare_print import as_json, print_result

    if options.json_output:
        print(as_json(result))
    else:
        print_result(result)


compare_command = command_of(
    CompareOptions,
    _run_command,
    "Compare distillation methods, samplers and step counts on one teacher and one budget.",
)
