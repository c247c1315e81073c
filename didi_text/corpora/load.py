"""What `data=` names, as blocks to train on: files, or a corpus of the hub.

    corpus = load_corpus("train.jsonl.gz", tokenizer, Packing(block_length=1024))
    corpus = load_corpus("openwebtext", tokenizer)              # and "openwebtext:valid"

The text is encoded once, into a cache keyed by its content and the tokenizer; packing that into
blocks makes a second one, so that another block length needs no new encoding. Both are memory-
mapped: a corpus may be larger than memory. With `stream=True` the text itself never lies on disk,
and `max_tokens` bounds what does.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from filelock import FileLock

from didi_core.data.corpus import Corpus
from didi_core.errors import UserError
from didi_core.io.files import at_home
from didi_core.models.named import nearest_name
from didi_core.progress import progress_bar
from didi_text.corpora.cache import (
    build_cache,
    cache_root,
    is_finished,
    open_cache,
)
from didi_text.corpora.documents import document_kind, read_documents
from didi_text.corpora.hub import (
    HUB_CORPORA,
    fetch_parquet,
    list_remote,
    read_parquet,
)
from didi_text.corpora.packing import Packing, pack
from didi_text.tokenizers.tokenizer import TextTokenizer

FORMAT = 1
"""Raised when caches of an older version would be wrong."""


@dataclass(frozen=True)
class TextSource:
    """Where documents come from."""

    name: str
    """As the user gave it."""
    key: dict[str, object]
    """What decides the documents, content included."""
    read: Callable[[int], Iterator[str]]
    """The documents but for the first so many."""


def load_corpus(
    source: str | Path,
    tokenizer: TextTokenizer,
    packing: Packing | None = None,
    *,
    licenses: Collection[str] = (),
    max_tokens: int | None = None,
    stream: bool = False,
    offline: bool = False,
    cache: Path | None = None,
) -> Corpus:
    """Load the blocks of `source`, from the cache where it was packed before.

    Args:
        source: a `.jsonl` or `.txt` file, plain or `.gz`; `openwebtext` or `lm1b`, and their
            held-out parts `openwebtext:valid` and `lm1b:valid`.
        packing: how documents become blocks; as MDLM's where None.
        licenses: keep only JSONL records whose key `license` is one of these.
        max_tokens: encode no more than about this many tokens.
        stream: read a corpus of the hub over the network, keeping none of its text.
        cache: folder for caches; DIDI_CACHE decides where None.

    Returns:
        A corpus whose sequences are blocks; ids are unframed for the vocabulary, which has no
        begin and end of its own.

    Raises:
        UserError: see `open_source`; or there is no text in it.
    """
    packing = packing or Packing()
    opened = open_source(source, licenses=licenses, stream=stream, offline=offline)
    documents = encode_corpus(opened, tokenizer, max_tokens=max_tokens, cache=cache)
    key = {
        **_encoding_key(opened, tokenizer, max_tokens),
        "packing": asdict(packing),
        "end_id": tokenizer.end_id,
    }
    with _locked(_folder(cache, "blocks", key)) as folder:
        if is_finished(folder):
            return open_cache(folder)
        return build_cache(
            folder,
            lambda skip: islice(pack(_sequences(documents), packing, tokenizer.end_id), skip, None),
            lambda blocks: blocks,
            tokenizer.size,
            {"source": opened.name, **key},
        )


def encode_corpus(
    source: TextSource,
    tokenizer: TextTokenizer,
    *,
    max_tokens: int | None = None,
    cache: Path | None = None,
) -> Corpus:
    """Encode the documents of `source`, one sequence each, nothing added.

    Raises:
        UserError: there is no text in it.
    """
    key = _encoding_key(source, tokenizer, max_tokens)
    with _locked(_folder(cache, "documents", key)) as folder:
        if is_finished(folder):
            return open_cache(folder)
        with progress_bar(f"encoding {source.name}", float(max_tokens or 0) or None) as show:
            corpus = build_cache(
                folder,
                source.read,
                tokenizer.encode_many,
                tokenizer.size,
                {"source": source.name, **key},
                max_tokens=max_tokens,
                show=show,
            )
    print(f"{source.name}: {len(corpus):,} documents, {len(corpus.flat):,} tokens", file=sys.stderr)
    return corpus


def open_source(
    source: str | Path,
    *,
    licenses: Collection[str] = (),
    stream: bool = False,
    offline: bool = False,
) -> TextSource:
    """Find what `source` names.

    Raises:
        UserError: no such file or corpus, or settings that do not go with it.
    """
    name, _, split = str(source).partition(":")
    if name in HUB_CORPORA and not Path(source).exists():
        if licenses:
            raise UserError(f"licenses: {name} names none of its documents' licenses.")
        return _hub_source(name, split or "train", stream, offline)
    if stream:
        raise UserError(f"stream: {source} is a file here, and is never copied; leave it out.")
    path = Path(at_home(source))
    if not path.exists() and (near := nearest_name(name, HUB_CORPORA)):
        raise UserError(f"There is no file {source}: did you mean {near}?")
    document_kind(path)
    kept = sorted(licenses)
    key: dict[str, object] = {"sha256": file_digest(path), "licenses": kept}
    return TextSource(
        str(source), key, lambda skip: islice(read_documents(path, licenses=kept), skip, None)
    )


def _hub_source(name: str, split: str, stream: bool, offline: bool) -> TextSource:
    corpus = HUB_CORPORA[name]
    if stream and offline:
        raise UserError("stream and offline exclude each other: leave one of them out.")

    if split not in ("train", "valid"):
        raise UserError(f"data={name}:{split}: there is no such split; use {name} or {name}:valid.")
    part, rows = corpus.part(split)

    def read(skip: int) -> Iterator[str]:
        if stream:
            files: Sequence[str | Path] = list_remote(part)
        else:
            files = fetch_parquet(part, offline=offline, called=name)
        texts = read_parquet(files, part.column, skip=skip, split=rows, held_out=part.held_out)
        return map(part.detokenise, texts)

    return TextSource(f"{name}:{split}", corpus.key(split), read)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _encoding_key(
    source: TextSource, tokenizer: TextTokenizer, max_tokens: int | None
) -> dict[str, object]:
    return {
        "format": FORMAT,
        "documents": source.key,
        "tokenizer": tokenizer.digest,
        "max_tokens": max_tokens,
    }


def _folder(cache: Path | None, kind: str, key: dict[str, object]) -> Path:
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    return (cache or cache_root()) / kind / name


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Hold the cache folder: of several processes one builds it, and the others wait."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        yield folder


def _sequences(corpus: Corpus) -> Iterator[np.ndarray]:
    starts = corpus.starts
    return (corpus.flat[starts[i] : starts[i + 1]] for i in range(len(corpus)))
