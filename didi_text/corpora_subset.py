"""Which licenses a JSONL corpus holds, and the part of it that may be passed on.

    python -m didi_text.corpora_subset train.jsonl.gz                       # counts, by license
    python -m didi_text.corpora_subset train.jsonl.gz --out open.jsonl.gz   # public domain, CC BY

The models that ship with the package are trained on such a part: their weights may be shared.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from didi_core.cli import check_output, run_program
from didi_core.text_files import packed_writer
from didi_text.corpora_documents import parse_licenses, read_json_records
from didi_text.tokenizer import TextTokenizer, open_tokenizer

OPEN_LICENSES = ("public domain", "CC BY 4.0")
"""Of documents whose models may be shared, the source named."""
UNSTATED = "(none stated)"


@dataclass(frozen=True)
class LicenseCount:
    """What a corpus holds under one license and from one source."""

    license: str
    source: str
    documents: int
    words: int
    tokens: int | None
    """None where no tokenizer was given."""


def count_licenses(
    records: Iterable[dict[str, Any]], tokenizer: TextTokenizer | None = None
) -> list[LicenseCount]:
    """Documents, words and tokens by license and source, in alphabetical order."""
    counts: dict[tuple[str, str], list[int]] = {}
    for record in records:
        key = str(record.get("license", UNSTATED)), str(record.get("source", UNSTATED))
        count = counts.setdefault(key, [0, 0, 0])
        count[0] += 1
        count[1] += len(record["text"].split())
        if tokenizer is not None:
            count[2] += len(tokenizer.encode(record["text"]))
    return [
        LicenseCount(*key, documents, words, tokens if tokenizer else None)
        for key, (documents, words, tokens) in sorted(counts.items())
    ]


def write_subset(path: Path, out: Path, licenses: Collection[str] = OPEN_LICENSES) -> int:
    """Write the records of `path` under one of `licenses` to `out`; returns how many.

    The bytes depend on the records alone: no name and no time goes into a `.gz`.
    """
    count = 0
    with packed_writer(out, level=9) as stream:
        for record in read_json_records(path):
            if record.get("license") in licenses:
                stream.write((json.dumps(record, ensure_ascii=False) + "\n").encode())
                count += 1
    return count


def _run(
    source: Annotated[Path, typer.Argument(help="JSONL with keys text and license.")],
    out: Annotated[
        Path | None, typer.Option(help="JSONL for the part; counts alone if none.")
    ] = None,
    licenses: Annotated[
        str, typer.Option(help="Licenses to keep, separated by commas.")
    ] = ",".join(OPEN_LICENSES),
    tokenizer: Annotated[
        str, typer.Option(help="Folder or hub id: also count tokens, as with gpt2.")
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
) -> None:
    """Count a corpus by license, and write the part under some of them."""
    kept = parse_licenses(licenses)
    encoder = open_tokenizer(tokenizer) if tokenizer else None
    if out is not None:
        check_output(out, overwrite=overwrite)
    counts = count_licenses(read_json_records(source), encoder)
    for each in counts:
        mark = "+" if each.license in kept else " "
        print(f"{mark} {_line(each)}")
    chosen = [each for each in counts if each.license in kept]
    tokens = sum(each.tokens or 0 for each in chosen) if encoder else None
    total = LicenseCount("kept", "", *_sums(chosen), tokens)
    print(f"  {_line(total)}")
    if out is not None:
        print(f"{out}: {write_subset(source, out, kept):,} documents")


def _sums(counts: list[LicenseCount]) -> tuple[int, int]:
    return sum(each.documents for each in counts), sum(each.words for each in counts)


def _line(count: LicenseCount) -> str:
    tokens = "" if count.tokens is None else f"{count.tokens:12,} tokens"
    return (
        f"{count.license:16s} {count.source:32s} {count.documents:8,} documents "
        f"{count.words:12,} words {tokens}"
    )


if __name__ == "__main__":
    raise SystemExit(run_program(lambda: typer.run(_run)))
