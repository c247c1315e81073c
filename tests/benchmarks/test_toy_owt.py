"""The recipe of OpenWebText from raw documents to its table, a few updates of each part."""

import json
from pathlib import Path

import pandas as pd
import pytest
from text_fixtures import DOCUMENTS, write_jsonl

from benchmarks.toy_owt import RECIPES, ROWS, STUDENTS, table_of, toy
from didi_text.benchmarking import run as benchmark_run

KINDS = {
    **{"owt": "masked", "owt-duo": "uniform-state", "owt-sedd": "score-entropy"},
    **{"owt-ar": "autoregressive", "owt-sdtt": "masked", "owt-dcd": "uniform-state"},
}
"""What `evaluate` calls the models."""


def test_the_way_from_documents_to_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_run, "plot_benchmark", lambda *_: None)  # drawn elsewhere
    monkeypatch.setenv("DIDI_CACHE", str(tmp_path / "cache"))
    data = write_jsonl(tmp_path / "train.jsonl", DOCUMENTS * 12)
    valid = write_jsonl(tmp_path / "valid.jsonl", DOCUMENTS * 6)
    sizes = {"updates": 2, "student_updates": 5, "tokens": 64, "num": 2, "length": 16}
    few = {"steps": "2", "max_batch": 1, "zero_shot": f"lambada={data}"}
    toy(data, valid, tmp_path / "out", **sizes, **few)
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert len(table) == len(ROWS) + 1 and set(table["model"]) == {*RECIPES, *STUDENTS}
    assert table["perplexity, held out"].gt(1).all() and table["perplexity, LAMBADA"].gt(1).all()
    assert table["generative perplexity"].gt(1).all()
    kinds = {
        name: json.loads((tmp_path / "out" / f"{name}.bound.json").read_text())["model"]["kind"]
        for name in (*RECIPES, *STUDENTS)
    }
    assert kinds == KINDS
    shown = capsys.readouterr().out
    assert "| owt-dcd | greedy-tail | 2 | 2.00 |" in shown and "processor seconds" in shown


def test_every_row_has_the_likelihood_of_its_model() -> None:
    rows = [
        {"model": "a", "sampler": "s", "steps": n, "calls": n, "perplexity": 9.0, "entropy": 4.0}
        for n in (1, 2)
    ]
    table = table_of(rows, {"a": {"held out": 7.0}})
    assert table["perplexity, held out"].tolist() == [7.0, 7.0]
