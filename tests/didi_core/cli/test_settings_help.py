"""`--help` of the verbs of `key=value` settings."""

import pytest
import yaml
from omegaconf import OmegaConf
from typer.testing import CliRunner

from didi_core.cli.hydra_app import compose_plain, config_folder
from didi_core.cli.settings_help import settings_help
from didi_core.distill.registry import METHODS
from didi_protein import settings as protein_distill
from didi_protein import settings as protein_pretrain
from didi_protein.app import app as protein
from didi_text import settings as text_distill
from didi_text import settings as text_pretrain
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
    shown = {line.split(":")[0]: line for line in done.output.splitlines() if ":" in line}
    for key in _keys(config):
        assert "#" in shown[f"  {key}"], key
    assert "hydra" not in done.output.lower()


@pytest.mark.parametrize("method", METHODS)
def test_the_settings_of_the_method_that_is_named(method):
    help_text = settings_help("p distill", "Distil.", "distill", [f"method={method}", "--help"])
    shown = help_text.split(f"Settings of {method}, method.KEY=VALUE:\n")[1].split("\n\n")[0]
    lines = {line.split(":")[0]: line for line in shown.splitlines()}
    for key in _keys(f"method/{method}.yaml"):
        assert "#" in lines[f"  {key}"], key
    for name, entry in METHODS.items():
        assert f"\n  method={name}: {entry.summary}\n" in help_text


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        ("pretrain", protein_pretrain.PretrainSettings),
        ("distill", protein_distill.DistillSettings),
        ("text_pretrain", text_pretrain.PretrainSettings),
        ("text_distill", text_distill.DistillSettings),
    ],
)
def test_what_a_dataclass_has_can_be_given(config, settings):
    """A key that only the dataclass has would be refused on the command line."""

    def missing(known: dict, given: dict) -> set[str]:
        nested = [
            k for k, v in known.items() if isinstance(v, dict) and isinstance(given.get(k), dict)
        ]
        return (known.keys() - given.keys()).union(*(missing(known[k], given[k]) for k in nested))

    known = OmegaConf.to_container(OmegaConf.structured(settings))
    assert missing(known, compose_plain(config, [])) == set()


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
    assert "Settings of gpt2, model.KEY=VALUE:\n  kind: autoregressive " in help_text
