"""What a run may be continued with: `resume=true` beside the settings in `run.json`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from distill_fixtures import student_of
from generate_fixtures import write_tiny_model

from didi_core.cli.hydra_app import as_plain, compose_settings
from didi_core.commands.training.run_folder import (
    REPLACING,
    check_run_folder,
    prepared_run,
    training_fabric,
)
from didi_core.errors import Terminated, UserError
from didi_core.training.run_folder import write_run_record
from didi_protein.settings import DistillSettings, PretrainSettings


def settings_of(verb: str, settings_class: type, *overrides: str) -> object:
    needed = {"distill": "teacher=A", "pretrain": "data=A"}[verb]
    return compose_settings(verb, settings_class, [needed, "out=_", "resume=true", *overrides])


def distilled(*overrides: str) -> DistillSettings:
    return settings_of("distill", DistillSettings, "data=a.fasta", *overrides)


def pretrained(*overrides: str) -> PretrainSettings:
    return settings_of("pretrain", PretrainSettings, *overrides)


def write_begun(folder: Path, verb: str, settings: object) -> Path:
    """A folder in which a run has begun."""
    write_run_record(folder, verb, as_plain(settings), seed=0)
    return folder


CHANGES: dict[str, tuple[Callable[..., object], str, str]] = {
    "teacher": (distilled, "teacher=B", "teacher was A, now B"),
    "data": (distilled, "data=b.fasta", r"data was a\.fasta, now b\.fasta"),
    "seed": (distilled, "seed=1", "seed was 0, now 1"),
    "method": (distilled, "method=didi", "method.name was dmmd, now didi"),
    "of the method": (distilled, "method.ema=0.5", r"method\.ema was 0\.99, now 0\.5"),
    "network": (pretrained, "model.num_layers=1", r"model\.num_layers was \d+, now 1"),
    "optimizer": (pretrained, "optimizer.name=muon", r"optimizer\.name was adamw, now muon"),
    "masks": (pretrained, "curriculum.mask_range=[0.1,0.2]", r"mask_range was \[0\.1, 0\.5\], now"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_settings_are_refused_by_name(tmp_path: Path, name: str) -> None:
    make, override, message = CHANGES[name]
    verb = "distill" if make is distilled else "pretrain"
    folder = write_begun(tmp_path / "run", verb, make())
    check_run_folder(folder, verb, make())
    with pytest.raises(UserError, match=rf"^resume=true: .*run .*{message}.* overwrite=true\.$"):
        check_run_folder(folder, verb, make(override))


def test_how_a_run_is_computed_and_its_rates_may_change(tmp_path: Path) -> None:
    shared = (
        "steps=7",
        "max_seconds=9",
        "tokens_per_batch=5",
        "tokens_per_pass=3",
        "precision=bf16",
        "log_every=3",
    )
    folder = write_begun(tmp_path / "a", "distill", distilled())
    rates = ("method.student.lr=1", "method.auxiliary.warmup_steps=2", "offline=true")
    check_run_folder(folder, "distill", distilled(*shared, *rates))
    folder = write_begun(tmp_path / "b", "pretrain", pretrained())
    rates = ("optimizer.lr=1", "optimizer.decay_fraction=0", "validate_every=3", "strategy=fsdp")
    check_run_folder(folder, "pretrain", pretrained(*shared, *rates))


def test_records_of_another_verb_or_version_and_broken_ones(tmp_path: Path) -> None:
    folder = write_begun(tmp_path / "run", "pretrain", pretrained())
    with pytest.raises(UserError, match=r"verb was pretrain, now distill"):
        check_run_folder(folder, "distill", distilled())
    older = as_plain(distilled())
    del older["checkpoint_activations"], older["pool_steps"], older["method"]["reveal_exponent"]
    write_run_record(folder, "distill", {**older, "gone": 1}, seed=0)
    check_run_folder(folder, "distill", distilled())
    for text in ("{", "[]", '{"verb": "distill"}', '{"verb": "distill", "settings": 3}'):
        (folder / "run.json").write_text(text)
        with pytest.raises(UserError, match=r"^resume=true: .*run\.json.* cannot be read .* over"):
            check_run_folder(folder, "distill", distilled())
    check_run_folder(folder, "distill", replace(distilled(), resume=False, overwrite=True))
    (folder / "run.json").unlink()
    check_run_folder(folder, "distill", distilled())


def test_the_commands_refuse_and_leave_the_run_as_it_was(tmp_path: Path) -> None:
    first, second = (write_tiny_model(tmp_path / name, seed=n) for n, name in enumerate("ab"))
    folder = student_of(first, tmp_path / "s", {"name": "dmmd"})
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"teacher was .*/a, now .*/b"):
        student_of(second, folder, {"name": "dmmd"}, resume=True)
    assert {path: path.read_bytes() for path in before} == before
    lower = {"name": "dmmd", "student": {"lr": 1e-5}}
    student_of(first, folder, lower, resume=True, steps=5)
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").open()]
    assert steps == [3, 5], "it went on from its checkpoint"


def test_a_path_is_the_same_however_it_is_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "t").mkdir(parents=True)
    folder = write_begun(tmp_path / "run", "distill", distilled("teacher=models/t"))
    for same in ("models/t/", "./models/t", str(tmp_path / "models" / "t")):
        check_run_folder(folder, "distill", distilled(f"teacher={same}"))


def test_what_it_is_validated_on_may_change(tmp_path: Path) -> None:
    folder = write_begun(tmp_path / "run", "pretrain", pretrained())
    check_run_folder(folder, "pretrain", pretrained("valid=held_out.fasta"))


def test_a_method_given_in_part_is_compared_whole(tmp_path: Path) -> None:
    teacher = write_tiny_model(tmp_path / "a", seed=0)
    folder = student_of(teacher, tmp_path / "s", {"name": "dmmd", "ema": 0.5})
    with pytest.raises(UserError, match=r"method\.ema was 0\.5, now 0\.99"):
        student_of(teacher, folder, {"name": "dmmd"}, resume=True)


def test_a_run_that_was_refused_leaves_its_folder_as_it_was(tmp_path: Path) -> None:
    settings = replace(distilled(), resume=False)
    fabric = training_fabric(settings)
    (tmp_path / "empty").mkdir()
    cases = (("new", None, False), ("empty", None, True), ("pooled", "pool.json", True))
    for name, kept, stays in cases:
        folder = tmp_path / name
        with (
            pytest.raises(UserError, match="refused"),
            prepared_run(folder, "distill", settings, fabric),
        ):
            if kept:
                (folder / kept).write_text("{}")
            raise UserError("refused")
        assert folder.exists() == stays
        assert [each.name for each in folder.glob("*")] == ([kept] if kept else [])


def test_a_folder_of_other_things_is_no_run_to_replace(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    replacing = replace(distilled(), resume=False, overwrite=True)
    with pytest.raises(UserError, match=r"holds no run or model; choose another out="):
        check_run_folder(tmp_path, "distill", replacing)
    with pytest.raises(UserError, match=r"^out=.*notes\.txt is a file"):
        check_run_folder(tmp_path / "notes.txt", "distill", replacing)
    (tmp_path / "config.json").write_text("{}")
    check_run_folder(tmp_path, "distill", replacing)


def test_a_replacement_stopped_before_it_trained_is_not_continued(tmp_path: Path) -> None:
    """What lies there is the model that was to be replaced, under equal settings."""
    folder = write_begun(tmp_path / "run", "distill", distilled())
    replacing = replace(distilled(), resume=False, overwrite=True)
    fabric = training_fabric(replacing)
    with pytest.raises(Terminated), prepared_run(folder, "distill", replacing, fabric):
        raise Terminated
    with pytest.raises(UserError, match=r"still holds .* start with overwrite=true again"):
        check_run_folder(folder, "distill", distilled())
    check_run_folder(folder, "distill", replacing)
    with pytest.raises(UserError, match="refused"), prepared_run(folder, "d", replacing, fabric):
        raise UserError("refused")
    check_run_folder(folder, "distill", distilled())  # as if it had not been tried
    with prepared_run(folder, "distill", replacing, fabric):
        assert (folder / REPLACING).exists()
    check_run_folder(folder, "distill", distilled())
