"""Settings as `key=value`: what Hydra would take silently is refused."""

import pytest

from didi_core.commands.pretrain_settings import PretrainSettings
from didi_core.errors import UserError
from didi_core.hydra_app import choices_of, run_hydra
from didi_protein import pretrain_settings as protein


def test_a_key_given_twice_is_refused():
    with pytest.raises(UserError, match=r"^steps= given twice; give it once\.$"):
        run_hydra("pretrain", PretrainSettings, print, ["steps=3", "seed=1", "+steps=4"], "p")


def test_choices_are_the_files_of_a_group():
    assert {"didi", "dmmd", "sdtt"} <= set(choices_of("method"))


def test_a_choice_that_is_not_there_is_named_as_it_was_given():
    arguments, groups = ["data=d", "out=o", "model=tny"], {"model": "text_model@model"}
    told = r"^model=tny: did you mean tiny\? There are gpt2, judge, medium, small, tiny\.$"
    with pytest.raises(UserError, match=told):
        run_hydra("text_pretrain", PretrainSettings, print, arguments, "p", groups=groups)


def _refuses(settings: protein.PretrainSettings) -> None:
    raise UserError(f"steps={settings.steps} is no good.")


def test_an_error_of_ours_stands_alone(capsys):
    with pytest.raises(UserError, match=r"^steps=3 is no good\.$"):
        run_hydra(
            "pretrain", protein.PretrainSettings, _refuses, ["data=d", "out=o", "steps=3"], "p"
        )
    assert capsys.readouterr().err == ""


def test_of_several_jobs_the_one_that_failed_is_told(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Hydra leaves a file of the sweep
    arguments = ["--multirun", "data=d", "out=o", "steps=3,4"]
    with pytest.raises(UserError, match="steps=3 is no good"):
        run_hydra("pretrain", protein.PretrainSettings, _refuses, arguments, "p")
    assert "'steps=3'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("steps=ten", "^steps=ten must be a whole number"),
        ("optimizer.lr=small", r"^optimizer\.lr=small must be a number"),
        ("resume=maybe", "^resume=maybe must be true or false"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_in_plain_words(given: str, told: str):
    with pytest.raises(UserError, match=told):
        run_hydra("pretrain", protein.PretrainSettings, print, ["data=d", "out=o", given], "p")


def test_a_mistake_in_settings_stands_alone(capsys):
    for arguments in (["steps=x"], ["out=o"]):
        with pytest.raises(UserError):
            run_hydra("pretrain", protein.PretrainSettings, print, arguments, "p")
    assert "Error executing" not in capsys.readouterr().err
