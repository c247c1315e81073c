"""Each method's YAML shows every setting, with the default its dataclass has."""

import hydra
import pytest
from omegaconf import OmegaConf

from didi_core.distill.registry import METHODS, method_settings
from didi_core.errors import UserError
from didi_core.hydra_app import config_folder

BEST = "best"
"""Whatever won: no method of its own."""


@pytest.mark.parametrize("name", METHODS)
def test_yaml_and_dataclass_agree(name: str) -> None:
    stored = OmegaConf.to_container(OmegaConf.load(config_folder() / "method" / f"{name}.yaml"))
    assert stored.pop("name") == name
    assert stored == OmegaConf.to_container(OmegaConf.structured(METHODS[name].settings))


def test_every_method_has_its_yaml() -> None:
    found = {p.stem for p in (config_folder() / "method").glob("*.yaml")}
    assert found == {*METHODS, BEST}


def test_the_best_is_one_of_the_methods_and_the_default() -> None:
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        best, default = (
            OmegaConf.to_container(hydra.compose("distill", [*chosen, "teacher=t", "out=o"]).method)
            for chosen in ([f"method={BEST}"], [])
        )
    assert best == default
    assert method_settings(best)[0] in METHODS


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": "nope"}, "^method=nope is unknown"),
        ({"name": "didi", "typo": 1}, "^method=didi: .*typo"),
        ({"name": "dmmd", "ema": "x"}, r"^method\.ema=x must be a number\.$"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        method_settings(wrong)


@pytest.mark.parametrize("method", METHODS)
def test_an_optimizer_that_is_none_is_refused_by_its_place(method: str) -> None:
    """Not taken for another one in silence."""
    with pytest.raises(UserError, match=r"method\.student\.name=adam must be adamw or muon"):
        method_settings({"name": method, "student": {"name": "adam"}})
