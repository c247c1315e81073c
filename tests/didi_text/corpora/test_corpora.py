"""Corpora: what is read, encoded once, packed, resumed after a kill, and shared by processes."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from text_fixtures import DOCUMENTS, tiny_tokenizer, write_jsonl

from didi_core.data.corpus import CorpusBatches
from didi_core.errors import UserError
from didi_text.corpora import hub as corpora_hub
from didi_text.corpora import load as corpora
from didi_text.corpora.cache import (
    CacheWriter,
    build_cache,
    id_type,
    open_cache,
)
from didi_text.corpora.documents import parse_licenses, read_documents
from didi_text.corpora.hub import (
    HubCorpus,
    count_licenses,
    count_rows,
    read_parquet,
    split_range,
    write_subset,
)
from didi_text.corpora.load import encode_corpus, load_corpus, open_source
from didi_text.corpora.packing import Packing, pack
from didi_text.tokenizers.train import train_tokenizer


def sequences(corpus) -> list[list[int]]:
    return [corpus.ids(record, 10**6) for record in range(len(corpus))]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_jsonl_documents(tmp_path: Path, name: str) -> None:
    path = write_jsonl(tmp_path / name)
    assert list(read_documents(path)) == DOCUMENTS
    assert list(read_documents(path, licenses=["public domain"])) == [DOCUMENTS[0], DOCUMENTS[3]]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_text_documents_end_at_lines_of_end_of_text(tmp_path: Path, name: str) -> None:
    content = f"one\n\nstill one\n<|endoftext|>\n{DOCUMENTS[2]}\n<|endoftext|>\n\n".encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert list(read_documents(path)) == ["one\n\nstill one\n", f"{DOCUMENTS[2]}\n"]


def test_bad_files_are_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n\n{"text": 3}\n')
    with pytest.raises(UserError, match="line 3: no object with a string under 'text'"):
        list(read_documents(path))
    path.write_text('{"text": "fine"}\n{"text"\n')
    with pytest.raises(UserError, match="line 2: no JSON"):
        list(read_documents(path))
    with pytest.raises(UserError, match="There is no file"):
        load_corpus(tmp_path / "none.jsonl", tiny_tokenizer())
    (tmp_path / "a.csv").write_text("a")
    with pytest.raises(UserError, match=r"is no \.jsonl or \.txt file"):
        load_corpus(tmp_path / "a.csv", tiny_tokenizer())
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(UserError, match="names none"):
        list(read_documents(tmp_path / "a.txt", licenses=["CC BY 4.0"]))
    (tmp_path / "b.txt").write_text(" \n")
    with pytest.raises(UserError, match="no text in it"):
        load_corpus(tmp_path / "b.txt", tiny_tokenizer(), cache=tmp_path)


def test_corpus_is_the_packed_documents(tmp_path: Path) -> None:
    tokenizer, packing = tiny_tokenizer(), Packing(block_length=16)
    path = write_jsonl(tmp_path / "a.jsonl.gz")
    corpus = load_corpus(path, tokenizer, packing, cache=tmp_path / "cache")
    expected = pack(tokenizer.encode_many(DOCUMENTS), packing, tokenizer.end_id)
    assert sequences(corpus) == [block.tolist() for block in expected]
    assert isinstance(corpus.flat, np.memmap) and corpus.flat.dtype == np.uint16
    data = CorpusBatches(corpus, tokenizer.vocabulary, 64, 16, seed=0)
    batch = data.batch(data.records(0), 0)
    assert batch.tokens.shape[1] == 16 and batch.maskable[:, 0].all()


def test_text_is_encoded_once_and_found_by_content(tmp_path: Path, monkeypatch) -> None:
    tokenizer, cache = tiny_tokenizer(), tmp_path / "cache"
    path = write_jsonl(tmp_path / "a.jsonl")
    first = load_corpus(path, tokenizer, Packing(16), cache=cache)
    encoded = []
    monkeypatch.setattr(
        type(tokenizer), "encode_many", lambda *given: encoded.append(given[1]) or [[1]]
    )
    moved = path.rename(tmp_path / "moved.jsonl")
    assert sequences(load_corpus(moved, tokenizer, Packing(16), cache=cache)) == sequences(first)
    load_corpus(moved, tokenizer, Packing(32), cache=cache)
    assert not encoded
    load_corpus(moved, tokenizer, Packing(16), licenses=["CC BY 4.0"], cache=cache)
    assert encoded.pop() == [DOCUMENTS[1]]
    write_jsonl(moved, [*DOCUMENTS, "One more."])
    load_corpus(moved, tokenizer, Packing(16), cache=cache)
    assert encoded.pop()[-1] == "One more."
    load_corpus(moved, train_tokenizer(DOCUMENTS, 280), Packing(16), cache=cache)
    assert encoded


def test_the_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("DIDI_CACHE", str(tmp_path / "there"))
    load_corpus(write_jsonl(tmp_path / "a.jsonl"), tiny_tokenizer(), Packing(16))
    assert {each.name for each in (tmp_path / "there" / "text").iterdir()} == {
        "documents",
        "blocks",
    }


def test_max_tokens_bounds_the_cache(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", DOCUMENTS * 600)
    tokenizer = tiny_tokenizer()
    corpus = encode_corpus(open_source(path), tokenizer, max_tokens=10, cache=tmp_path)
    assert len(corpus) == 1_000  # one batch of documents


def encode_numbers(batch):
    return [[number % 7, number % 5] for number in batch]


def test_an_interrupted_build_goes_on_with_the_same_bytes(tmp_path: Path) -> None:
    def build(folder: Path, fail_at: int | None = None):
        def numbers(skip: int):
            for number in range(skip, 35):
                if number == fail_at:
                    raise KeyboardInterrupt
                yield number

        return build_cache(folder, numbers, encode_numbers, 300, {}, records_at_once=10)

    unbroken = build(tmp_path / "a")
    for fail_at in (7, 23, 34):
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "b", fail_at)
        # What was written after the last note of progress is cut off.
        with open(tmp_path / "b" / "flat.ids", "ab") as stream:
            stream.write(b"rubbish")
    resumed = build(tmp_path / "b")
    assert sequences(resumed) == sequences(unbroken) == encode_numbers(range(35))
    for name in ("flat.ids", "flat.starts"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_damaged_cache_is_noticed(tmp_path: Path) -> None:
    build_cache(tmp_path, lambda skip: iter(range(skip, 5)), encode_numbers, 300, {})
    with open(tmp_path / "flat.ids", "ab") as stream:
        stream.write(b"x")
    with pytest.raises(UserError, match="damaged"):
        open_cache(tmp_path)


def test_wide_vocabularies_get_wide_ids(tmp_path: Path) -> None:
    assert (id_type(50_257), id_type(65_536), id_type(65_537)) == ("<u2", "<u2", "<i4")
    writer = CacheWriter.open(tmp_path, "<i4")
    writer.append([[70_000, 3]], 1)
    assert sequences(writer.finish({})) == [[70_000, 3]]


def test_splits_of_a_hub_corpus() -> None:
    assert split_range(8_013_769, 100_000, "train") == range(7_913_769)
    with pytest.raises(UserError, match="no split 'valid'"):
        split_range(10, 0, "valid")
    with pytest.raises(UserError, match="no such split"):
        open_source("openwebtext:test")
    with pytest.raises(UserError, match="stream and offline"):
        open_source("openwebtext", stream=True, offline=True)
    with pytest.raises(UserError, match="licenses"):
        open_source("openwebtext", licenses=["CC BY 4.0"])


@pytest.fixture
def parquet_files(tmp_path: Path) -> list[Path]:
    pytest.importorskip("datasets")
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = tmp_path / "plain_text"
    folder.mkdir()
    files = [folder / f"train-0000{n}.parquet" for n in range(3)]
    for n, path in enumerate(files):
        texts = [f"document {4 * n + i}" for i in range(4)]
        parquet.write_table(pyarrow.table({"text": texts}), path)
    return files


def test_parquet_splits_and_skips(parquet_files: list[Path]) -> None:
    everything = [f"document {n}" for n in range(12)]
    assert [count_rows(path) for path in parquet_files] == [4, 4, 4]
    assert list(read_parquet(parquet_files, "text")) == everything
    assert list(read_parquet(parquet_files, "text", held_out=5)) == everything[:7]
    held_out = list(read_parquet(parquet_files, "text", split="valid", held_out=5))
    assert held_out == everything[7:]
    assert list(read_parquet(parquet_files, "text", held_out=5, skip=6)) == everything[6:7]
    with pytest.raises(UserError, match="no text column 'article', only text"):
        list(read_parquet(parquet_files, "article"))


def test_a_hub_corpus_is_read_from_its_files(parquet_files, tmp_path, monkeypatch) -> None:
    here = HubCorpus("somebody/corpus", "0" * 40, "plain_text/train-*.parquet", held_out=5)
    monkeypatch.setitem(corpora_hub.HUB_CORPORA, "openwebtext", here)
    asked = []

    def fetch_part(name, patterns, **where):
        asked.append((name, patterns, where["revision"], where["offline"]))
        return tmp_path

    monkeypatch.setattr(corpora_hub, "fetch_part", fetch_part)
    monkeypatch.setattr(corpora, "list_remote", lambda _: parquet_files)
    tokenizer = tiny_tokenizer()
    valid = load_corpus("openwebtext:valid", tokenizer, offline=True, cache=tmp_path / "a")
    assert asked == [("somebody/corpus", ["plain_text/train-*.parquet"], "0" * 40, True)]
    streamed = load_corpus("openwebtext:valid", tokenizer, stream=True, cache=tmp_path / "b")
    assert len(asked) == 1
    text = "".join(f"document {n}<|endoftext|>" for n in range(7, 12))
    expected = [tokenizer.end_id, *tokenizer.encode(text), tokenizer.end_id]
    assert sequences(valid) == sequences(streamed) == [expected]


def test_the_pinned_copy_is_a_commit() -> None:
    revision = corpora_hub.OPENWEBTEXT.revision
    assert len(revision) == 40 and set(revision) <= set("0123456789abcdef")
    assert corpora_hub.OPENWEBTEXT.held_out == 100_000


def test_without_datasets_the_install_line_is_said(monkeypatch) -> None:
    import builtins

    real = builtins.__import__

    def blocked(name, *more, **named):
        if name.split(".")[0] in ("datasets", "pyarrow"):
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(UserError, match=r"didi-protein\[text\]"):
        list(read_parquet(["a.parquet"], "text"))


def test_licenses_are_counted_and_cut_out(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl.gz")
    records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    counts = {each.license: each for each in count_licenses(records, tiny_tokenizer())}
    assert {name: each.documents for name, each in counts.items()} == {
        "public domain": 2,
        "CC BY 4.0": 1,
        "unstated": 1,
    }
    assert counts["CC BY 4.0"].words == len(DOCUMENTS[1].split())
    assert counts["CC BY 4.0"].tokens == len(tiny_tokenizer().encode(DOCUMENTS[1]))
    for name in ("b.jsonl.gz", "c.jsonl.gz"):
        assert write_subset(path, tmp_path / name, parse_licenses("public domain,CC BY 4.0")) == 3
    kept = [DOCUMENTS[i] for i in (0, 1, 3)]
    assert list(read_documents(tmp_path / "b.jsonl.gz")) == kept
    assert (tmp_path / "b.jsonl.gz").read_bytes() == (tmp_path / "c.jsonl.gz").read_bytes()
