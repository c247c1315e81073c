"""A task of lm-evaluation-harness put to its own model and to ours."""

import csv
import json
from pathlib import Path

import pytest

from benchmarks.harness_task import TOPICS, main, write_questions
from didi_core.errors import UserError
from didi_text.evaluating.choice import read_questions

NEWS = [
    ("3", "Fears for pension", "Unions say they are disappointed after talks."),
    ("2", "Final won", "The team has won the cup by two goals to one."),
    ("4", "Race on", "A second team sets a date for its rocket."),
]


def news(path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(NEWS)
    return path


def test_questions_hold_the_news_and_its_topic(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    assert len(write_questions(news(tmp_path / "news.csv"), path, 2)) == 2
    first, last = read_questions(path)
    assert TOPICS[first.answer] == "Business" and TOPICS[last.answer] == "Science and technology"
    assert first.choices == TOPICS and "Unions say" in first.context
    other = tmp_path / "other.csv"
    other.write_text("9,a,b\n")
    with pytest.raises(UserError, match=r"other\.csv.*CSV"):
        write_questions(other, path, 2)


def test_the_harness_and_we_answer_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("lm_eval.models.huggingface", reason="needs lm-eval[hf]")
    out = tmp_path / "out.json"
    main(news(tmp_path / "news.csv"), out, "tiny-judge", "", 3, 4, 0)
    record = json.loads(out.read_text())
    assert record["harness"] == record["ours"] and record["largest_difference_nats"] < 1e-4
    assert record["ours"]["acc"]["mean"] == record["built_in"]["accuracy"]["mean"]
