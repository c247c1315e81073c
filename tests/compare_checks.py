"""What every `compare` is held to, whatever the program; each program's test file imports it.

The importing file has the fixtures `compares` (a `Compares`), `options`, a little work with tiny
models, and `finished`, its result.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch

from didi_core import progress
from didi_core.commands.comparing.cells import Cell, CellRequest
from didi_core.commands.comparing.options import CompareOptions, CompareResult
from didi_core.commands.comparing.study import study_of
from didi_core.commands.comparing.table import as_json
from didi_core.commands.generating.options import GenerationResult
from didi_core.errors import Terminated, UserError
from didi_core.models.folder import LoadedModel

COSTS = ("seconds_per_", "peak_memory_mb")


@dataclass(frozen=True)
class Compares:
    """One program's comparison."""

    run: Callable[[Any], CompareResult]
    module: ModuleType
    """Where its `DOMAIN` stands, and its settings of `distill`."""
    show: Callable[[CompareResult], None]
    folder: str
    """Where its sequences lie in the folder of the comparison."""
    suffix: str
    """Of its files of sequences."""
    scoring: str
    """What it calls the phase of the judge."""
    kept: str
    """Files in the folder that resuming does not touch."""


def test_every_cell_is_a_row(finished: CompareResult) -> None:
    made = finished.table.dropna(subset=["sampler"])
    rows = made.assign(steps=made["steps"].fillna(0))
    found = set(rows[["model", "sampler", "steps"]].itertuples(index=False, name=None))
    plain = {(model, "ancestral", 2) for model in ("teacher", "earlier", "dmmd", "didi-paper")}
    limit = {("teacher", "first-hitting", 0), ("teacher", "ancestral", 4)}
    assert found == plain | {("didi-paper", "rgas", 2)} | limit and len(made) == 7
    without = [reason.split()[0] for reason in finished.left_out]
    assert sorted(without) == ["dmmd", "earlier", "teacher"]


