"""`--help` of the verbs of `key=value` settings."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from typer.testing import CliRunner

from didi_core.cli.hydra_app import compose_plain
from didi_core.cli.settings_help import settings_help
from didi_core.distill.registry import METHODS
from didi_protein import settings as protein_settings
from didi_protein.app import app as protein
from didi_text import settings as text_settings
from didi_text.app import app as text

VERBS = {
    "pretrain": (protein, "pretrain", protein_settings.PretrainSettings),
    "distill": (protein, "distill", protein_settings.DistillSettings),
    "text_pretrain": (text, "pretrain", text_settings.PretrainSettings),
    "text_distill": (text, "distill", text_settings.DistillSettings),
}
CHOSEN = {"method", "model", "preset", "recipe"}
"""Settings that choose among files or methods, which help explains below the others."""


def _defaults(settings: type) -> dict[str, Any]:
    """What a class has by default, by the full name of each setting."""

    def flat(values: dict[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
        for name, value in values.items():
            yield group + name, value
            if isinstance(value, dict):
                yield from flat(value, f"{group}{name}.")

    return dict(flat(OmegaConf.to_container(OmegaConf.structured(settings))))


def _shown(text: str) -> dict[str, Any]:
    """Settings in help that have an explanation, by full name, as YAML reads them."""
    assert all(len(line) <= 100 for line in text.splitlines())
    found, groups = {}, [""]
    for line in (each for each in text.splitlines() if not each.strip().startswith("#")):
        setting, mark, explanation = line.partition("# ")
        depth = (len(setting) - len(setting.lstrip())) // 2
        name, _, value = setting.strip().partition(":")
        groups[depth:] = [f"{groups[depth - 1]}{name}."]
        if mark and len(explanation) > 3:
            found[f"{groups[depth - 1]}{name}"] = yaml.safe_load(value)
    return found


@pytest.mark.parametrize("config", VERBS)
def test_help_explains_every_setting_and_has_its_default(config: str) -> None:
    app, verb, settings = VERBS[config]
    done = CliRunner().invoke(app, [verb, "--help"])
    assert done.exit_code == 0
    shown = _shown(done.output.split("null is none:\n")[1].split("\n\n")[0])
    known = _defaults(settings).items()
    wanted = {name: value for name, value in known if name.split(".")[0] not in CHOSEN}
    assert shown == {k: None if isinstance(v, dict) else v for k, v in wanted.items()}
    assert "hydra" not in done.output.lower()


@pytest.mark.parametrize("method", METHODS)
def test_the_settings_of_the_method_that_is_named(method: str) -> None:
    help_text = settings_help("p distill", "Distil.", "distill", [f"method={method}", "--help"])
    shown = _shown(
        help_text.split(f"Settings of {method}, method.KEY=VALUE:\n")[1].split("\n\n")[0]
    )
    wanted = _defaults(METHODS[method].settings)
    assert shown == {k: None if isinstance(v, dict) else v for k, v in wanted.items()}
    for name, entry in METHODS.items():
        assert f"\n  method={name}: {entry.summary}\n" in help_text


@pytest.mark.parametrize("config", VERBS)
def test_what_is_composed_is_the_dataclass(config: str) -> None:
    """Beside what the configuration chooses: a method, and the shape of a network."""
    _, _, settings = VERBS[config]
    known, composed = (
        OmegaConf.to_container(OmegaConf.structured(settings)),
        compose_plain(config, []),
    )
    assert {name: composed[name] for name in known.keys() - {"method", "model"}} == {
        name: value for name, value in known.items() if name not in ("method", "model")
    }
    if "model" in known:
        assert composed["model"].keys() == known["model"].keys()


def test_a_name_that_stands_for_another_and_a_preset():
    help_text = settings_help(
        "p distill", "Distil.", "distill", ["method=best", "preset=paper", "--help"]
    )
    assert "method=best is dmmd. " in help_text
    assert "Settings of dmmd, method.KEY=VALUE:\n  sampler: null " in help_text
    assert "preset=paper sets:\n  steps: 10000\n" in help_text


def test_a_group_goes_by_what_users_call_it():
    groups = {"model": "text_model@model"}
    help_text = settings_help("p pretrain", "T.", "text_pretrain", ["model=gpt2"], groups)
    assert "model=NAME, of gpt2, judge, medium, small, tiny." in help_text
    assert "Settings of gpt2, model.KEY=VALUE:\n  kind: autoregressive " in help_text
