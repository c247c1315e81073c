"""`devices=N` starts N processes of the same command."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import lightning.fabric
import pytest
import torch

from didi_core.commands.training import launch as launching
from didi_core.commands.training.launch import needs_processes, run_in_processes
from didi_core.errors import Terminated, UserError
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


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
    """Run a script in place of torchrun; returns where it tells what happened to it."""
    script, told = folder / "torchrun", folder / "told"
    head = f"#!{sys.executable} -S\nimport os, signal, subprocess, sys, time\n"
    script.write_text(f"{head}told = open({str(told)!r}, 'a', buffering=1)\n{body}")
    script.chmod(0o755)
    monkeypatch.setattr(launching.sys, "executable", str(script))
    return told


def test_the_command_is_the_same_in_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = stand_in(tmp_path, monkeypatch, "print(*sys.argv, sep='\\n', file=told)\nsys.exit(3)")
    with pytest.raises(UserError, match="devices=3: a process failed"):
        run_in_processes("didi-text distill", ["teacher=tiny", "num=1"], 3)
    command = told.read_text().splitlines()
    assert command[-3:] == ["distill", "teacher=tiny", "num=1"]
    assert (
        "from didi_text.app" in command[-4]
        and command[command.index("--nproc-per-node") + 1] == "3"
    )


# As torchrun does: a process in a session of its own, to which signals are passed on.
WORKER = """
def stop(signum, frame):
    print(signal.Signals(signum).name, file=told)
    os.killpg(worker.pid, signum)
    print("worker ended", worker.wait(), file=told)
    sys.exit(1)

for each in (signal.SIGTERM, signal.SIGINT):
    signal.signal(each, stop)
worker = subprocess.Popen(["sleep", "60"], start_new_session=True)
print("worker", worker.pid, file=told)
time.sleep(60)
"""
DEAF = """
for each in (signal.SIGTERM, signal.SIGINT):
    signal.signal(each, lambda *_: print("heard", file=told))
print("deaf", os.getpid(), file=told)
while True:
    time.sleep(60)
"""


def send_when_told(told: Path, *signals: signal.Signals) -> None:
    """Send this process each signal once the stand-in has written so many lines."""

    def send() -> None:
        for lines, each in enumerate(signals, start=1):
            while not told.exists() or told.read_text().count("\n") < lines:
                time.sleep(0.01)
            signal.pthread_kill(threading.main_thread().ident, each)

    threading.Thread(target=send, daemon=True).start()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


DEFAULT = {signal.SIGINT: signal.default_int_handler}


@pytest.mark.parametrize(
    ("sent", "passed_on", "raised"),
    [
        (signal.SIGINT, "SIGINT", KeyboardInterrupt),
        (signal.SIGTERM, "SIGTERM", Terminated),
        (signal.SIGHUP, "SIGTERM", Terminated),
    ],
)
def test_a_signal_ends_all_processes(
    sent: signal.Signals,
    passed_on: str,
    raised: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = stand_in(tmp_path, monkeypatch, WORKER)
    send_when_told(told, sent)
    # Under nohup SIGHUP is ignored, and so it would stay.
    outside = signal.signal(sent, DEFAULT.get(sent, signal.SIG_DFL))
    before = signal.getsignal(sent)
    try:
        with pytest.raises(raised):
            run_in_processes("didi-text distill", [], 2)
    finally:
        now = signal.signal(sent, outside)
    worker, *rest = told.read_text().splitlines()
    assert rest == [passed_on, f"worker ended {-signal.Signals[passed_on]}"]
    assert not is_running(int(worker.split()[1]))
    assert now == before


def test_a_second_signal_is_passed_on_and_what_never_ends_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = stand_in(tmp_path, monkeypatch, DEAF)
    monkeypatch.setattr(launching, "PATIENCE", 1.0)
    send_when_told(told, signal.SIGINT, signal.SIGTERM)
    # Started in the background of a script, Python finds SIGINT ignored and leaves it so.
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_in_processes("didi-text distill", [], 2)
    finally:
        signal.signal(signal.SIGINT, outside)
    deaf, *heard = told.read_text().splitlines()
    assert heard == ["heard", "heard"] and not is_running(int(deaf.split()[1]))


def test_what_is_ignored_stays_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under nohup."""
    told = stand_in(tmp_path, monkeypatch, "print('here', file=told)\ntime.sleep(0.3)")
    send_when_told(told, signal.SIGHUP)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run_in_processes("didi-text distill", [], 2)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert told.read_text() == "here\n"


def test_alone_every_strategy_is_plain() -> None:
    for strategy in ("auto", "ddp", "fsdp"):
        fabric = build_fabric("cpu", "float32", strategy=strategy)
        assert type(fabric.strategy).__name__ == "SingleDeviceStrategy"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Fabric is asked for, on a machine that says it has two GPUs."""
    found: list[dict[str, Any]] = []

    class Asked(lightning.fabric.Fabric):
        def __init__(self, **settings: Any) -> None:
            found.append(settings)
            super().__init__(accelerator="cpu", devices=1)

    monkeypatch.setattr(lightning.fabric, "Fabric", Asked)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return found


@pytest.mark.parametrize(
    ("device", "devices", "expected"),
    [("cuda:1", 1, [1]), ("cuda:0", 1, [0]), ("cuda", 1, 1), ("cuda", 2, 2), ("cpu", 2, 2)],
)
def test_the_gpu_that_is_named_is_taken(
    asked: list[dict[str, Any]], device: str, devices: int, expected: int | list[int]
) -> None:
    build_fabric(device, "float32", devices)
    assert [each["devices"] for each in asked] == [expected]


@pytest.mark.parametrize(
    ("device", "devices", "message"),
    [
        ("cuda:1", 2, "device=cuda:1 is one GPU for 2 processes: give device=cuda.*CUDA_VISIBLE"),
        ("cuda:2", 1, "device=cuda:2: the last CUDA device here is cuda:1"),
        ("cuda:300", 1, "device=cuda:300: the last CUDA device here is cuda:1"),
        ("cuda:-1", 1, "device=cuda:-1 is no device: use auto, cpu, cuda or cuda:N"),
        ("mps", 1, "device=mps is no device"),
        ("meta", 1, "device=meta is no device"),
        ("cpu:3", 1, "device=cpu:3 is no device"),
    ],
)
def test_a_device_that_cannot_be_is_refused(
    asked: list[dict[str, Any]], device: str, devices: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build_fabric(device, "float32", devices)
    assert asked == []
