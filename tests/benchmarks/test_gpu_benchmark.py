"""A quarter of an hour on a GPU: every part runs at toy size, and one that fails ends alone."""

import json
import os
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.engine import gpu_test_files
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.runner import Bench, Part, Rows, run_parts

BENCH = Bench(torch.device("cpu"), "float32", dry=True)


@pytest.mark.parametrize("name", [name for name in PARTS if name != "tests"])
def test_every_part_runs_dry(name: str) -> None:
    rows = dict(PARTS[name].measure(BENCH))
    assert rows and not {key: row["error"] for key, row in rows.items() if "error" in row}
    json.dumps(rows)
    if name == "attention":
        errors = rows["150m, mixed lengths"]["errors"]
        assert errors.keys() == {"padded", "reference"}
        assert all(each < 1e-5 for found in errors.values() for each in found.values())


def test_parts_take_twelve_minutes_and_find_the_tests() -> None:
    assert sum(part.seconds for part in PARTS.values()) <= 12 * 60
    assert "tests/didi_core/models/test_packed.py" in gpu_test_files()


def fine(_bench: Bench) -> Rows:
    yield "first", {"ratio": 2.0}


def breaks(_bench: Bench) -> Rows:
    yield "first", {"ratio": 2.0}
    raise RuntimeError("no such kernel")


def hangs(_bench: Bench) -> Rows:
    yield "first", {"ratio": 2.0}
    time.sleep(60)


def dies(_bench: Bench) -> Rows:
    yield "first", {"ratio": 2.0}
    os._exit(9)


@pytest.mark.parametrize(
    ("measure", "seconds", "error"),
    [
        (fine, 9, None),
        (breaks, 9, "no such kernel"),
        (hangs, 0.3, "seconds"),
        (dies, 9, "status 9"),
    ],
)
def test_a_part_ends_alone_and_keeps_its_rows(
    measure, seconds: float, error: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.gpu.runner.LEAST_SECONDS", 0.1)
    parts = [Part("one", seconds, measure), Part("other", 9, fine)]
    out = tmp_path / "found.json"
    found = run_parts(parts, BENCH, out, 60, method="fork")
    assert found["one"].rows == found["other"].rows == {"first": {"ratio": 2.0}}
    assert found["other"].error is None
    if error is None:
        assert found["one"].error is None
    else:
        assert error in str(found["one"].error) and found["one"].failed
    stored = json.loads(out.read_text())
    assert stored["parts"].keys() == {"one", "other"} and stored["dry_run"]


def test_no_part_begins_when_the_time_is_over(tmp_path: Path) -> None:
    found = run_parts([Part("one", 9, fine)], BENCH, tmp_path / "f.json", 0, method="fork")
    assert "no time" in str(found["one"].error) and not found["one"].rows
