"""Corpora of the Hugging Face hub, from parquet files: of a commit, or of a branch that may move.

OpenWebText's own loading script no longer runs in `datasets` 4 and later; its parquet copy is the
same 8,013,769 documents. One Billion Words (LM1B) is read from the hub's own conversion, and its
tokenised sentences pass the published detokeniser. `didi-text download openwebtext` (24 GB) or
`lm1b` fetches a corpus into the Hugging Face cache; with `stream=true` the documents are read over
the network instead, and none is kept.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from didi_core.cli.run import check_output, run_program
from didi_core.errors import UserError, missing_extra
from didi_core.io.text_files import packed_writer
from didi_core.models.hub import fetch_part
from didi_text.corpora.detokenisers import detokenise_lm1b, keep
from didi_text.corpora.documents import parse_licenses, read_json_records
from didi_text.tokenizers.tokenizer import TextTokenizer, open_tokenizer


@dataclass(frozen=True)
class HubCorpus:
    """Parquet files of a dataset repository, and which of their rows make up each split."""

    repository: str
    revision: str
    """A commit, or a branch (the hub's own conversion to parquet), whose files may change."""
    files: str
    """Pattern of the files; their sorted order is the order of the documents."""
    column: str = "text"
    held_out: int = 0
    """The last so many documents are the split "valid"; the rest is "train"."""
    held_out_files: str = ""
    """Pattern of the split "valid", where that has files of its own."""
    detokenise: Callable[[str], str] = keep
    """Makes ordinary text of a row's."""

    @property
    def patterns(self) -> list[str]:
        """Of all files, of every split."""
        return [pattern for pattern in (self.files, self.held_out_files) if pattern]

    def part(self, split: str) -> tuple["HubCorpus", str]:
        """Choose a corpus of one pattern of files, and its split that is this one's `split`."""
        if split == "valid" and self.held_out_files:
            return replace(self, files=self.held_out_files, held_out_files=""), "train"
        return replace(self, held_out_files=""), split

    def key(self, split: str) -> dict[str, object]:
        """Return what decides the documents of a split, for the name of their cache."""
        part, split = self.part(split)
        key: dict[str, object] = {
            name: getattr(part, name)
            for name in ("repository", "revision", "files", "column", "held_out")
        }
        if self.detokenise is not keep:
            key["detokeniser"] = self.detokenise.__name__
        return {**key, "split": split}


OPENWEBTEXT = HubCorpus(
    repository="Skylion007/openwebtext",
    revision="79d93d786212f7344586290adb811d4ae6a1762c",
    files="plain_text/train-*.parquet",
    held_out=100_000,
)


LM1B = HubCorpus(
    repository="billion-word-benchmark/lm1b",
    revision="8d52bfd3cc2819fc1166dbb8144c328e2690de3e",
    files="plain_text/train/*.parquet",
    held_out_files="plain_text/test/*.parquet",
    detokenise=detokenise_lm1b,
)
"""30,301,028 sentences; the published runs hold out the test split's 306,688, as there is no other.
"""


HUB_CORPORA = {"openwebtext": OPENWEBTEXT, "lm1b": LM1B}
"""What `data=NAME` takes beside files; `NAME:valid` is the held-out part."""


def fetch_corpus(name: str) -> Path:
    """Bring every split of one of `HUB_CORPORA` to this machine; where its training files lie.

    Raises:
        UserError: it cannot be had.
    """
    corpus = HUB_CORPORA[name]
    parts = [replace(corpus, files=pattern) for pattern in corpus.patterns]
    folders = [fetch_parquet(part, called=name)[0].parent for part in parts]
    return folders[0]


def fetch_parquet(corpus: HubCorpus, *, offline: bool = False, called: str = "") -> list[Path]:
    """Fetch the corpus's `files`, and return the local copies in order.

    Args:
        called: what `download` calls the corpus, for messages.

    Raises:
        UserError: they cannot be had, or there are none.
    """
    folder = fetch_part(
        corpus.repository,
        [corpus.files],
        offline=offline,
        program="didi-text",
        repo_type="dataset",
        revision=corpus.revision,
        called=called,
    )
    files = sorted(folder.glob(corpus.files))
    if not files:
        raise UserError(
            f"{corpus.repository} at {corpus.revision} has no {corpus.files} here: on a machine "
            "with network run `didi-text download`, and set HF_HOME to that cache here."
        )
    return files


def list_remote(corpus: HubCorpus) -> list[str]:
    """List the addresses (`hf://...`) of the corpus's files, in order, for remote reading."""
    from huggingface_hub import HfFileSystem

    where = f"datasets/{corpus.repository}@{corpus.revision}/{corpus.files}"
    try:
        paths = sorted(HfFileSystem().glob(where))
    except OSError as error:
        raise UserError(f"{corpus.repository} cannot be streamed: {error}.") from error
    if not paths:
        raise UserError(f"{corpus.repository} has no {corpus.files} at {corpus.revision}.")
    return [f"hf://{path}" for path in paths]


def split_range(num_documents: int, held_out: int, split: str) -> range:
    """Return the places of a split's documents.

    >>> split_range(10, 3, "train"), split_range(10, 3, "valid"), split_range(10, 0, "train")
    (range(0, 7), range(7, 10), range(0, 10))

    Raises:
        UserError: there is no such split.
    """
    if split == "train":
        return range(num_documents - held_out)
    if split == "valid" and 0 < held_out < num_documents:
        return range(num_documents - held_out, num_documents)
    raise UserError(f"There is no split {split!r}: use train or, where some is held out, valid.")


def read_parquet(
    files: Sequence[str | Path],
    column: str,
    *,
    skip: int = 0,
    split: str = "train",
    held_out: int = 0,
) -> Iterator[str]:
    """Stream a split's documents with `datasets`; files that hold none of it stay unread.

    Args:
        files: local paths or `hf://` addresses, in order.
        skip: leave out the split's first so many documents.

    Raises:
        UserError: `datasets` is not installed, or there is no such column.
    """
    load_dataset = _load_dataset()
    counts = [count_rows(file) for file in files]
    wanted = split_range(sum(counts), held_out, split)[skip:]
    start = 0
    for file, count in zip(files, counts, strict=True):
        here = range(max(wanted.start, start), min(wanted.stop, start + count))
        if len(here):
            rows = load_dataset("parquet", data_files=[str(file)], split="train", streaming=True)
            rows = rows.skip(here.start - start).take(len(here))
            for row in rows:
                yield _text(row, column, file)
        start += count


def count_rows(file: str | Path) -> int:
    """Count the rows of a parquet file, from its footer alone."""
    try:
        import fsspec
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise missing_extra("datasets", "text") from error
    with fsspec.open(str(file), "rb") as stream:
        return ParquetFile(stream).metadata.num_rows


def _load_dataset() -> Callable[..., Any]:
    try:
        from datasets import disable_progress_bars, load_dataset
    except ImportError as error:
        raise missing_extra("datasets", "text") from error
    disable_progress_bars()
    return load_dataset


def _text(row: dict[str, object], column: str, file: str | Path) -> str:
    if not isinstance(row.get(column), str):
        raise UserError(f"{file} has no text column {column!r}, only {', '.join(row)}.")
    return str(row[column])


# Which licenses a JSONL corpus holds, and the part of it that may be passed on.
#
#     python -m didi_text.corpora.hub train.jsonl.gz                       # counts, by license
#     python -m didi_text.corpora.hub train.jsonl.gz --out open.jsonl.gz   # public domain, CC BY
#
# The models that ship with the package are trained on such a part: their weights may be shared.

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
    """Count documents, words and tokens by license and source, in alphabetical order."""
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
