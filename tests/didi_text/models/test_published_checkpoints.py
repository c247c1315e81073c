"""Checkpoints of the Duo code base that lie alone: `--tokenizer` says what their ids mean."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dit_fixtures import draw, published_shapes
from published_folders import algorithm_content, causal_weights, write_checkpoint
from text_fixtures import DOCUMENTS, save_causal, tiny_tokenizer, write_jsonl
from text_models import sample

from didi_core.errors import UserError
from didi_text.benchmarking import run as benchmark_run
from didi_text.benchmarking.options import BenchmarkOptions
from didi_text.benchmarking.run import run_benchmark
from didi_text.evaluate import evaluate
from didi_text.evaluating.options import EvaluateOptions
from didi_text.models.load import open_causal, open_model

KINDS = {"ar": "autoregressive", "sedd": "score-entropy", "mdlm": "masked", "duo": "uniform-state"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of each kind, and a tokenizer somewhere else."""
    folder, words = tmp_path_factory.mktemp("checkpoints"), tiny_tokenizer().vocabulary.size
    tiny_tokenizer().save(folder / "tokenizer")
    for name in KINDS:
        shapes = published_shapes(words=words)
        weights = causal_weights(1, words) if name == "ar" else draw(shapes, 1)
        write_checkpoint(folder / name / f"{name}.ckpt", algorithm_content(name, weights))
    return folder


@pytest.mark.parametrize("name", KINDS)
def test_each_is_evaluated_and_sampled_as_what_it_is(
    folder: Path, tmp_path: Path, name: str
) -> None:
    data = write_jsonl(tmp_path / "some.jsonl", DOCUMENTS)
    model, tokenizer = folder / name / f"{name}.ckpt", str(folder / "tokenizer")
    common: dict[str, Any] = {"model": str(model), "data": str(data), "device": "cpu"}
    options = EvaluateOptions(
        task="bound", out=tmp_path / "o.json", tokenizer=tokenizer, limit=2, quiet=True, **common
    )
    found = evaluate(options).figures
    assert found["model"]["kind"] == KINDS[name] and found["figures"]["perplexity"] > 1.0
    steps = {"steps": None} if name == "ar" else {}
    made = sample(model, tmp_path / "s.jsonl", num=2, tokenizer=tokenizer, **steps)
    vocabulary = tiny_tokenizer().vocabulary
    for line in made.out.read_text().splitlines():
        row = json.loads(line)
        assert set(row["ids"]) <= set(vocabulary.generable_ids)
        assert row["text"] == tiny_tokenizer().decode(row["ids"])


def test_a_baseline_is_no_teacher_and_a_teacher_no_baseline(folder: Path) -> None:
    lone = folder / "ar"
    tiny_tokenizer().save(lone)
    with pytest.raises(UserError, match=r"ar\.ckpt is autoregressive: a denoiser is needed"):
        open_model(lone / "ar.ckpt")
    assert open_causal(str(lone / "ar.ckpt")).kind == "autoregressive"
    tiny_tokenizer().save(folder / "mdlm")
    with pytest.raises(UserError, match=r"mdlm\.ckpt is a masked model, no causal one"):
        open_causal(str(folder / "mdlm" / "mdlm.ckpt"))


def test_a_benchmark_of_checkpoints_without_a_tokenizer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named once, it is that of the models and of a baseline that is a checkpoint."""
    monkeypatch.setattr(benchmark_run, "plot_benchmark", lambda *_: None)  # drawn elsewhere
    judge, tokenizer = save_causal(tmp_path / "judge"), folder / "tokenizer"
    options = BenchmarkOptions(
        models=str(folder / "sedd" / "sedd.ckpt"), baseline=str(folder / "ar" / "ar.ckpt"),
        judge=str(judge), tokenizer=str(tokenizer), steps="2", length=8, num=2, repeats=1,
        max_batch=1, device="cpu", out=tmp_path / "study",
    )  # fmt: skip
    record = run_benchmark(options).record
    assert [row["status"] for row in record["rows"]] == ["ok", "ok"]
    assert {each["tokenizer"] for each in record["models"].values()} == {tiny_tokenizer().digest}
    for path in (options.out / "samples").glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert all(row["text"] == tiny_tokenizer().decode(row["ids"]) for row in rows)
    for wrong, said in (("tiny", "301, not 2049"), ("no/thing/here", "--tokenizer no/thing/here")):
        with pytest.raises(UserError, match=said):
            run_benchmark(replace(options, tokenizer=wrong, out=tmp_path / "other"))


def test_a_tokenizer_without_a_model_is_refused(tmp_path: Path) -> None:
    options = EvaluateOptions(
        task="genppl", out=tmp_path / "o.json", data="samples.jsonl", tokenizer="tiny"
    )
    with pytest.raises(UserError, match="--tokenizer tiny is of a --model"):
        evaluate(options)
