"""Run logs of TensorBoard and W&B beside metrics.jsonl: the same figures, one run over resumes."""

import json
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_training_loop import STEPS, Interrupted, pretraining, run

from didi_core.errors import Terminated
from didi_core.training.run_folder import write_run_record
from didi_core.training.run_logs import WANDB_ID, logger_errors, run_logs

needs_tensorboard = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="needs tensorboard (extra log)"
)
needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="needs wandb (extra log)")


def lines_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def scalars_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each tag, as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = read.Tags()["scalars"]
    return {tag: [(each.step, each.value) for each in read.Scalars(tag)] for tag in tags}


def assert_tensorboard_has_the_lines(folder: Path) -> None:
    lines, scalars = lines_of(folder), scalars_of(folder)
    assert set(scalars) == {name for line in lines for name in line} - {"step"}
    for name, points in scalars.items():
        expected = [(line["step"], line[name]) for line in lines if name in line]
        assert [step for step, _ in points] == [step for step, _ in expected]
        assert [value for _, value in points] == pytest.approx(
            [value for _, value in expected], rel=1e-6
        )


@pytest.mark.parametrize(
    ("logger", "named"), [("tensorbord", "tensorboard or wandb"), ("", "none"), ("wandb", "[log]")]
)
def test_what_cannot_log_is_named_with_its_fix(
    monkeypatch: pytest.MonkeyPatch, logger: str, named: str
) -> None:
    monkeypatch.setattr("didi_core.training.run_logs.find_spec", lambda _: None)
    (error,) = logger_errors(logger)
    assert error.startswith(f"logger={logger}") and named in error
    assert not logger_errors("none")


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    with run_logs("tensorboard", tmp_path, 0, first=False) as write:
        write(1, {"loss": 2.0})
    assert not list(tmp_path.iterdir())


@needs_tensorboard
def test_tensorboard_has_what_metrics_jsonl_has(tmp_path: Path) -> None:
    write_run_record(tmp_path, "pretrain", {"steps": STEPS, "optimizer": {"lr": 0.5}}, 0)
    run(pretraining(), tmp_path, logger="tensorboard")
    assert len(lines_of(tmp_path)) == STEPS
    assert_tensorboard_has_the_lines(tmp_path)


@needs_tensorboard
def test_a_resumed_run_goes_on_in_the_same_tensorboard_folder(tmp_path: Path) -> None:
    """Steps past the checkpoint, logged before the kill, are logged once."""
    with pytest.raises(Terminated):
        run(Interrupted(pretraining(), 5, signal.SIGTERM), tmp_path, logger="tensorboard")
    last = max((tmp_path / "checkpoints").iterdir())
    last.unlink()  # as if it had been killed before it saved
    run(pretraining(), tmp_path, logger="tensorboard")
    assert [line["step"] for line in lines_of(tmp_path)] == [*range(1, STEPS + 1)]
    assert_tensorboard_has_the_lines(tmp_path)
    files = len(list((tmp_path / "tensorboard").iterdir()))
    run(pretraining(), tmp_path, logger="tensorboard")
    assert len(list((tmp_path / "tensorboard").iterdir())) == files, "nothing was left to do"


@needs_tensorboard
def test_a_run_that_begins_anew_leaves_no_events_of_the_earlier_one(tmp_path: Path) -> None:
    run(pretraining(), tmp_path, logger="tensorboard")
    for checkpoint in (tmp_path / "checkpoints").iterdir():
        checkpoint.unlink()
    run(pretraining(), tmp_path, logger="tensorboard", steps=4)
    assert_tensorboard_has_the_lines(tmp_path)
    assert len(lines_of(tmp_path)) == 4


@needs_tensorboard
def test_the_logger_changes_nothing_else(tmp_path: Path) -> None:
    for name, logger in (("plain", "none"), ("logged", "tensorboard")):
        run(pretraining(), tmp_path / name, logger=logger)
    plain, logged = tmp_path / "plain", tmp_path / "logged"
    for path in [plain / "metrics.jsonl", *(plain / "checkpoints").iterdir()]:
        assert path.read_bytes() == (logged / path.relative_to(plain)).read_bytes()
    assert {each.name for each in logged.iterdir()} - {each.name for each in plain.iterdir()} == {
        "tensorboard"
    }


@needs_wandb
def test_wandb_keeps_one_run_over_resumes_and_stays_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with pytest.raises(Terminated):
        run(Interrupted(pretraining(), 5, signal.SIGTERM), tmp_path, logger="wandb")
    run_id = (tmp_path / WANDB_ID).read_text().strip()
    run(pretraining(), tmp_path, logger="wandb")
    assert (tmp_path / WANDB_ID).read_text().strip() == run_id
    kept = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert kept and all(each.name.endswith(run_id) for each in kept)
    assert [line["step"] for line in lines_of(tmp_path)] == [*range(1, STEPS + 1)]
