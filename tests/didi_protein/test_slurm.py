"""Sweeps through Hydra's submitit launcher: jobs of their own, here on this machine."""

from pathlib import Path

import pytest
from generate_fixtures import run_program
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from didi_core.cli import hydra_app
from didi_core.cli.hydra_app import config_folder, declare_settings, run_hydra
from didi_core.errors import UserError
from didi_protein.settings import DistillSettings

TINY = (
    *("teacher=tiny", "method=sdtt", "reference=pool", "pool_size=2", "pool_length=10"),
    *("pool_steps=1", "steps=1", "method.rounds=1", "device=cpu"),
)


def test_a_sweep_runs_in_jobs_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.chdir(tmp_path)
    sweep = ("--multirun", "hydra/launcher=submitit_local", "seed=3", "out=runs/${seed}")
    done = run_program("distill", *sweep, *TINY)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/3/model.safetensors").is_file()
    (said,) = tmp_path.glob(".submitit/*/*_0_log.err")
    assert "The student is in runs/3." in said.read_text()


def test_the_example_is_a_launcher_of_slurm() -> None:
    pytest.importorskip("submitit")
    declare_settings("distill")
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        given = ["hydra/launcher=slurm", "teacher=tiny", "out=x", "hydra.launcher.partition=gpu"]
        config = compose("distill", given, return_hydra_config=True)
    launcher = config.hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert (launcher.partition, launcher.gpus_per_node, launcher.tasks_per_node) == ("gpu", 1, 1)
    HydraConfig.instance().cfg = None


@pytest.mark.parametrize("launcher", ["slurm", "submitit_slurm", "submitit_local"])
def test_without_the_extra_its_install_line_is_said(
    monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    monkeypatch.setattr(hydra_app, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'didi-protein\[slurm\]'"):
        run_hydra("distill", DistillSettings, print, [f"hydra/launcher={launcher}"], "p distill")
