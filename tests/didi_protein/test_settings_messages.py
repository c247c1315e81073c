"""What `pretrain` and `distill` say of arguments that are no settings."""

from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

from didi_core.cli.hydra_app import run_hydra
from didi_core.cli.run import _CONTINUES, check_output, run_program
from didi_core.errors import Terminated, UserError
from didi_protein.settings import DistillSettings, PretrainSettings


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("stps=5", r"^stps=: there is no such setting; did you mean steps=\?"),
        ("steps=abc", "^steps=abc must be a whole number"),
        ("optimizer.lr=small", r"^optimizer\.lr=small must be a number"),
        ("resume=maybe", "^resume=maybe must be true or false"),
        ("+data=b", r"^data= given twice; give it once\.$"),
        ("optimizer.steps=5", r"^optimizer\.steps=: there is no such setting\. \(see"),
        ("model=tny", r"^model=tny: did you mean tiny\? There are 150m, 3b, 650m, judge, tiny\.$"),
        ("--ema=5", r"^--ema: p pretrain takes settings as key=value: ema=5$"),
        ("--steps", r"^--steps: give it a value"),
        ("--teacher=tiny", r"^teacher=: there is no such setting"),
        ("--tokens-per-batch", r"key=value: tokens_per_batch=\.\.\.$"),
    ],
)
def test_what_is_no_setting_is_named_with_the_mend(argument: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run_hydra("pretrain", PretrainSettings, print, ["data=a", "out=b", argument], "p pretrain")


def test_a_setting_that_a_method_lacks_leads_to_the_help_of_methods() -> None:
    wrong = ["teacher=t", "out=b", "method=dmmd-uniform", "method.sampler=apart"]
    told = r"^method\.sampler=: there is no such setting\. .*: p distill --help method=NAME\)$"
    with pytest.raises(UserError, match=told):
        run_hydra("distill", DistillSettings, print, wrong, "p distill")


def test_an_output_that_exists_is_mended_by_settings(tmp_path: Path) -> None:
    (tmp_path / "other_work").touch()
    with pytest.raises(UserError, match=r"^out=.* exists: .* resume=true .* overwrite=true"):
        check_output(tmp_path, resume=False, overwrite=False, flag="out=")
    with pytest.raises(UserError, match=r"^--out .* exists: .* --resume .* --overwrite"):
        check_output(tmp_path, resume=False, overwrite=False)
    with pytest.raises(UserError, match=r"^--out .* exists: choose another name, or --overwrite"):
        check_output(tmp_path, overwrite=False)  # of a verb that has no --resume


@pytest.mark.parametrize(
    ("verb", "mend"),
    [
        ("generate", "(continue with --resume)"),
        ("distill", "(continue with resume=true)"),
        ("quickstart", "(continue with the same command)"),
        ("download", "(continue with the same command)"),
        ("merge", "Interrupted; the same command starts anew."),
    ],
)
def test_an_interrupted_verb_says_how_it_goes_on(verb: str, mend: str, monkeypatch, capsys) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["p", verb])
    assert run_program(interrupted) == 130
    assert mend in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "mend"),
    [
        ("generate", "; start anew with --overwrite and a smaller --batch-tokens, or"),
        ("score", "is saved (continue with --resume). Take smaller batches (--batch-tokens) or"),
        ("distill", "(continue with resume=true). Take smaller batches (tokens_per_pass=) or"),
        ("merge", "; the same command starts anew. Take a larger device."),
    ],
)
def test_out_of_memory_names_the_flags_of_its_verb(
    verb: str, mend: str, monkeypatch, capsys
) -> None:
    def full() -> None:
        raise MemoryError("of the host")

    monkeypatch.setattr("sys.argv", ["p", verb])
    assert run_program(full) == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: out of memory (of the host); ")
    assert mend in said


def test_a_benchmark_goes_on_by_itself(monkeypatch, capsys) -> None:
    def terminated() -> None:
        raise Terminated

    monkeypatch.setattr("sys.argv", ["frontier.py", "run", "quick"])
    assert run_program(terminated, goes_on=True) == 143
    assert "(continue with the same command)" in capsys.readouterr().err


@pytest.mark.parametrize("program", ["didi_protein", "didi_text"])
def test_resume_is_advised_where_a_verb_has_it(program: str) -> None:
    app = import_module(f"{program}.app").app
    for verb, command in get_command(app).commands.items():
        flags = {flag for each in command.params for flag in each.opts}
        assert ("--resume" in flags) == (_CONTINUES.get(verb) == "--resume"), verb
