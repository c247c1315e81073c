"""Tables, work in progress, shards and text: any bytes, and only messages come back."""

import gzip
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from fuzzing import CASES, JSON, altered, damaged, only_user_errors, write
from hypothesis import given
from hypothesis import strategies as st

from didi_core.commands.merge import ShardsMissing, open_shards
from didi_core.sampling.run_request import SampledBatches
from didi_core.training.state_files import load_state, save_state
from didi_protein.reporting.tables import read_tables
from didi_protein.scoring.journal import KnownScores
from didi_protein.scoring.table import build_table, read_scores, summary_path
from didi_text.corpora.documents import read_documents
from didi_text.evaluating.run import evaluation_journal, finished_result
from didi_text.evaluating.zero_shot import (
    read_csv,
    read_jsonl,
    read_lines,
    read_stripped_lines,
)
from didi_text.samples.files import read_samples
from didi_text.samples.prompts import read_prompts
from didi_text.tokenizers.tokenizer import TextTokenizer
from didi_text.tokenizers.train import train_tokenizer

ROWS = [
    {"id": "a", "length": 3, "status": "ok", "sequence": "MKT", "gravy": 0.5, "steps": 8},
    {"id": "NA", "length": 0, "status": "invalid", "error": "empty", "sequence": ""},
]
TABLE = build_table(ROWS)
CSV = TABLE.to_csv(index=False).encode()
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
NEWS = b'"3","A ""B""","C, d"\n"4","E","F"\n'
TEXTS = b'{"text": "The cat.", "id": "s1", "license": "x"}\n{"text": "On the mat.", "id": "s2"}\n'
SETTINGS = {"seed": 0}
PARTIAL = (
    b'{"command": "generate", "settings": {"seed": 0}}\n'
    b'{"seconds": 0.5, "rows": [{"record": 0, "ids": [1], "denoiser_calls": 1, '
    b'"discriminator_calls": 0, "tries": 1, "failure": null}]}\n'
)


def _parquet() -> bytes:
    buffer = io.BytesIO()
    TABLE.to_parquet(buffer, index=False)
    return buffer.getvalue()


@CASES
@given(content=damaged(CSV, words=(b",", b'"', b"\n", b"nan", b"1e400")))
def test_csv(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, "s.csv", content)
    with only_user_errors():
        assert isinstance(read_scores(path), pd.DataFrame)
    with only_user_errors():
        read_tables([path])


@CASES
@given(content=damaged(_parquet()))
def test_parquet(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, "s.parquet", content)
    with only_user_errors():
        read_scores(path)
    with only_user_errors():
        read_tables([path])


@CASES
@given(
    content=damaged(JSONL, words=(b"[", b"{}", b"null", b"\n", b"NaN", b"[1]\n"))
    | st.lists(JSON, max_size=3).map(lambda rows: "\n".join(map(json.dumps, rows)).encode())
)
def test_jsonl(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, "s.jsonl", content)
    with only_user_errors():
        read_scores(path)
    with only_user_errors():
        read_tables([path])


@CASES
@given(
    content=damaged(
        PARTIAL,
        b'{"command": "evaluate", "settings": {"model": "m"}}\n{"name": "a", "figures": {}}\n',
        b'{"command": "score", "settings": {}}\n{"scorer": "[]", "rows": {"k": {"gravy": 1.0}}}\n',
        b'{"settings": {}, "model": "m"}',
        words=(b"null", b"[]", b"{}", b"\n"),
    )
)  # fmt: skip
def test_work_in_progress(tmp_path: Path, content: bytes) -> None:
    with only_user_errors():
        SampledBatches.at(write(tmp_path, "d.partial", content), SETTINGS).journal.resume()
    with only_user_errors():
        KnownScores(write(tmp_path, "s.partial", content)).resume([])
    write(tmp_path, "e.json.partial", content)
    with only_user_errors():
        evaluation_journal(tmp_path / "e.json", {"model": "m"}).resume()
    (tmp_path / "e.json.partial").unlink()
    with only_user_errors():
        finished_result(write(tmp_path, "e.json", content), {"model": "m"})


@CASES
@given(
    side=altered(
        {"shard": {"index": 1, "count": 1, "num_records": 2, "records": [0, 1]}, "settings": {}}
    )
)
def test_shards(tmp_path: Path, side: dict) -> None:
    path = write(tmp_path, "s.csv", CSV)
    write(tmp_path, summary_path(path).name, side)
    try:
        with only_user_errors():
            open_shards([path], summary_path)[0].places(2)
    except ShardsMissing:
        pass


@CASES
@given(
    content=damaged(
        TEXTS, gzip.compress(TEXTS, mtime=0), NEWS, words=(b"<|endoftext|>\n", b"{", b"[]", b'"')
    ),
    name=st.sampled_from(("t.jsonl", "t.txt", "t.jsonl.gz", "t.txt.gz")),
)
def test_text(tmp_path: Path, content: bytes, name: str) -> None:
    path = write(tmp_path, name, content)
    with only_user_errors():
        assert all(isinstance(each, str) for each in read_documents(path))
    with only_user_errors():
        read_samples(path)
    for read in (read_stripped_lines, read_lines, read_jsonl, read_csv):
        with only_user_errors():
            assert all(isinstance(each, str) for each in read(path))


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return train_tokenizer(["the cat sat on the mat"] * 4, 270)


@CASES
@given(text=st.text(max_size=300) | st.text("a _{}0123456789-", max_size=40), flag=st.booleans())
def test_prompts(tokenizer: TextTokenizer, text: str, flag: bool) -> None:
    with only_user_errors():
        for prompt in read_prompts("--prefix" if flag else "--infill", text, tokenizer):
            assert prompt.text == text


def test_a_prompt_longer_than_a_file_name(tokenizer: TextTokenizer) -> None:
    text = "the cat " * 60
    assert read_prompts("--prefix", text, tokenizer)[0].text == text


@CASES
@given(data=st.data())
def test_checkpoint(tmp_path: Path, data: st.DataObject) -> None:
    import torch

    path = tmp_path / "step.safetensors"
    save_state({"step": 3, "method": {"w": torch.arange(6.0), "n": [1, (2,)]}}, path)
    whole = path.read_bytes()
    content = data.draw(damaged(whole, words=(b'"__tensor__"', b"{", b"F64")))
    write(tmp_path, path.name, content)
    with only_user_errors():
        found = load_state(path)
        assert content == whole or found["step"] == 3, "a change that matters is noticed"
