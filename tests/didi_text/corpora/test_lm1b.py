"""LM1B by configuration alone: its corpus from parquet files, and the recipes, end to end."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from text_fixtures import tiny_tokenizer, tiny_word_pieces
from typer.testing import CliRunner

from didi_core.cli.hydra_app import compose_settings
from didi_core.errors import UserError
from didi_core.models import hub
from didi_text import download as download_verb
from didi_text.app import app
from didi_text.corpora import hub as corpora_hub
from didi_text.corpora import load as corpora
from didi_text.corpora.detokenisers import detokenise_lm1b, keep
from didi_text.corpora.hub import LM1B, OPENWEBTEXT
from didi_text.corpora.load import load_corpus, open_source
from didi_text.corpora.packing import Packing
from didi_text.evaluate import evaluate
from didi_text.evaluating import zero_shot
from didi_text.evaluating.options import EvaluateOptions
from didi_text.evaluating.zero_shot import ZERO_SHOT
from didi_text.generate import generate
from didi_text.models.load import open_model, tokenizer_of
from didi_text.samples.options import GenerateOptions
from didi_text.settings import PretrainSettings
from didi_text.tokenizers.tokenizer import TextTokenizer

RAW = [
    "The cat sat on the mat , and the dog was glad .",
    'He said : " It is $ 5 , is n\'t it ? "',
    "Dogs ( and cats ) bark ; the cat costs \N{POUND SIGN} 3 .",
]
"""Sentences tokenised as LM1B's are."""
TRAIN, TEST = RAW * 40, RAW[::-1] * 20


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIDI_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The hub's copy, in two training files and one of the test split; what is asked of it."""
    pytest.importorskip("datasets")
    import pyarrow
    from pyarrow import parquet

    for place, texts in (
        ("train/0000", TRAIN[:50]),
        ("train/0001", TRAIN[50:]),
        ("test/0000", TEST),
    ):
        path = tmp_path / "hub" / "plain_text" / f"{place}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.table({"text": texts}), path)
    asked: list[Any] = []

    def fetch_part(name: str, patterns: list[str], **where: Any) -> Path:
        asked.append((name, *patterns, where["revision"]))
        return tmp_path / "hub"

    monkeypatch.setattr(corpora_hub, "fetch_part", fetch_part)
    return asked


def test_both_splits_are_detokenised_in_order(fetched: list[Any], monkeypatch, tmp_path) -> None:
    expected = [detokenise_lm1b(text) for text in TRAIN]
    assert expected[1] == 'He said: "It is $5, is n\'t it?"'
    assert list(open_source("lm1b").read(0)) == expected
    assert list(open_source("lm1b").read(49)) == expected[49:]
    assert list(open_source("lm1b:valid").read(0)) == [detokenise_lm1b(text) for text in TEST]
    assert {each[1] for each in fetched} == {
        "plain_text/train/*.parquet",
        "plain_text/test/*.parquet",
    }
    assert {(name, revision) for name, _, revision in fetched} == {(LM1B.repository, LM1B.revision)}
    files = sorted((tmp_path / "hub" / "plain_text" / "train").iterdir())
    monkeypatch.setattr(corpora, "list_remote", lambda part: files if part == _train() else [])
    assert list(open_source("lm1b", stream=True).read(0)) == expected
    with pytest.raises(UserError, match="data=lm1b:test: there is no such split"):
        open_source("lm1b:test")
    with pytest.raises(UserError, match=r"There is no file lm1bb: did you mean lm1b\?"):
        open_source("lm1bb")


