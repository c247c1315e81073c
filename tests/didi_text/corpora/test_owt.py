"""The recipes of OpenWebText: what they hold, and each of them trained at toy size."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from text_fixtures import tiny_tokenizer
from typer.testing import CliRunner

from didi_core.cli.hydra_app import compose_settings
from didi_text.app import app
from didi_text.corpora import hub as corpora_hub
from didi_text.corpora.hub import HUB_CORPORA, OPENWEBTEXT
from didi_text.evaluate import evaluate
from didi_text.evaluating.options import EvaluateOptions
from didi_text.settings import PretrainSettings

RECIPES = ("owt", "owt-duo", "owt-sedd", "owt-ar")
SMALL = ("model.num_layers=1", "model.hidden_size=8", "model.num_heads=2", "block_length=32")
SHORT = (
    *("steps=2", "tokens_per_batch=256", "tokens_per_pass=64", "valid_blocks=4"),
    *("precision=float32", "device=cpu"),
)
"""Four passes an update, as where 512 blocks of 1,024 do not fit."""


@pytest.fixture(autouse=True)
def _hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the corpus with 60 documents, of which the last 20 are held out."""
    pytest.importorskip("datasets")
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("DIDI_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "hub" / "plain_text"
    folder.mkdir(parents=True)
    texts = ["The cat sat on the mat, and the dog was glad of it."] * 60
    parquet.write_table(pyarrow.table({"text": texts}), folder / "train-00000.parquet")
    monkeypatch.setattr(corpora_hub, "fetch_part", lambda *_, **__: tmp_path / "hub")
    monkeypatch.setitem(HUB_CORPORA, "openwebtext", replace(OPENWEBTEXT, held_out=20))


@cache
def composed(recipe: str) -> PretrainSettings:
    return compose_settings("text_pretrain", PretrainSettings, [f"recipe={recipe}", "out=o"])


def test_the_recipes_hold_the_published_settings() -> None:
    masked = composed("owt")
    assert (masked.data, masked.valid) == ("openwebtext", "openwebtext:valid")
    assert (masked.tokenizer, masked.block_length, masked.remainder) == ("gpt2", 1024, "published")
    assert (masked.model.num_layers, masked.model.hidden_size) == (12, 768)
    assert masked.tokens_per_batch == 512 * 1024 and masked.steps == 1_000_000
    assert (masked.optimizer.lr, masked.optimizer.warmup_steps, masked.ema) == (3e-4, 2500, 0.9999)
    shared = {"recipe": "owt", "process": "absorbing", "gaussian": masked.gaussian}
    for recipe in RECIPES:
        other = composed(recipe)
        expected = masked if recipe != "owt-ar" else replace(masked, model=other.model)
        assert replace(other, **shared) == expected, "they differ in nothing else"
    assert composed("owt-duo").gaussian.steps == masked.steps / 2
    assert composed("owt-sedd").process == "sedd"
    assert composed("owt-ar").model.kind == "autoregressive"


def test_a_recipe_at_toy_size_trains_and_is_measured(tmp_path: Path) -> None:
    """On the corpus itself; `tests/benchmarks/test_toy_owt.py` trains them all."""
    tokenizer, out = tmp_path / "tokenizer", tmp_path / "model"
    tiny_tokenizer().save(tokenizer)
    given = ["recipe=owt", f"tokenizer={tokenizer}", f"out={out}", *SMALL, *SHORT]
    done = CliRunner().invoke(app, ["pretrain", *given], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    bound = tmp_path / "bound.json"
    evaluate(
        EvaluateOptions(model=str(out), task="bound", data="openwebtext:valid", limit=2, out=bound)
    )
    found = json.loads(bound.read_text())
    assert found["figures"]["perplexity"] > 1.0 and found["model"]["kind"] == "masked"
    assert json.loads((out / "run.json").read_text())["settings"]["recipe"] == "owt"
