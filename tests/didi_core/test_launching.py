"""`devices=N` starts N processes of the same command."""

import subprocess
import sys

import pytest

from didi_core.commands import launching
from didi_core.commands.launching import needs_processes, run_in_processes
from didi_core.errors import UserError
from didi_core.training.devices import build_fabric


@pytest.mark.parametrize(
    ("devices", "environment", "expected"),
    [
        (1, {}, False),
        (2, {}, True),
        (2, {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, False),
        (4, {"SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_JOB_NAME": "train"}, True),
        (4, {"SLURM_NTASKS": "4", "SLURM_NNODES": "1", "SLURM_JOB_NAME": "train"}, False),
    ],
)
def test_processes_are_started_where_nobody_did(
    monkeypatch: pytest.MonkeyPatch, devices: int, environment: dict[str, str], expected: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert needs_processes(devices) is expected


def test_the_command_is_the_same_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    real = subprocess.run

    def run(command: list[str]) -> subprocess.CompletedProcess[bytes]:
        started.append(command)
        return real([sys.executable, "-c", "raise SystemExit(3)"])

    monkeypatch.setattr(launching.subprocess, "run", run)
    with pytest.raises(UserError, match="devices=3: a process failed"):
        run_in_processes("didi-text distill", ["teacher=tiny", "num=1"], 3)
    (command,) = started
    assert command[-3:] == ["distill", "teacher=tiny", "num=1"]
    assert (
        "from didi_text.app" in command[-4]
        and command[command.index("--nproc-per-node") + 1] == "3"
    )


def test_alone_every_strategy_is_plain() -> None:
    for strategy in ("auto", "ddp", "fsdp"):
        fabric = build_fabric("cpu", "float32", strategy=strategy)
        assert type(fabric.strategy).__name__ == "SingleDeviceStrategy"
