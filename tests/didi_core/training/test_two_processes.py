"""Two processes do what one does: the same losses, figures and weights, and they stop together.

With whole networks each (DDP), and with networks whose tensors are spread over both (FSDP).
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from file_server import free_port
from shared_runs import IN_PASSES, METHODS, RESUMED, STEPS, begin, outcome, resume
from tiny_models import cpu_fabric

from didi_core.training.devices import launched_processes

FIRST_CHECKPOINT = ["step_00000003.safetensors"]


@dataclass(frozen=True)
class Runs:
    """What came out of one process and of two, and the folder of the two's begun runs."""

    alone: dict
    together: dict
    begun: Path


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """The outcome of one process, and the folder of runs that it began."""
    folder = tmp_path_factory.mktemp("alone")
    fabric = cpu_fabric()
    for name in RESUMED:
        begin(name, folder / name, fabric)
    return outcome(fabric), folder


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def runs(
    request: pytest.FixtureRequest,
    alone: tuple[dict, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    """One process against two under the environment that torchrun sets."""
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(alone[1], folder / "given")
    out = folder / "outcome.json"
    common = {
        **os.environ,
        "TORCHELASTIC_RUN_ID": "test",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    script = str(Path(__file__).parents[1] / "shared_runs.py")
    program = [sys.executable, script, str(out), request.param, str(folder / "given")]
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
        for process in started:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
    finally:
        for process in started:
            process.kill()
    together = json.loads(out.read_text())
    assert together["sharded"] is (request.param == "fsdp")
    return Runs(alone[0], together, folder)


@pytest.mark.parametrize("name", [*METHODS, *IN_PASSES])
def test_losses_figures_and_weights_are_those_of_one_process(runs: Runs, name: str) -> None:
    alone, together = runs.alone, runs.together
    assert (alone["world_size"], together["world_size"]) == (1, 2)
    assert len(together[name]["figures"]) == STEPS
    for one, two in zip(alone[name]["figures"], together[name]["figures"], strict=True):
        assert two == pytest.approx(one, rel=1e-6, abs=1e-9)
    assert together[name]["weights"] == pytest.approx(alone[name]["weights"], abs=1e-8)


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_is_resumed_by_another_number_of_processes(runs: Runs, name: str) -> None:
    unbroken = pytest.approx(runs.alone[name]["weights"], abs=1e-8)
    assert runs.together["resumed"][name] == unbroken
    assert resume(name, runs.begun / name, cpu_fabric()) == unbroken


def test_processes_stop_after_the_same_step(runs: Runs) -> None:
    for found in (runs.alone, runs.together):
        assert found["out of time"] == 1
        assert found["in time"] == 4
        assert found["stopped"] == FIRST_CHECKPOINT
    assert runs.alone["planned"] == 50
    assert runs.together["planned"] == 25, "by the slowest clock"


def test_what_the_first_process_finds_is_what_all_have(runs: Runs) -> None:
    """As the split of valid=10%: the mean over the processes is the first one's answer."""
    assert runs.alone["first's answer"] == runs.together["first's answer"] == 7


def test_patience_ends_all_processes_with_the_weights_of_one(runs: Runs) -> None:
    alone, together = runs.alone["patience"], runs.together["patience"]
    assert [alone[name] for name in ("updates", "best")] == [4, 2]
    assert [together[name] for name in ("updates", "best")] == [4, 2]
    assert together["weights"] == pytest.approx(alone["weights"], rel=1e-4, abs=1e-6)


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
