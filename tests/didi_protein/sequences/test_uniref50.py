"""The UniRef50 cache: fetched, checked, encoded, split, memory-mapped."""

import hashlib
import io
import json
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest
from file_server import Behaviour, serve

from didi_core.data.corpus import Corpus, CorpusBatches
from didi_core.errors import UserError
from didi_core.io.download import RemoteFile
from didi_protein.sequences import uniref50 as uniref50_build
from didi_protein.sequences.alphabet import PROTEIN, decode
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.sequences.uniref50 import (
    SOURCE,
    cache_folder,
    download_uniref50,
    open_cache,
)

SPLITS = {"train": [7, 0, 3, 4, 9, 1], "valid": [2, 5], "rtest": [6, 8]}


def sequences() -> list[str]:
    """Ten, of which records 3 and 5 have letters that are no residues."""
    draw = random.Random(0)
    made = ["".join(draw.choices(CANONICAL_RESIDUES, k=draw.randint(5, 200))) for _ in range(10)]
    made[3] = "MKX" + made[3]
    made[5] = made[5] + "u"
    return made


def fasta(width: int) -> bytes:
    lines = []
    for place, sequence in enumerate(sequences()):
        parts = [sequence[first : first + width] for first in range(0, len(sequence), width)]
        lines += [f">UniRef50_{place} Some protein n=1", *parts]
    return ("\n".join(lines) + "\n").encode()


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as target:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            target.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def whole_archive(width: int = 10_000) -> bytes:
    return archive(
        {
            "uniref50/lengths_and_offsets.npz": b"not read",
            "uniref50/consensus.fasta": fasta(width),
            "uniref50/splits.json": json.dumps(SPLITS).encode(),
        }
    )


def build(tmp_path: Path, content: bytes, **options: object) -> Path:
    md5 = hashlib.md5(content).hexdigest()
    with serve(Behaviour(content), "uniref50.tar.gz") as told:
        return download_uniref50(tmp_path, source=RemoteFile(told.url, md5), **options)


def texts(corpus: Corpus) -> list[str]:
    return [decode(corpus.ids(record, 10_000)) for record in range(len(corpus))]


@pytest.mark.parametrize("width", [60, 10_000], ids=["wrapped", "one line"])
def test_splits_hold_their_sequences(
    tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uniref50_build, "RECORDS_AT_ONCE", 2)
    build(tmp_path, whole_archive(width))
    made = sequences()
    for split, records in SPLITS.items():
        expected = [made[place] for place in sorted(records) if place not in (3, 5)]
        assert texts(open_cache(split, tmp_path)) == expected
    summary = json.loads((tmp_path / "cache.json").read_text())
    assert summary["splits"]["train"] == {
        "sequences": 5,
        "residues": sum(len(made[place]) for place in (7, 0, 4, 9, 1)),
        "left_out": 1,
    }
    names = {f"{split}.{kind}" for split in SPLITS for kind in ("ids", "starts")}
    assert {path.name for path in tmp_path.iterdir()} == {*names, "cache.json"}


def test_cache_is_memory_mapped_and_trains(tmp_path: Path) -> None:
    build(tmp_path, whole_archive())
    corpus = open_cache("train", tmp_path)
    assert isinstance(corpus.flat, np.memmap) and corpus.flat.dtype == np.uint8
    assert isinstance(corpus.starts, np.memmap) and corpus.starts.dtype == np.int64
    batches = CorpusBatches(corpus, PROTEIN, tokens_per_batch=256, max_length=50, seed=0)
    batch = batches.batch(batches.records(0), 0)
    assert int(batch.lengths.max()) <= 52 and batch.tokens[:, 0].eq(PROTEIN.bos_id).all()


def test_second_call_does_nothing(tmp_path: Path) -> None:
    build(tmp_path, whole_archive())
    assert download_uniref50(tmp_path, source=RemoteFile("http://127.0.0.1:9/x")) == tmp_path


def test_interrupted_transfer_is_resumed(tmp_path: Path) -> None:
    content = whole_archive()
    md5 = hashlib.md5(content).hexdigest()
    half = len(content) // 2
    (tmp_path / "uniref50.tar.gz.part").write_bytes(content[:half])
    with serve(Behaviour(content), "uniref50.tar.gz") as told:
        download_uniref50(tmp_path, source=RemoteFile(told.url, md5))
    assert told.requests == [f"bytes={half}-"]
    assert len(open_cache("train", tmp_path)) == 5


def test_interrupted_building_starts_from_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("didi_protein.sequences.uniref50.write_split", die)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, whole_archive())
    with pytest.raises(UserError, match="no cache"):
        open_cache("train", tmp_path)
    kept = tmp_path / "uniref50.tar.gz"
    md5 = hashlib.md5(kept.read_bytes()).hexdigest()
    source = RemoteFile("http://127.0.0.1:9/uniref50.tar.gz", md5)
    download_uniref50(tmp_path, source=source, keep_archive=True)
    assert kept.is_file()
    assert len(open_cache("train", tmp_path)) == 5


def test_wrong_checksum(tmp_path: Path) -> None:
    told = Behaviour(whole_archive())
    with serve(told, "uniref50.tar.gz"), pytest.raises(UserError, match="checksum"):
        download_uniref50(tmp_path, source=RemoteFile(told.url, "0" * 32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "no archive of UniRef50"),
        (whole_archive()[:-300], "no archive of UniRef50"),
        (archive({"uniref50/splits.json": b"{}"}), "lacks consensus"),
        (archive({"consensus.fasta": fasta(60)}), "lacks consensus"),
        (archive({"consensus.fasta": fasta(60), "splits.json": b"[1"}), "no archive of UniRef50"),
        (archive({"consensus.fasta": fasta(60), "splits.json": b"[1]"}), "no JSON object"),
        (archive({"consensus.fasta": b"\xff\xfe", "splits.json": b"{}"}), "no archive"),
        (
            archive({"consensus.fasta": fasta(60), "splits.json": b'{"train": [1, 10]}'}),
            "names record 10 of 10",
        ),
    ],
    ids=range(8),
)
def test_other_content(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(tmp_path, content)
    assert not (tmp_path / "cache.json").exists()


def test_cache_that_is_not_there_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `didi-protein download uniref50`"):
        open_cache("train", tmp_path)
    build(tmp_path, whole_archive())
    with pytest.raises(UserError, match=r"no split 'test': one of train, valid, rtest"):
        open_cache("test", tmp_path)
    with (tmp_path / "train.ids").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(UserError, match="damaged"):
        open_cache("train", tmp_path)


def test_place_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIDI_CACHE", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c" / "uniref50"
    monkeypatch.delenv("DIDI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "didi-protein" / "uniref50"


def test_source_is_pinned() -> None:
    assert "zenodo.org/records/6564798/" in SOURCE.url
    assert SOURCE.name == "uniref50.tar.gz" and len(SOURCE.md5 or "") == 32
