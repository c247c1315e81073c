"""What `generate` can be asked for; imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from didi_core.commands.generating.options import (
    SamplingOptions,
)

OtherTokenizer = Annotated[
    str | None,
    Option(
        help="Tokenizer of a model whose folder has none, or not its own: a bundled name, a "
        "folder or a hub id. Default: that of the folder, else gpt2."
    ),
]


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
    tokenizer: OtherTokenizer = None
