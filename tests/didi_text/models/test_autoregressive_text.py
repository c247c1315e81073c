"""An autoregressive model of text: `generate` and `compare` take it, the others say why not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from text_fixtures import autoregressive_ids, save_causal, tiny_tokenizer
from text_models import sample, write_tiny_model

from didi_core.commands.training.distill_checks import check_process
from didi_core.errors import UserError
from didi_text.compare import CompareResult, compare
from didi_text.comparing.compare import curves_of, print_result
from didi_text.comparing.options import CompareOptions
from didi_text.models.load import open_causal, open_model
from didi_text.models.writers import open_writer
from didi_text.samples.files import read_samples

PLAIN = {"steps": None, "num": 6}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(tmp_path_factory.mktemp("models") / "gpt")


def test_samples_begin_with_an_end_of_text_and_say_how_they_were_made(
    model: Path, tmp_path: Path
) -> None:
    made = sample(model, tmp_path / "a.jsonl", **PLAIN, length="12,20", batch_tokens=10**4)
    records = read_samples(made.out)
    for number, record in enumerate(records):
        length = (12, 20)[number % 2]
        assert (len(record["ids"]), record["length"], record["nfe"]) == (length, length, length - 1)
        assert record["ids"][0] == tiny_tokenizer().end_id
        assert record["sampler"] == "autoregressive" and "steps" not in record
        own = autoregressive_ids(open_causal(str(model)), [number], length, seed=0)
        assert record["ids"] == own[0]  # alone, in a batch of its own
    cold = sample(model, tmp_path / "b.jsonl", **PLAIN, length="12,20", temperature=0.1)
    assert read_samples(cold.out) != records


def test_a_prefix_is_gone_on_from_and_nothing_else_can_be_kept(model: Path, tmp_path: Path) -> None:
    made = sample(model, tmp_path / "a.jsonl", **PLAIN, length="20", prefix="The cat")
    known = len(tiny_tokenizer().encode("The cat"))
    for record in read_samples(made.out):
        assert record["text"].startswith("The cat")
        assert record["nfe"] == 20 - 1 - known
    with pytest.raises(UserError, match=r"--infill The ___ sat: .*writes from left to right"):
        sample(model, tmp_path / "b.jsonl", **PLAIN, length="20", infill="The ___ sat")
    ended = sample(model, tmp_path / "c.jsonl", **PLAIN, length="20", infill="The cat ___")
    assert ended.num_made == 6 and not list(tmp_path.glob("b.*"))


@pytest.fixture(scope="module")
def options(model: Path, tmp_path_factory: pytest.TempPathFactory) -> CompareOptions:
    models = tmp_path_factory.mktemp("others")
    return CompareOptions(
        teacher=str(write_tiny_model(models / "teacher")),
        out=tmp_path_factory.mktemp("run") / "study",
        students=str(model),
        methods="",
        steps="2",
        teacher_steps="",
        temperatures="0.5,1",
        num=4,
        length="16-20",
        judge=str(model),
        device="cpu",
    )


@pytest.fixture(scope="module")
def finished(options: CompareOptions) -> CompareResult:
    return compare(options)


def test_it_is_a_row_a_curve_and_a_point(
    finished: CompareResult, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = finished.table[finished.table["model"] == "gpt"].to_dict("records")
    records = read_samples(finished.out / "samples" / "gpt_autoregressive.jsonl")
    assert row["sampler"] == "autoregressive" and pd.isna(row["steps"])
    assert row["calls"] == sum(record["length"] - 1 for record in records) / 4
    assert np.isfinite(row["nll_minus_limit"]) and row["equal_diversity"] > 0
    curve = json.loads(finished.frontier.read_text())["frontiers"]["gpt_autoregressive"]
    assert [point["temperature"] for point in curve["points"]] == [0.5, 1.0]
    assert [point.label for point in curves_of(finished.table)["gpt, autoregressive"]] == [""]
    print_result(finished)
    assert "gpt is also the judge" in capsys.readouterr().out


def test_as_a_teacher_it_is_refused_with_the_mend(
    options: CompareOptions, model: Path, tmp_path: Path
) -> None:
    wrong = replace(options, teacher=str(model), students="", out=tmp_path / "study")
    with pytest.raises(UserError, match=r"^--teacher .*gpt is autoregressive.*compare --students"):
        compare(wrong)
    assert not wrong.out.exists()
    with pytest.raises(UserError, match=r"teacher=.* is autoregressive"):
        open_model(model, flag="teacher=")
    opened = open_writer(str(model))  # who opens it from Python is told by the method
    with pytest.raises(UserError, match="method=dmmd distils masked models, and"):
        check_process("dmmd", opened)
