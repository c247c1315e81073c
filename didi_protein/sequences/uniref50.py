"""UniRef50 as DPLM and EvoDiff trained on it: fetched once, kept as a memory-mapped cache.

The source is the UniRef50 release of March 2020 with the train, valid, test and rtest splits of
CARP (Yang, Fusi and Lu, 2022), Zenodo record 6564798, about 42 million sequences. A Zenodo record
never changes, and each of its files has an MD5. The archive holds `consensus.fasta` and
`splits.json`, which lists the records of each split by their place in the FASTA file.

The cache is a folder with, for each split, `SPLIT.ids` (uint8 token ids, all sequences end to
end) and `SPLIT.starts` (little-endian int64, one more than there are sequences), and
`cache.json`, written last. Sequences with a letter other than the 20 residues are left out.
"""

import json
import os
import shutil
import sys
import tarfile
from array import array
from pathlib import Path
from typing import IO, Any

import numpy as np
from Bio.SeqIO.FastaIO import SimpleFastaParser

from didi_core.data.corpus import Corpus
from didi_core.errors import UserError
from didi_core.io.download import RemoteFile, fetch_file
from didi_core.io.files import atomic_open, write_json
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.residues import CANONICAL_RESIDUES

SOURCE = RemoteFile(
    url="https://zenodo.org/records/6564798/files/uniref50.tar.gz?download=1",
    md5="e2278f1d93836e8309cf4192b8455828",
)


_DONE = "cache.json"


def cache_folder() -> Path:
    """Find where the cache lies: below DIDI_CACHE, else XDG_CACHE_HOME, else ~/.cache."""
    if chosen := os.environ.get("DIDI_CACHE"):
        return Path(chosen).expanduser() / "uniref50"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "didi-protein" / "uniref50"


def download_uniref50(
    folder: Path | None = None, *, source: RemoteFile = SOURCE, keep_archive: bool = False
) -> Path:
    """Fetch UniRef50 and build its cache; run again, it goes on where it stopped.

    A machine without network: put the archive (`uniref50.tar.gz` of the Zenodo record) into the
    folder by hand, and it is checked and used.

    Args:
        keep_archive: leave the archive beside the cache.

    Returns:
        The folder of the cache.

    Raises:
        UserError: the archive cannot be fetched, has another checksum, or holds something else.
    """
    folder = folder or cache_folder()
    if (folder / _DONE).is_file():
        return folder
    archive = fetch_file(source, folder / source.name)
    counts = _build(archive, folder)
    write_json(folder / _DONE, {"url": source.url, "md5": source.md5, "splits": counts})
    if not keep_archive:
        archive.unlink()
    return folder


def open_cache(split: str = "train", folder: Path | None = None) -> Corpus:
    """Open a split of the cache as a corpus of memory-mapped ids.

    Raises:
        UserError: it was not downloaded, has no such split, or a file of it is cut short.
    """
    folder = folder or cache_folder()
    if not (folder / _DONE).is_file():
        raise UserError(
            f"data=uniref50: there is no cache in {folder}: run `didi-protein download uniref50` "
            "(set DIDI_CACHE to keep it elsewhere)."
        )
    splits: dict[str, dict[str, int]] = json.loads((folder / _DONE).read_text())["splits"]
    if split not in splits:
        raise UserError(f"UniRef50 has no split {split!r}: one of {', '.join(splits)}.")
    ids, starts = folder / f"{split}.ids", folder / f"{split}.starts"
    count, residues = splits[split]["sequences"], splits[split]["residues"]
    sizes = [path.stat().st_size if path.is_file() else 0 for path in (ids, starts)]
    if sizes != [residues, 8 * (count + 1)]:
        raise UserError(
            f"The cache in {folder} is damaged ({split}): remove the folder and run "
            "`didi-protein download uniref50` again."
        )
    return Corpus(np.memmap(ids, np.uint8, "r"), np.memmap(starts, "<i8", "r"))


def _build(archive: Path, folder: Path) -> dict[str, dict[str, int]]:
    """Write every split; returns their counts."""
    work = folder / "building"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    print(f"UniRef50: reading {archive} (about a quarter of an hour)", file=sys.stderr)
    splits = _unpack(archive, work)
    all_ids = np.memmap(work / "all.ids", np.uint8, "r")
    all_starts = np.fromfile(work / "all.starts", "<i8")
    counts = {}
    for name, records in splits.items():
        counts[name] = write_split(all_ids, all_starts, records, folder / name)
        print(f"UniRef50: {name}: {counts[name]['sequences']:,} sequences", file=sys.stderr)
    del all_ids
    shutil.rmtree(work)
    return counts


