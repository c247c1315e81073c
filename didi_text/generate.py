"""`didi-text generate`: text from a model, as JSONL or plain text.

    didi-text generate --model runs/student --num 8 --length 128 --steps 16 --out samples.jsonl

From Python: `generate(GenerateOptions(model="runs/student", num=8, ...))`. This file imports no
torch, so that `--help` is fast; the work is in `didi_core.commands.generation`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from didi_core.command_options import command_of
from didi_core.commands.sampling_options import (
    GenerationResult,
    SamplingOptions,
    report_generation,
)

if TYPE_CHECKING:
    from didi_core.models.folder import LoadedModel


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(SamplingOptions):
    """What `generate` can be asked for; the help of each flag says what it does."""

    num: Annotated[int, Option(help="Samples to make; with --prefix or --infill, of each text.")]
    out: Annotated[
        Path,
        Option(
            help="File to write: .jsonl (text, token ids, provenance) or .txt (text alone), or .gz."
        ),
    ]
    length: Annotated[
        str | None,
        Option(
            help="Tokens in all, kept ones and the end of text at the start included: 128, or "
            "64,128 in turn, or 80-120 uniform."
        ),
    ] = None
    prefix: Annotated[
        str | None,
        Option(help="Text to go on from, or a .jsonl or .txt file of many."),
    ] = None
    infill: Annotated[
        str | None,
        Option(
            help="Text with blanks, as in 'The ___ sat on ___{3-5}.': ___ as long as --length "
            "leaves room for, ___{5} five tokens; or a .jsonl or .txt file of many."
        ),
    ] = None
    tokenizer: Annotated[
        str | None,
        Option(
            help="Tokenizer of a model whose folder has none, or not its own: a bundled name, a "
            "folder or a hub id. Default: that of the folder, else gpt2."
        ),
    ] = None


def generate(
    options: GenerateOptions, model: "LoadedModel | None" = None
) -> GenerationResult | None:
    """Make samples, write the output and `NAME.generate.json` beside it.

    Args:
        model: the model that `options.model` names, where it is open already.

    Returns:
        What was made; None in all processes of torchrun but the first, which writes it.

    Raises:
        UserError: an option without sense, an output that exists, a model that cannot be opened.
    """
    from didi_core.commands.generation import run_generation
    from didi_text.samples import TextSamples

    return run_generation(TextSamples(options), model)


def _run_command(options: GenerateOptions) -> None:
    result = generate(options)
    if result is not None:
        report_generation(result, "sample", as_json=options.json_output)


generate_command = command_of(
    GenerateOptions, _run_command, "Make text with a model and write it as JSONL or plain text."
)