def test_what_is_not_here_is_fetched_by_the_name_that_download_takes(monkeypatch) -> None:
    def absent(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(corpora_hub, "fetch_part", hub.fetch_part)
    monkeypatch.setattr(hub, "snapshot_download", absent)
    with pytest.raises(UserError, match="run `didi-text download lm1b` where"):
        list(open_source("lm1b", offline=True).read(0))
    with pytest.raises(UserError, match="run `didi-text download lm1b` where"):
        zero_shot.texts_of(zero_shot.ChosenSet(ZERO_SHOT["lm1b"]), offline=True)


def _train() -> Any:
    return replace(LM1B, held_out_files="")


def test_the_detokeniser_is_part_of_the_key_and_old_caches_keep_theirs() -> None:
    assert open_source("lm1b").key["detokeniser"] == "detokenise_lm1b"
    assert open_source("lm1b").key != open_source("lm1b:valid").key
    stored = asdict(OPENWEBTEXT)
    before = {name: stored[name] for name in stored if name not in ("held_out_files", "detokenise")}
    for split in ("train", "valid"):
        assert open_source(f"openwebtext:{split}").key == {**before, "split": split}
    assert OPENWEBTEXT.detokenise is keep


def test_training_and_evaluation_read_one_copy() -> None:
    assert len(LM1B.revision) == 40 and set(LM1B.revision) <= set("0123456789abcdef")
    known = ZERO_SHOT["lm1b"]
    assert known.detokenise is LM1B.detokenise
    assert known.source == replace(LM1B.part("valid")[0], detokenise=keep)
    texts = zero_shot.texts_of(zero_shot.ChosenSet(known))
    assert texts == list(open_source("lm1b:valid").read(0))


def test_download_fetches_all_of_it_and_for_zero_shot_the_test_text(
    fetched: list[Any], tmp_path: Path, monkeypatch
) -> None:
    plain_text = tmp_path / "hub" / "plain_text"
    assert download_verb.download(["lm1b"]) == {"lm1b": plain_text / "train"}
    assert [each[1] for each in fetched] == [
        "plain_text/train/*.parquet",
        "plain_text/test/*.parquet",
    ]
    fetched.clear()
    monkeypatch.setattr(zero_shot, "fetch_set", lambda known: Path(known.name))
    assert download_verb.download(["zero-shot"])["lm1b"] == Path("lm1b")
    assert not fetched


def save_tokenizer(tokenizer: TextTokenizer, folder: Path) -> Path:
    tokenizer.save(folder)
    return folder


SMALL = ("model=tiny", "model.num_layers=1", "model.hidden_size=8", "model.num_heads=2")
SHORT = ("steps=2", "tokens_per_batch=512", "precision=float32", "device=cpu", "valid_blocks=4")


def run(*overrides: str) -> None:
    done = CliRunner().invoke(app, ["pretrain", *overrides], catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("tokenizer", [tiny_tokenizer, tiny_word_pieces], ids=["bytes", "words"])
@pytest.mark.parametrize("recipe", ["lm1b", "lm1b-duo"])
def test_a_recipe_trains_writes_and_is_measured(recipe: str, tokenizer, tmp_path: Path) -> None:
    name, out = save_tokenizer(tokenizer(), tmp_path / "tokenizer"), tmp_path / "model"
    duo = ["gaussian.steps=1"] if recipe == "lm1b-duo" else []
    run(f"recipe={recipe}", f"tokenizer={name}", f"out={out}", *SMALL, *SHORT, *duo)
    loaded = open_model(out)
    assert loaded.process == ("uniform" if duo else "absorbing")
    assert loaded.vocabulary == tokenizer().vocabulary
    assert tokenizer_of(loaded).digest == tokenizer().digest
    assert loaded.denoiser.settings.max_tokens == 128
    card = (out / "README.md").read_text()
    assert f"pretrain recipe={recipe} " in card and "validation_bound" in card
    assert "data=lm1b" not in card, "the recipe says so"

    made = tmp_path / "made.jsonl"
    generate(GenerateOptions(model=str(out), num=3, length="128", steps=4, out=made))
    for row in map(json.loads, made.read_text().splitlines()):
        assert row["text"] == tokenizer().decode(row["ids"]) and "[MASK]" not in row["text"]
        assert set(row["ids"]) <= set(loaded.vocabulary.generable_ids)
    begun = tmp_path / "begun.jsonl"
    generate(
        GenerateOptions(model=str(out), num=1, length="16", steps=4, prefix="the cat", out=begun)
    )
    assert json.loads(begun.read_text())["text"].startswith("the cat")

    options = EvaluateOptions(
        model=str(out), task="bound", data="lm1b:valid", limit=3, out=tmp_path / "bound.json"
    )
    figures = evaluate(options).figures["figures"]
    assert figures["perplexity"] > 1.0 and figures["num_blocks_of_set"] == len(
        load_corpus("lm1b:valid", tokenizer(), Packing(128))
    )


def test_a_baseline_and_a_student_of_word_pieces(tmp_path: Path) -> None:
    name = save_tokenizer(tiny_word_pieces(), tmp_path / "tokenizer")
    shape = ("model=gpt2", *SMALL[1:])
    run("recipe=lm1b", f"tokenizer={name}", f"out={tmp_path / 'ar'}", *shape, *SHORT)
    run("recipe=lm1b", f"tokenizer={name}", f"out={tmp_path / 'teacher'}", *SMALL, *SHORT)
    student = tmp_path / "student"
    distill = ["distill", f"teacher={tmp_path / 'teacher'}", "data=lm1b", f"out={student}"]
    few = ["steps=2", "tokens_per_batch=512", "max_length=128", "device=cpu"]
    done = CliRunner().invoke(app, [*distill, *few], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert tokenizer_of(open_model(student)).digest == tiny_word_pieces().digest
    for model in ("ar", "student"):
        options = EvaluateOptions(
            model=str(tmp_path / model),
            task="genppl",
            num=2,
            length=32,
            steps=None if model == "ar" else 4,
            judge=str(tmp_path / "ar"),
            out=tmp_path / f"{model}.json",
        )
        assert evaluate(options).figures["figures"]["perplexity"]["mean"] > 1.0


def test_the_recipes_hold_the_published_settings() -> None:
    masked = compose_settings("text_pretrain", PretrainSettings, ["recipe=lm1b", "out=o"])
    duo = compose_settings("text_pretrain", PretrainSettings, ["recipe=lm1b-duo", "out=o"])
    assert (masked.data, masked.valid, masked.block_length) == ("lm1b", "lm1b:valid", 128)
    assert (masked.tokenizer, masked.remainder) == ("bert-base-uncased", "published")
    assert (masked.model.num_layers, masked.model.hidden_size) == (12, 768)
    assert masked.tokens_per_batch == 512 * 128 and masked.steps == 2 * duo.gaussian.steps
    assert (masked.process, duo.process, duo.gaussian.temperature) == ("absorbing", "uniform", 1e-3)
    plain = replace(duo, recipe="lm1b", process="absorbing", gaussian=masked.gaussian)
    assert plain == masked, "they differ in nothing else"


def test_an_unknown_recipe_and_a_curriculum_that_is_too_long_are_refused(tmp_path: Path) -> None:
    for wrong, said in (
        (["recipe=lm1"], "recipe=lm1: did you mean lm1b"),
        (["recipe=lm1b-duo", "steps=10"], "gaussian.steps=500000 leaves none of steps=10"),
        (["recipe=lm1b-duo", "model=gpt2"], "process=uniform is for diffusion models"),
    ):
        done = CliRunner().invoke(app, ["pretrain", *wrong, f"out={tmp_path / 'o'}"])
        assert isinstance(done.exception, UserError) and said in str(done.exception)
