"""What every quickstart is held to, whatever the program; each program's test file imports it.

The importing file has the fixtures `quickstarts` (a `Quickstarts`), `plan`, little work with tiny
models, and `finished`, its result.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from didi_core.commands import comparing
from didi_core.commands.comparing.options import Plan, QuickstartOptions, QuickstartResult
from didi_core.errors import Terminated, UserError


@dataclass(frozen=True)
class Quickstarts:
    """One program's quickstart."""

    run: Callable[[Any], QuickstartResult]
    options_class: type[QuickstartOptions]
    module: ModuleType
    """Where its `DOMAIN` stands, and how it is shown."""
    sequences: str
    """Files of sequences, as a pattern in the folder."""
    kept: str
    """Files that a run again does not touch."""

    def __call__(self, plan: Plan, out: Path, seed: int = 0) -> QuickstartResult:
        return self.run(self.options_class(out=out, seed=seed, device="cpu", plan=plan))

    def sequences_in(self, folder: Path) -> dict[str, bytes]:
        return {path.stem: path.read_bytes() for path in folder.glob(self.sequences)}


def test_files_hold_the_table(quickstarts: Quickstarts, finished: QuickstartResult) -> None:
    stored = pd.read_csv(finished.comparison)
    pd.testing.assert_frame_equal(stored, finished.table, check_dtype=False)
    record = json.loads(quickstarts.module.as_json(finished))
    assert [row["model"] for row in record["table"]] == list(finished.table["model"])
    assert record["nll_minus_teacher_at_16_steps"] == finished.gain.as_dict()
    assert record["num_pairs"] == finished.num_pairs and len(record["warnings"]) == 1


def test_a_run_again_keeps_what_is_finished(
    quickstarts: Quickstarts, finished: QuickstartResult, plan: Plan, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    shutil.copytree(finished.out, out)
    kept = [out / "student" / "model.safetensors", *out.glob(quickstarts.kept)]
    assert len(kept) > len(finished.table)
    times = [path.stat().st_mtime_ns for path in kept]
    again = quickstarts(plan, out)
    assert [path.stat().st_mtime_ns for path in kept] == times
    pd.testing.assert_frame_equal(again.table, finished.table)
    assert again.gain == finished.gain


@pytest.mark.parametrize("part", ["distill", "make", "score"])
def test_an_interrupted_run_ends_as_an_unbroken_one(
    quickstarts: Quickstarts,
    finished: QuickstartResult,
    plan: Plan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    out, calls, domain = tmp_path / "broken", [], quickstarts.module.DOMAIN

    def terminated_after_the_first(*arguments: object) -> object:
        if calls or part == "distill":
            raise Terminated
        calls.append(arguments)
        return getattr(domain, part)(*arguments)

    with monkeypatch.context() as broken, pytest.raises(Terminated):
        if part == "distill":
            broken.setattr(comparing.quickstart, "distill", terminated_after_the_first)
        else:
            changed = replace(domain, **{part: terminated_after_the_first})
            broken.setattr(quickstarts.module, "DOMAIN", changed)
        quickstarts(plan, out)
    whole = quickstarts(plan, out)
    assert quickstarts.sequences_in(out) == quickstarts.sequences_in(finished.out)
    costs = ("seconds_per_", "peak_memory_mb")
    same = [column for column in finished.table if not column.startswith(costs)]
    pd.testing.assert_frame_equal(whole.table[same], finished.table[same])


def test_another_seed_gives_other_sequences(
    quickstarts: Quickstarts, finished: QuickstartResult, plan: Plan, tmp_path: Path
) -> None:
    other = quickstarts.sequences_in(quickstarts(plan, tmp_path / "other", seed=1).out)
    assert other["teacher_16"] != quickstarts.sequences_in(finished.out)["teacher_16"]


def test_other_work_and_other_plans_are_refused(
    quickstarts: Quickstarts, finished: QuickstartResult, plan: Plan, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"--out .* holds other work"):
        quickstarts(plan, tmp_path)
    with pytest.raises(UserError, match=r"--out .* is a file"):
        quickstarts(plan, tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(UserError, match=r"--seed 5: .* holds a quickstart with seed 0"):
        quickstarts(plan, finished.out, seed=5)
    with pytest.raises(UserError, match="holds a quickstart of another version"):
        quickstarts(replace(plan, num=7), finished.out)


def test_what_is_missing_is_named_before_anything_is_written(
    quickstarts: Quickstarts, plan: Plan, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="nowhere"):
        quickstarts(replace(plan, judge=str(tmp_path / "nowhere")), out)
    with pytest.raises(UserError, match=r"^--seed -1 must be from 0"):
        quickstarts(plan, out, seed=-1)
    assert not out.exists()
