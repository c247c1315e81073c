"""`didi-text quickstart` at a small scale: what it leaves, that it resumes, what it refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from quickstart_checks import (  # noqa: F401  its tests run here too
    Quickstarts,
    test_a_run_again_keeps_what_is_finished,
    test_an_interrupted_run_ends_as_an_unbroken_one,
    test_another_seed_gives_other_sequences,
    test_files_hold_the_table,
    test_other_work_and_other_plans_are_refused,
    test_what_is_missing_is_named_before_anything_is_written,
)
from rich.cells import cell_len
from text_fixtures import save_causal, write_jsonl
from text_models import write_tiny_model
from typer.testing import CliRunner

from didi_core.errors import UserError
from didi_core.io.files import write_json
from didi_core.models.bundled import BundledModels
from didi_core.models.causal_folder import REFERENCE_ROWS
from didi_text.app import app
from didi_text.comparing import quickstart as quickstart_run
from didi_text.comparing.options import Plan, QuickstartOptions
from didi_text.comparing.quickstart import (
    EXCERPT,
    excerpt,
    print_result,
)
from didi_text.models.judges import open_judge
from didi_text.models.load import BUNDLED_MODELS
from didi_text.quickstart import QuickstartResult, quickstart
from didi_text.samples.files import read_samples
from didi_text.samples.reference import measure_reference_rows

SETS = {"teacher_4", "teacher_16", "teacher_limit", "student_apart_16", "earlier_16"}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Random models of one layer, a judge that knows reference rows, and little work."""
    models = tmp_path_factory.mktemp("models")
    judge = open_judge(str(save_causal(models / "judge")))
    held_out = write_jsonl(models / "held_out.jsonl")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DIDI_CACHE", str(models / "cache"))
        rows = measure_reference_rows(judge, held_out, num=8, length=24)
    write_json(models / "judge" / REFERENCE_ROWS, rows)
    return Plan(
        teacher=str(write_tiny_model(models / "teacher", seed=0)),
        student=str(write_tiny_model(models / "earlier", seed=1)),
        judge=str(models / "judge"),
        distill_steps=2,
        tokens_per_batch=128,
        pool_size=8,
        pool_steps=2,
        num=5,
        length="24",
        teacher_steps=(4, 16, None),
        student_steps=(16,),
    )


@pytest.fixture(scope="module")
def quickstarts() -> Quickstarts:
    return Quickstarts(
        quickstart, QuickstartOptions, quickstart_run, "samples/*.jsonl", kept="samples/*"
    )


@pytest.fixture(scope="module")
def finished(
    quickstarts: Quickstarts, plan: Plan, tmp_path_factory: pytest.TempPathFactory
) -> QuickstartResult:
    return quickstarts(plan, tmp_path_factory.mktemp("run") / "quickstart")


def test_every_promised_file_is_there(finished: QuickstartResult) -> None:
    expected = {
        f"{name}.{kind}" for name in SETS for kind in ("jsonl", "generate.json", "figures.json")
    }
    assert {path.name for path in (finished.out / "samples").iterdir()} == expected
    assert {"comparison.csv", "comparison.png", "quickstart.json", "samples", "student"} == {
        path.name for path in finished.out.iterdir()
    }


def test_rows_are_paired_and_state_their_cost(finished: QuickstartResult) -> None:
    table = finished.table.set_index(["model", "sampler"])
    assert table.loc[("teacher", "first-hitting"), "calls"].item() == 24
    student = table.loc[("student", "apart")]
    assert student["calls"].item() <= 16
    assert student["nll_minus_teacher"].item() == pytest.approx(finished.gain.mean)
    nats = {
        name: json.loads((finished.out / "samples" / f"{name}.figures.json").read_text())
        for name in ("student_apart_16", "teacher_16")
    }
    one, two = (np.array(each["figures"]["per_sample_nats"]) for each in nats.values())
    assert finished.gain.mean == pytest.approx((one - two).mean())


def test_printed_result_shows_figures_texts_and_places(
    finished: QuickstartResult,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_result(finished)
    printed = capsys.readouterr().out
    for row in ("teacher", "student", "earlier", "held out text", "tokens shuffled"):
        assert f" {row} " in printed
    first = read_samples(finished.out / "samples" / "student_apart_16.jsonl")[0]["text"]
    assert excerpt(first).split()[0][:12] in printed.split("side")[-1]
    assert str(finished.report) in printed and "didi-text generate" in printed
    lines = printed.split("Samples  ")[0].splitlines()
    assert max(map(cell_len, lines)) <= 80


def test_an_excerpt_is_one_short_line() -> None:
    found = excerpt("<|endoftext|>" + "[b]word[/b]\n" * 50)
    assert len(found) <= EXCERPT and "\n" not in found
    assert found.startswith("[b]word[/b] ¶ [b]word")
    assert excerpt("<|endoftext|>") == ""
    assert excerpt("a\x1b[2Jb") == "a�[2Jb"


def test_samples_judged_by_another_are_judged_anew(
    quickstarts: Quickstarts, finished: QuickstartResult, plan: Plan, tmp_path: Path
) -> None:
    out = tmp_path / "moved"
    shutil.copytree(finished.out, out)
    path = out / "samples" / "student_apart_16.figures.json"
    stored = json.loads(path.read_text())
    stored["decided"]["judge"]["weights"] = "another"
    stored["figures"]["nats_per_token"]["mean"] = 1e9
    write_json(path, stored)
    pd.testing.assert_frame_equal(quickstarts(plan, out).table, finished.table)


def test_a_bundled_model_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BundledModels, "ships", lambda *_: False)
    done = CliRunner().invoke(app, ["quickstart", "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, UserError)
    assert "tiny is a bundled model, and this installation lacks its weights" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", BUNDLED_MODELS.names)
def test_bundled_models_are_small_and_have_a_card(name: str) -> None:
    folder = BUNDLED_MODELS.folder(name)
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 8e6
    assert (folder / "README.md").read_text().startswith("---\nlibrary_name: didi-protein")
    settings = json.loads((folder / "run.json").read_text())["settings"]
    assert not any(str(value).startswith("/") for value in settings.values())


def test_the_quickstart_s_own_models_and_plan_fit_together(
    quickstarts: Quickstarts, tmp_path: Path
) -> None:
    little = replace(Plan(), distill_steps=1, pool_size=4, pool_steps=2, num=2, teacher_steps=(16,))
    done = quickstarts(replace(little, student_steps=(16,)), tmp_path / "out")
    assert set(done.table["model"]) == {"tiny", "student", "tiny-student"}
    assert done.reference_rows is not None
