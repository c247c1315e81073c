"""`evaluate` and `benchmark` in two processes of torchrun find, bit for bit, what one finds."""

import json
import multiprocessing
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from text_fixtures import DOCUMENTS, save_causal, write_jsonl
from text_models import write_tiny_model

from didi_text.benchmark import benchmark
from didi_text.benchmarking import run as benchmark_run
from didi_text.benchmarking.options import BenchmarkOptions
from didi_text.evaluate import evaluate
from didi_text.evaluating.options import EvaluateOptions

QUESTIONS = [
    {"context": "The cat", "choices": [" sat", " on the mat"], "answer": 0},
    {"context": "A dog", "choices": [" ran", " sat", " slept"], "answer": 1},
]
TASKS: dict[str, dict[str, Any]] = {
    "masked": {"task": "bound", "model": "teacher", "data": "text.jsonl", "block_length": 16},
    "causal": {"task": "bound", "model": "gpt", "data": "text.jsonl", "block_length": 16},
    "genppl": {"task": "genppl", "model": "teacher", "num": 7, "length": 16, "steps": 3},
    "choice": {"task": "choice", "model": "teacher", "data": "questions.jsonl", "mask_draws": 3},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Models and texts, and the working directory; one thread, as a process has under torchrun."""
    folder = tmp_path_factory.mktemp("shared")
    write_tiny_model(folder / "teacher")
    save_causal(folder / "gpt")
    write_jsonl(folder / "text.jsonl", DOCUMENTS)
    lines = "".join(json.dumps(each) + "\n" for each in QUESTIONS)
    (folder / "questions.jsonl").write_text(lines)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(benchmark_run, "plot_benchmark", lambda *_: None)  # drawn elsewhere
        torch.set_num_threads(1)
        yield folder
        torch.set_num_threads(threads)


def work(out: Path) -> None:
    """Every task, and a small benchmark, in batches of few rows."""
    common: dict[str, Any] = {"device": "cpu", "batch_tokens": 64}
    for name, given in TASKS.items():
        judge = {"judge": "gpt", "judge_tokens": 32} if given["task"] == "genppl" else {}
        path = out / f"{name}.json"
        evaluate(EvaluateOptions(out=path, quiet=True, **judge, **given, **common))
    study = {"models": "teacher", "judge": "gpt", "baseline": "none", "steps": "3"}
    few = {"temperatures": "0.9", "length": 16, "num": 7, "repeats": 1, "max_batch": 1}
    benchmark(BenchmarkOptions(out=out / "study", **study, **few, **common))


def one_of_two(rank: int, port: int, out: Path) -> None:
    """What torchrun starts twice."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "x",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        **{"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
        **dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank)),
    }
    torch.set_num_threads(1)
    work(out)
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def outputs(folder: Path) -> tuple[Path, Path]:
    """Of one process, and of two; these are forked, which spares them the imports."""
    alone, together = folder / "alone", folder / "together"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=one_of_two, args=(n, port, together)) for n in (0, 1)]
    for each in started:
        each.start()
    work(alone)
    for each in started:
        each.join(300)
    assert [each.exitcode for each in started] == [0, 0]
    return alone, together


@pytest.mark.parametrize("name", TASKS)
def test_figures_are_those_of_one_process(outputs: tuple[Path, Path], name: str) -> None:
    one, two = (json.loads((out / f"{name}.json").read_text()) for out in outputs)
    if name == "genppl":
        assert one["figures"]["num_samples"] == 7
        assert one["figures"]["samples"].pop("seconds") != two["figures"]["samples"].pop("seconds")
    assert one.pop("seconds") > 0 < two.pop("seconds")
    assert one == two
    assert [path.name for path in outputs[1].glob(f"{name}.*")] == [f"{name}.json"]


def test_a_benchmark_is_that_of_one_process(outputs: tuple[Path, Path]) -> None:
    tables = [pd.read_csv(out / "study" / "benchmark.csv") for out in outputs]
    timed = [name for name in tables[0] if name.startswith(("latency", "tokens_per", "best_"))]
    one, two = (table.drop(columns=timed) for table in tables)
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert tables[1]["latency_seconds"][0] > 0
    for name in ("teacher_3", "teacher_3_t0.9"):
        first, second = (
            json.loads((out / "study" / "cells" / f"{name}.json").read_text()) for out in outputs
        )
        assert first["quality"] == second["quality"] and first["settings"] == second["settings"]
