"""The command on a model card: what it takes to repeat the run, and no default beside it."""

import json
import shlex
from dataclasses import replace
from importlib.resources import files

import pytest

from didi_core.cli.hydra_app import choices_of, compose_settings
from didi_core.cli.run import run_program
from didi_core.commands.training.distill import DistillRun
from didi_core.commands.training.domain import TrainingDomain
from didi_core.commands.training.model_card import command_line
from didi_core.distill.registry import METHODS
from didi_protein.app import app
from didi_protein.domain import TRAINING
from didi_protein.settings import DistillSettings
from didi_text.domain import TRAINING as TEXT_TRAINING
from didi_text.settings import DistillSettings as TextDistillSettings
from didi_text.settings import PretrainSettings

DISTILL = ("distill", DistillSettings)
BUNDLED = files("didi_protein") / "_models"
PRETRAIN = ("text_pretrain", PretrainSettings)


@pytest.mark.parametrize(
    "typed",
    [
        ["teacher=tiny", "out=my student", "reference=pool"],
        ["method=didi", "preset=paper", "teacher=tiny", "out=o", "data=d", "steps=5"],
        ["teacher=tiny", "out=o", "method.ema=0.5", "max_seconds=2.5", "offline=true"],
        ["method=sdtt", "teacher=tiny", "out=o", "pool_steps=3"],
    ],
    ids=" ".join,
)
def test_a_distillation_is_told_as_it_was_typed(typed: list[str]) -> None:
    settings = compose_settings(*DISTILL, typed)
    groups = {"method": [settings.method["name"]], "preset": [settings.preset]}
    command = command_line("didi-protein", "distill", settings, DISTILL[0], groups)
    program, verb, *parts = shlex.split(command)
    assert (program, verb) == ("didi-protein", "distill")
    assert sorted(parts) == sorted(typed)


def test_a_pretraining_is_told_with_the_recipe_that_was_chosen() -> None:
    typed = ["protein_recipe=family", "data=d", "out=o", "curriculum.steps=10"]
    settings = compose_settings("pretrain", TRAINING.pretrain_settings, typed)
    groups = TRAINING.pretrain_groups(settings)
    command = command_line("didi-protein", "pretrain", settings, "pretrain", groups)
    assert shlex.split(command)[2:] == ["recipe=family", *typed[1:]]


def test_the_recipe_of_a_family_is_that_of_the_bundled_teacher() -> None:
    typed = ["protein_recipe=family", "data=d", "out=o"]
    settings = compose_settings("pretrain", TRAINING.pretrain_settings, typed)
    card = json.loads((BUNDLED / "tiny" / "run.json").read_text())["settings"]
    assert settings.tokens_per_batch == card["tokens_per_batch"]
    assert settings.curriculum.steps == card["curriculum"]["steps"]
    for name in ("name", "lr", "muon_lr", "warmup_steps"):
        assert getattr(settings.optimizer, name) == card["optimizer"][name]


def test_a_pretraining_is_told_with_the_shape_that_was_chosen() -> None:
    typed = ["text_model@model=small", "data=d", "out=o", "curriculum.mask_range=[0.2,0.3]"]
    settings = compose_settings(*PRETRAIN, typed)
    settings.resume = True  # how it was carried on is no part of what it was
    groups = {"text_model@model": choices_of("text_model")}
    command = command_line("didi-text", "pretrain", settings, PRETRAIN[0], groups)
    assert shlex.split(command)[2:] == [typed[0].replace("text_model@", ""), *typed[1:]]
    again = compose_settings(*PRETRAIN, typed)
    again.resume = True
    assert again == settings


@pytest.mark.parametrize(
    ("domain", "settings"),
    [(TRAINING, DISTILL), (TEXT_TRAINING, ("text_distill", TextDistillSettings))],
)
def test_a_student_of_a_process_that_no_program_describes_has_its_card(
    domain: TrainingDomain, settings: tuple[str, type], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "dmmd", replace(METHODS["dmmd"], process="sedd"))
    typed = ["method=dmmd", "teacher=t", "out=o", "reference=pool"]
    card = DistillRun(compose_settings(*settings, typed), domain).card(steps=3, num_reference=8)
    assert "A few-step student of a score-entropy model. Sample it with `didi-" in card
    assert "sedd-diffusion]" in card and "masked" not in card


def test_it_is_told_from_within_a_run(tmp_path) -> None:
    """Hydra is at work then, and composes nothing beside what it composes for the run."""
    typed = ["teacher=tiny", "reference=pool", "pool_size=2", "pool_steps=2", "steps=1"]
    typed += ["pool_length=20-30", f"out={tmp_path / 'student'}"]
    assert run_program(lambda: app(["distill", *typed], standalone_mode=False)) == 0
    card = (tmp_path / "student" / "README.md").read_text()
    (line,) = [each for each in card.splitlines() if each.startswith("- Command")]
    assert sorted(line.strip("`").split()[4:]) == sorted(typed)
