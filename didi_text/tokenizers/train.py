"""Train a small byte-level BPE on texts: every text can be encoded, and decodes to itself.

python -m didi_text.tokenizers.train train.jsonl.gz --size 2048 --out tokenizer
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from tokenizers import models, pre_tokenizers, trainers

from didi_core.cli.run import check_output, run_program
from didi_core.errors import UserError
from didi_text.tokenizers.tokenizer import END_OF_TEXT, TextTokenizer, byte_level

SMALLEST_SIZE = 257
"""The 256 bytes and the end of text."""


def train_tokenizer(texts: Iterable[str], size: int) -> TextTokenizer:
    """Train a byte-level BPE of `size` tokens at most: fewer where the texts hold fewer pairs.

    `<|endoftext|>` is the last id. The mask, one above, is not counted in `size`.

    Raises:
        UserError: `size` is below 257.
    """
    if size < SMALLEST_SIZE:
        raise UserError(f"size={size}: a byte-level vocabulary has at least {SMALLEST_SIZE} ids.")
    backend = byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    # Added last, so that the ids of pieces do not depend on it (GPT-2 has it last, too).
    backend.add_special_tokens([END_OF_TEXT])
    return TextTokenizer(backend)


def _run(
    source: Annotated[str, typer.Argument(help="JSONL (key text) or text file, plain or .gz.")],
    out: Annotated[Path, typer.Option(help="Folder for tokenizer.json.")],
    size: Annotated[int, typer.Option(help="Tokens, the end of text included.")] = 4096,
    licenses: Annotated[
        str, typer.Option(help="Keep JSONL records with one of these licenses, comma-separated.")
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
) -> None:
    """Train a byte-level BPE tokenizer."""
    from didi_text.corpora.documents import parse_licenses, read_documents

    check_output(out, overwrite=overwrite)
    documents = read_documents(Path(source), licenses=parse_licenses(licenses))
    tokenizer = train_tokenizer(documents, size)
    tokenizer.save(out)
    print(f"{out}: {tokenizer.size:,} tokens")


if __name__ == "__main__":
    raise SystemExit(run_program(lambda: typer.run(_run)))
