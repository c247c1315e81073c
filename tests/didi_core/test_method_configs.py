"""Each method's YAML shows every setting, with the default its dataclass has."""

import pytest
from omegaconf import OmegaConf

from didi_core.distill.registry import METHODS, method_settings
from didi_core.errors import UserError
from didi_core.hydra_app import config_folder


@pytest.mark.parametrize("name", METHODS)
def test_yaml_and_dataclass_agree(name: str) -> None:
    stored = OmegaConf.to_container(OmegaConf.load(config_folder() / "method" / f"{name}.yaml"))
    assert stored.pop("name") == name
    assert stored == OmegaConf.to_container(OmegaConf.structured(METHODS[name].settings))


def test_every_method_has_its_yaml() -> None:
    assert {p.stem for p in (config_folder() / "method").glob("*.yaml")} == set(METHODS)


@pytest.mark.parametrize(
    "wrong", [{"name": "nope"}, {"name": "didi", "typo": 1}, {"name": "dmmd", "ema": "x"}]
)
def test_what_is_wrong_is_named(wrong: dict) -> None:
    with pytest.raises(UserError, match="method="):
        method_settings(wrong)
