"""Encoded documents and packed blocks on disk: memory-mapped, resumable, keyed by content.

A cache is a folder with `flat.ids` (uint16 where the vocabulary allows, else int32; all sequences
end to end), `flat.starts` (int64, one more than there are sequences) and `cache.json`, written
last. While it is being built, `progress.json` says how much of both files is good; an interrupted
build is cut back to that and goes on.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from didi_core.data.corpus import Corpus
from didi_core.errors import UserError
from didi_core.io.files import append_durably, write_json

DONE, PROGRESS = "cache.json", "progress.json"
IDS, STARTS = "flat.ids", "flat.starts"


def cache_root() -> Path:
    """Find where caches lie: below DIDI_CACHE, else XDG_CACHE_HOME, else ~/.cache."""
    if chosen := os.environ.get("DIDI_CACHE"):
        return Path(chosen).expanduser() / "text"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "didi-text"


def id_type(vocabulary_size: int) -> str:
    """Return the little-endian type that holds every id."""
    return "<u2" if vocabulary_size <= 2**16 else "<i4"


@dataclass
class CacheWriter:
    """Appends sequences to a cache; safe to kill at any time."""

    folder: Path
    dtype: str
    sequences: int = 0
    """Sequences that are on disk."""
    tokens: int = 0
    records_read: int = 0
    """Records of the source that they came from; a build that goes on skips these."""

    @classmethod
    def open(cls, folder: Path, dtype: str) -> "CacheWriter":
        """Open a new cache, or the good part of one that was interrupted."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / PROGRESS
        known = json.loads(path.read_text()) if path.is_file() else {}
        if known.get("dtype") != dtype:
            known = {"sequences": 0, "tokens": 0, "records_read": 0}
        known.pop("dtype", None)
        writer = cls(folder, dtype, **known)
        _cut(folder / IDS, writer.tokens * np.dtype(dtype).itemsize)
        _cut(folder / STARTS, 8 * writer.sequences)
        return writer

    def append(self, sequences: Sequence[Sequence[int]], records_read: int) -> None:
        """Add sequences; they are on disk when this returns."""
        lengths = np.array([len(each) for each in sequences], dtype=np.int64)
        ends = self.tokens + np.cumsum(lengths)
        flat = [np.asarray(each, dtype=self.dtype) for each in sequences]
        _append(self.folder / IDS, np.concatenate(flat) if flat else np.empty(0, self.dtype))
        _append(self.folder / STARTS, (ends - lengths).astype("<i8"))
        self.sequences += len(sequences)
        self.tokens += int(lengths.sum())
        self.records_read = records_read
        write_json(
            self.folder / PROGRESS,
            {
                "sequences": self.sequences,
                "tokens": self.tokens,
                "records_read": records_read,
                "dtype": self.dtype,
            },
        )

    def finish(self, description: dict[str, object]) -> Corpus:
        """Close the cache and open it.

        Raises:
            UserError: it holds nothing.
        """
        if not self.tokens:
            raise UserError(f"{description.get('source', self.folder)}: there is no text in it.")
        _append(self.folder / STARTS, np.array([self.tokens], "<i8"))
        sizes = {"sequences": self.sequences, "tokens": self.tokens, "dtype": self.dtype}
        write_json(self.folder / DONE, {**description, **sizes})
        (self.folder / PROGRESS).unlink(missing_ok=True)
        return open_cache(self.folder)


def is_finished(folder: Path) -> bool:
    return (folder / DONE).is_file()


def open_cache(folder: Path) -> Corpus:
    """Open the sequences of a finished cache, memory-mapped.

    Raises:
        UserError: a file of it is cut short.
    """
    known = json.loads((folder / DONE).read_text())
    dtype = np.dtype(known["dtype"])
    sizes = [path.stat().st_size if path.is_file() else 0 for path in _files(folder)]
    if sizes != [known["tokens"] * dtype.itemsize, 8 * (known["sequences"] + 1)]:
        raise UserError(f"The cache {folder} is damaged: remove the folder, and run again.")
    ids, starts = _files(folder)
    return Corpus(np.memmap(ids, dtype, "r"), np.memmap(starts, "<i8", "r"))


def build_cache(
    folder: Path,
    records_after: Callable[[int], Iterator[object]],
    encode: Callable[[list], Iterable[Sequence[int]]],
    vocabulary_size: int,
    description: dict[str, object],
    *,
    records_at_once: int = 1_000,
    max_tokens: int | None = None,
    show: Callable[[float], object] = float,
) -> Corpus:
    """Encode `records` into `folder`, or go on where an interrupted build stopped.

    Args:
        records_after: the records but for the first so many; the same ones in every run.
        encode: sequences of some records.
        description: goes into `cache.json`.
        max_tokens: stop after the batch that reaches this many.
        show: told how many tokens there are after each batch.
    """
    writer = CacheWriter.open(folder, id_type(vocabulary_size))
    done = writer.records_read
    records = records_after(done)
    while (max_tokens is None or writer.tokens < max_tokens) and (
        batch := list(islice(records, records_at_once))
    ):
        done += len(batch)
        writer.append([each for each in encode(batch) if len(each)], done)
        show(writer.tokens)
    return writer.finish(description)


def _files(folder: Path) -> tuple[Path, Path]:
    return folder / IDS, folder / STARTS


def _append(path: Path, values: np.ndarray) -> None:
    append_durably(path, values.tobytes())


def _cut(path: Path, size: int) -> None:
    path.touch()
    os.truncate(path, size)
