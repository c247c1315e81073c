"""Settings as `key=value`: what Hydra would take silently is refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from didi_core import __version__
from didi_core.cli.hydra_app import compose_settings, overrides_of_job, run_hydra
from didi_core.commands.training.settings import PretrainSettings
from didi_core.errors import UserError
from didi_protein import settings as protein
from didi_protein.app import app
from didi_protein.settings import DistillSettings


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


def test_a_mistake_in_settings_stands_alone(capsys):
    for arguments in (["steps=x"], ["out=o"]):
        with pytest.raises(UserError):
            run_hydra("pretrain", protein.PretrainSettings, print, arguments, "p")
    assert "Error executing" not in capsys.readouterr().err


def test_a_sweep_over_names_gives_each_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs = []

    def job(settings: protein.PretrainSettings) -> None:
        jobs.append((settings.out, settings.seed, overrides_of_job(settings)))

    arguments = ["--multirun", "--data", "1e5", "out=1.10,r-${seed}", "--seed", "3,4"]
    run_hydra("pretrain", protein.PretrainSettings, job, arguments, "p")
    assert jobs == [
        (out, seed, ["data=1e5", f"out={out}", f"seed={seed}"])
        for out, seed in [("1.10", 3), ("1.10", 4), ("r-3", 3), ("r-4", 4)]
    ]


def test_common_settings_of_distill_are_flags_too():
    seen = []
    flags = ["--teacher", "1e5", "--method", "dcd", "--out=007", "--overwrite", "--steps", "3"]
    run_hydra("distill", DistillSettings, seen.append, [*flags, "device=cpu"], "p")
    plain = ["teacher=1e5", "method=dcd", "out=007", "overwrite=true", "steps=3", "device=cpu"]
    assert seen == [compose_settings("distill", DistillSettings, plain)]
    assert seen[0].method["name"] == "dcd"


def test_a_flag_of_other_verbs_sets_what_is_called_otherwise_here():
    seen: list[DistillSettings] = []
    flags = ["--teacher", "t", "--out", "o", "--batch-tokens", "99", "--precision", "bf16"]
    run_hydra("distill", DistillSettings, seen.append, flags, "p")
    assert (seen[0].tokens_per_batch, seen[0].precision) == (99, "bf16")


@pytest.mark.parametrize("verb", ["pretrain", "distill"])
def test_version_is_that_of_the_program_as_after_other_verbs(verb: str):
    done = CliRunner().invoke(app, [verb, "--version"])
    assert (done.exit_code, done.stdout) == (0, f"didi-protein {__version__}\n")


def test_json_prints_the_run_and_nothing_else(tmp_path: Path):
    (tmp_path / "d.fasta").write_text("".join(f">{n}\n{'ACDEFGHIKL' * 3}\n" for n in range(8)))
    out = tmp_path / "m"
    shape = ["num_layers=1", "hidden_size=8", "intermediate_size=16", "num_heads=2"]
    settings = [f"model.{each}" for each in shape] + ["steps=1", "max_length=40", "device=cpu"]
    given = ["pretrain", "--data", str(tmp_path / "d.fasta"), "--out", str(out), *settings]
    done = CliRunner().invoke(app, [*given, "--json"])
    assert done.exit_code == 0, done.output + str(done.exception)
    assert json.loads(done.stdout) == json.loads((out / "run.json").read_text())


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["steps=1,2"], "steps=1,2"),
        (["optimizer.betas=[0.9,"], "optimizer.betas=[0.9,"),
        (["a b=3"], "a b=3"),
        (["word"], "word"),
        (["out=a${"], "out="),
        (["out=${seedx}"], "${seedx}"),
        (["steps=${oc.env:DIDI_NOT_SET}"], "DIDI_NOT_SET"),
        (["out=${nothing:1}"], "${nothing:"),
        (["+foo=1"], "foo="),
        (["~foo"], "foo="),
        (["-z"], "-z"),
        (["--cfg"], "--cfg"),
        (["--multirun", "data=a,"], "data=a,"),
        (["out="], "out="),
        (["data"], "data"),
        (["--out", "--resume"], "--out"),
    ],
)
def test_what_hydra_cannot_read_is_told_in_our_words(given: list[str], named: str, capsys):
    needed = [each for each in ("data=d", "out=o") if not any(each[:4] in one for one in given)]
    with pytest.raises(UserError) as told:
        run_hydra("pretrain", protein.PretrainSettings, print, [*needed, *given], "p")
    assert named in str(told.value)
    for word in ("hydra", "interpolation", "viable", "Ambiguous", "Error"):
        assert word.lower() not in str(told.value).lower()
    assert "usage:" not in capsys.readouterr().err