def _unpack(archive: Path, work: Path) -> dict[str, np.ndarray]:
    """Encode the sequences into `work` and return the records of each split, in one pass."""
    splits: dict[str, np.ndarray] | None = None
    encoded = False
    try:
        # A stream: the archive is ten times smaller than what it holds, and is not unpacked.
        with tarfile.open(archive, "r|gz", bufsize=1 << 20) as content:
            for member in content:
                name = member.name.rpartition("/")[2]
                if name not in ("consensus.fasta", "splits.json") or not member.isfile():
                    continue
                stream = content.extractfile(member)
                assert stream is not None
                if name == "splits.json":
                    splits = _read_splits(stream)
                else:
                    encode_fasta(stream, work)
                    encoded = True
    except (tarfile.TarError, EOFError, ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{archive} is no archive of UniRef50, or is damaged: {error}.") from error
    if splits is None or not encoded:
        raise UserError(f"{archive} lacks consensus.fasta or splits.json: another archive?")
    return splits


def _read_splits(stream: IO[bytes]) -> dict[str, np.ndarray]:
    content: Any = json.load(stream)
    if not isinstance(content, dict):
        raise ValueError("splits.json is no JSON object")
    return {str(name): np.sort(np.asarray(content[name], np.int64)) for name in content}


# Turn the FASTA file of UniRef50 into flat arrays of token ids, and cut the splits out of them.

RECORDS_AT_ONCE = 100_000


_TO_IDS = bytes.maketrans(
    CANONICAL_RESIDUES.encode(),
    bytes(PROTEIN.id_of_token[letter] for letter in CANONICAL_RESIDUES),
)


def encode_fasta(stream: IO[bytes], work: Path) -> None:
    """Write `all.ids` and `all.starts` into `work`, streaming.

    Every record keeps its place, because the splits name records by place: one with a letter
    other than the 20 residues becomes a record of length zero.
    """
    # Not io.TextIOWrapper: it asks whether it may seek, which a streamed archive cannot answer.
    lines = (line.decode("ascii") for line in stream)
    starts = array("q", [0])
    with (work / "all.ids").open("wb", buffering=1 << 20) as ids:
        for _, sequence in SimpleFastaParser(lines):
            letters = sequence.encode()
            if not letters.translate(None, CANONICAL_RESIDUES.encode()):
                ids.write(letters.translate(_TO_IDS))
            starts.append(ids.tell())
    np.asarray(starts, "<i8").tofile(work / "all.starts")


def write_split(
    all_ids: np.ndarray, all_starts: np.ndarray, records: np.ndarray, target: Path
) -> dict[str, int]:
    """Write `TARGET.ids` and `TARGET.starts` of the records given.

    Args:
        all_ids: uint8 ids of all records, end to end.
        all_starts: where each begins, and the end of the last.
        records: places of the records wanted, in increasing order.

    Returns:
        How many sequences and residues were written, and how many sequences left out.

    Raises:
        UserError: a record that does not exist.
    """
    if len(records) and not 0 <= records[0] <= records[-1] < len(all_starts) - 1:
        raise UserError(
            f"splits.json of UniRef50 names record {records[-1]} of {len(all_starts) - 1}: the "
            "archive is damaged or another one."
        )
    lengths = np.diff(all_starts)[records]
    kept, lengths = records[lengths > 0], lengths[lengths > 0]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype("<i8")
    with atomic_open(f"{target}.ids", "wb") as stream:
        for first in range(0, len(kept), RECORDS_AT_ONCE):
            chunk = kept[first : first + RECORDS_AT_ONCE]
            spans = zip(all_starts[chunk], all_starts[chunk + 1], strict=True)
            stream.write(np.concatenate([all_ids[start:end] for start, end in spans]).tobytes())
    with atomic_open(f"{target}.starts", "wb") as stream:
        stream.write(starts.tobytes())
    return {
        "sequences": len(kept),
        "residues": int(starts[-1]),
        "left_out": len(records) - len(kept),
    }
