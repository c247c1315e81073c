"""`--help` of the verbs of `key=value` settings."""

import pytest
import yaml
from typer.testing import CliRunner

from didi_core.distill.registry import METHODS
from didi_core.hydra_app import config_folder
from didi_core.settings_help import settings_help
from didi_protein.app import app as protein
from didi_text.app import app as text


def _keys(name: str) -> set[str]:
    stored = yaml.safe_load((config_folder() / name).read_text())
    return set(stored) - {"defaults", "hydra", "name", "preset"}


@pytest.mark.parametrize(
    ("app", "verb", "config"),
    [
        (protein, "pretrain", "pretrain.yaml"),
        (protein, "distill", "distill.yaml"),
        (text, "pretrain", "text_pretrain.yaml"),
        (text, "distill", "text_distill.yaml"),
    ],
)
def test_help_explains_every_setting(app, verb, config):
    done = CliRunner().invoke(app, [verb, "--help"])
    assert done.exit_code == 0
    shown = {line.split(":")[0].strip(): line for line in done.output.splitlines() if ":" in line}
    for key in _keys(config):
        assert "#" in shown[key], key
    assert "hydra" not in done.output.lower()


@pytest.mark.parametrize("method", METHODS)
def test_the_settings_of_the_method_that_is_named(method):
    help_text = settings_help("p distill", "Distil.", "distill", [f"method={method}", "--help"])
    shown = help_text.split(f"Settings of {method}, method.KEY=VALUE:\n")[1].split("\n\n")[0]
    lines = {line.split(":")[0]: line for line in shown.splitlines()}
    for key in _keys(f"method/{method}.yaml"):
        assert "#" in lines[f"  {key}"], key


def test_a_name_that_stands_for_another_and_a_preset():
    help_text = settings_help(
        "p distill", "Distil.", "distill", ["method=best", "preset=paper", "--help"]
    )
    assert "method=best is dmmd. " in help_text
    assert "Settings of dmmd, method.KEY=VALUE:\n  student_steps: 8 " in help_text
    assert "preset=paper sets:\n  steps: 10000\n" in help_text


def test_a_group_goes_by_what_users_call_it():
    groups = {"model": "text_model@model"}
    help_text = settings_help("p pretrain", "T.", "text_pretrain", ["model=gpt2"], groups)
    assert "model=NAME, of gpt2, judge, medium, small, tiny." in help_text
    assert "Settings of gpt2, model.KEY=VALUE:\n  kind: autoregressive\n" in help_text