def test_sequences_are_made_in_the_precision_that_their_record_names(
    compares: Compares, options: CompareOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain, written = compares.module.DOMAIN, []

    def watched(cell: Cell, request: CellRequest, model: LoadedModel) -> GenerationResult:
        made = domain.make(cell, request, model)
        record = json.loads(made.out.with_suffix(".generate.json").read_text())
        dtypes = {each.dtype for each in model.denoiser.parameters()}
        written.append((record["settings"]["precision"], dtypes))
        return made

    monkeypatch.setattr(compares.module, "DOMAIN", replace(domain, make=watched))
    alone = replace(options, methods="dmmd", samplers="ancestral", precision="bf16")
    students = f"{options.students},{options.judge}"
    compares.run(replace(alone, students=students, out=tmp_path / "study"))
    assert len(written) == 6 and written == [("bf16", {torch.bfloat16})] * 6


def test_an_interrupted_comparison_goes_on(
    compares: Compares,
    options: CompareOptions,
    finished: CompareResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = replace(options, methods="", data=None, samplers="ancestral")
    alone = replace(plain, out=tmp_path / "study", resume=True)
    domain, calls = compares.module.DOMAIN, []

    def terminated_after_two(*arguments: object) -> object:
        if len(calls) == 2:
            raise Terminated
        calls.append(arguments)
        return domain.score(*arguments)

    with monkeypatch.context() as broken, pytest.raises(Terminated):
        broken.setattr(compares.module, "DOMAIN", replace(domain, score=terminated_after_two))
        compares.run(alone)
    made = alone.out / compares.folder
    kept = {path: path.stat().st_mtime_ns for path in made.glob(compares.kept)}
    again = compares.run(alone).table
    assert kept and all(path.stat().st_mtime_ns == time for path, time in kept.items())
    same = [name for name in again if not name.startswith(COSTS)]
    expected = finished.table[~finished.table["model"].isin(("dmmd", "didi-paper"))]
    pd.testing.assert_frame_equal(again[same], expected[same].reset_index(drop=True))
    with pytest.raises(UserError, match="another num: give --num 4, as then"):
        compares.run(replace(alone, num=5))
    # Samples depend on it, so that `generate` would stop at the first cell.
    with pytest.raises(UserError, match=r"another batch_tokens: give --batch-tokens 8192"):
        compares.run(replace(alone, batch_tokens=4096))


def test_more_temperatures_are_added_to_a_finished_comparison(
    compares: Compares,
    options: CompareOptions,
    finished: CompareResult,
    capsys: pytest.CaptureFixture[str],
) -> None:
    swept = compares.run(replace(options, resume=True, temperatures="0.5,2"))
    rows = swept.table.dropna(subset=["sampler"])
    record = json.loads((finished.out / "frontier.json").read_text())
    assert record["baseline"] == "teacher_limit" and len(record["frontiers"]) == len(rows)
    for curve in record["frontiers"].values():
        assert [point["temperature"] for point in curve["points"]] == [0.5, 1.0, 2.0]
    assert (finished.out / "frontier.png").is_file()
    made = {path.name for path in (finished.out / "sweep").glob(f"*{compares.suffix}")}
    assert len(made) == 2 * len(rows) and f"dmmd_2_t0.5{compares.suffix}" in made
    assert not list((finished.out / compares.folder).glob("*_t0.5*")), "the rows' own is as it was"
    same = [name for name in finished.table.columns if "seconds" not in name]
    pd.testing.assert_frame_equal(swept.table[same], finished.table[same])
    limit = swept.table[swept.table["sampler"] == "first-hitting"].iloc[0]
    assert limit["difference_at_equal_diversity"] == 0
    assert limit["nll_at_equal_diversity"] == pytest.approx(
        record["frontiers"]["teacher_limit"]["nll_at_equal_diversity"]["mean"]
    )
    compares.show(swept)
    printed = capsys.readouterr().out
    assert "Equal entropy: judge NLL" in printed and "frontier.json" in printed
    frontier = json.loads(as_json(swept))["frontier"]
    assert frontier == str(finished.out / "frontier.json")
    compares.run(replace(options, resume=True))
    assert not (finished.out / "frontier.json").exists(), "nor is it taken for that of this run"
    with pytest.raises(UserError, match=r"--diversity 2 needs --temperatures"):
        compares.run(replace(options, resume=True, diversity=2.0))
    with pytest.raises(UserError, match=r"--temperatures 0,1: 0 is no temperature"):
        compares.run(replace(options, resume=True, temperatures="0,1"))


def test_every_long_phase_says_the_time_left_without_a_terminal(
    compares: Compares,
    options: CompareOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "FIRST_LINE", 0.0)  # every phase is long
    monkeypatch.setattr(progress, "LONGEST_SILENCE", 0.0)
    pool = {"data": None, "pool_size": 4, "pool_steps": 3, "methods": "dmmd", "students": ""}
    compares.run(replace(options, out=tmp_path / "study", samplers="ancestral", **pool))
    lines = capsys.readouterr().err.splitlines()
    for phase in ("Sampling the teacher", "Generating", compares.scoring):
        of_phase = [line for line in lines if line.startswith(f"{phase}: ")]
        assert any(re.search(r"\d%, about .* left", line) for line in of_phase), phase
    assert any(re.match(r"About .* for 4 sequences in .* 3.0 calls each", line) for line in lines)


def test_methods_get_their_own_settings(compares: Compares, options: CompareOptions) -> None:
    paper = compares.module.distill_settings(options, "didi:paper")
    assert paper.method["name"] == "didi" and paper.preset == "paper"
    assert paper.max_seconds == options.budget and paper.data == options.data
    asked = replace(options, data=None, length=None, pool_size=7, pool_steps=3)
    pool = compares.module.distill_settings(asked, "dmmd")
    assert (pool.reference, pool.pool_length) == ("pool", None)
    assert (pool.pool_size, pool.pool_steps) == (7, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": "8,x"}, "--steps 8,x: x is no number of steps; give 8,16.$"),
        ({"steps": ""}, "--samplers and --steps each need"),
        ({"num": 1}, "--num 1 must be at least 2"),
        ({"batch_tokens": 0}, "--batch-tokens 0 must be at least 1"),
        ({"pool_steps": 0}, "--pool-steps 0 must be at least 1"),
        ({"seed": -1}, "--seed -1 must be from 0"),
        ({"budget": 0.0}, "--budget 0 must be more than 0"),
        ({"samplers": "first-hitting"}, "takes no steps"),
        ({"samplers": "none-such"}, "--samplers none-such does not exist"),
        ({"samplers": "remdm(eta=2),rgas(x=1)"}, "--samplers remdm: eta=2.0 must be .*; --sam"),
        ({"top_p": 0.0}, "--top-p 0 must be above 0"),
        ({"methods": "none-such"}, "--methods none-such: no method .* one of best, .*dcd, didi"),
        ({"methods": "dmmd:bar"}, "--methods dmmd:bar: no preset bar; give one of default, paper"),
        ({"precision": "fp8"}, "--precision fp8 is unknown"),
        ({"students": "a/teacher"}, "would both be called teacher"),
    ],
)
def test_bad_options(
    compares: Compares, options: CompareOptions, change: dict, message: str
) -> None:
    given = replace(options, **change)
    with pytest.raises(UserError, match=message):
        study_of(given, partial(compares.module.distill_settings, given))


def test_a_folder_with_other_work_is_left_alone(
    compares: Compares, options: CompareOptions, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for switch in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(UserError):
            compares.run(replace(options, out=tmp_path, **switch))
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(UserError, match=r"notes\.txt is a file: choose another name"):
        compares.run(replace(options, out=tmp_path / "notes.txt", overwrite=True))
