"""Two processes do what one does: the same losses, figures and weights, and they stop together."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from shared_runs import METHODS, STEPS, outcome
from tiny_models import cpu_fabric

from didi_core.training.devices import launched_processes

FIRST_CHECKPOINT = ["step_00000003.safetensors"]


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    """The outcome of one process, and of two under the environment that torchrun sets."""
    out = tmp_path_factory.mktemp("two") / "outcome.json"
    common = {
        **os.environ,
        "TORCHELASTIC_RUN_ID": "test",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    program = [sys.executable, str(Path(__file__).with_name("shared_runs.py")), str(out)]
    started = [
        subprocess.Popen(
            program,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        alone = outcome(cpu_fabric())
        for process in started:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
    finally:
        for process in started:
            process.kill()
    return alone, json.loads(out.read_text())


@pytest.mark.parametrize("name", METHODS)
def test_losses_figures_and_weights_are_those_of_one_process(
    both: tuple[dict, dict], name: str
) -> None:
    alone, together = both
    assert (alone["world_size"], together["world_size"]) == (1, 2)
    assert len(together[name]["figures"]) == STEPS
    for one, two in zip(alone[name]["figures"], together[name]["figures"], strict=True):
        assert two == pytest.approx(one, rel=1e-6, abs=1e-9)
    assert together[name]["weights"] == pytest.approx(alone[name]["weights"], abs=1e-8)


def test_processes_stop_after_the_same_step(both: tuple[dict, dict]) -> None:
    for found in both:
        assert found["out of time"] == 1
        assert found["stopped"] == FIRST_CHECKPOINT


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, (4, 2)),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}, (1, 1)),
        ({"SLURM_NTASKS": "6", "SLURM_NNODES": "3", "SLURM_JOB_NAME": "train"}, (2, 3)),
    ],
)
def test_processes_that_were_started_are_seen(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: tuple[int, int] | None
) -> None:
    for name in [*os.environ]:
        if name.startswith(("SLURM_", "TORCHELASTIC_")) or name.endswith("WORLD_SIZE"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched_processes() == expected
