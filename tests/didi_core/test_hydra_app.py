"""Settings as `key=value`: what Hydra would take silently is refused."""

import pytest

from didi_core.commands.pretrain_settings import PretrainSettings
from didi_core.errors import UserError
from didi_core.hydra_app import choices_of, run_hydra


def test_a_key_given_twice_is_refused():
    with pytest.raises(UserError, match=r"^steps= given twice; give it once\.$"):
        run_hydra("pretrain", PretrainSettings, print, ["steps=3", "seed=1", "+steps=4"], "p")


def test_choices_are_the_files_of_a_group():
    assert {"didi", "dmmd", "sdtt"} <= set(choices_of("method"))
