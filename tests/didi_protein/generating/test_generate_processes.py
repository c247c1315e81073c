"""`generate` in two processes of torchrun writes, byte for byte, what one process writes."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from generate_fixtures import design

from didi_core.errors import UserError
from didi_core.io.journal import partial_path, partials_of, process_path
from didi_protein.generating import designs

JOBS: dict[str, dict[str, Any]] = {
    "plain": {"num": 30},
    # 400 sequences of two residues: many are drawn twice, some five times.
    "unique": {"num": 60, "length": "2", "unique": True, "batch_tokens": 160, "max_repeat": 0.9},
    "shard": {"num": 30, "shard": "2/2"},
    "resumed": {"num": 30, "resume": True},
}
PROGRAM = (
    "import json, sys; sys.path.insert(0, sys.argv[1]); from generate_fixtures import design; "
    "from pathlib import Path; "
    "[design(Path(m), Path(o), **c) for m, o, c in json.loads(sys.argv[2])]"
)


@pytest.fixture(scope="module")
def alone(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process writes, and the lines of its work in progress."""
    folder = tmp_path_factory.mktemp("alone")
    for name, changes in JOBS.items():
        design(model, folder / f"{name}.fasta", **changes)

    def stop(path: Path, made: object) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(designs, "DESIGNS", replace(designs.DESIGNS, write=stop))
        with pytest.raises(KeyboardInterrupt):
            design(model, folder / "stopped.fasta", num=30)
    return folder


def leave_partials(alone: Path, out: Path, *shares: slice) -> None:
    """What processes leave behind that were stopped after these of the request's batches."""
    header, *lines = partial_path(alone / "stopped.fasta").read_text().splitlines(keepends=True)
    assert len(lines) > 4
    for rank, share in enumerate(shares):
        process_path(partial_path(out), rank).write_text("".join([header, *lines[share]]))


@pytest.fixture(scope="module")
def together(model: Path, alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes write, which first find the beginnings of one."""
    folder = tmp_path_factory.mktemp("together")
    leave_partials(alone, folder / "resumed.fasta", slice(0, 3))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    jobs = [(str(model), str(folder / f"{name}.fasta"), each) for name, each in JOBS.items()]
    environment = os.environ | {
        "TORCHELASTIC_RUN_ID": "x",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    program = [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[1]), json.dumps(jobs)]
    started = [
        subprocess.Popen(program, env=environment | {"RANK": rank, "LOCAL_RANK": rank})
        for rank in "01"
    ]
    try:
        assert [each.wait(timeout=300) for each in started] == [0, 0]
    finally:
        for each in started:
            each.kill()
    return folder


@pytest.mark.parametrize("job", JOBS)
def test_bytes_are_those_of_one_process(alone: Path, together: Path, job: str) -> None:
    name = f"{job}.fasta"
    assert (together / name).read_bytes() == (alone / name).read_bytes()
    assert partials_of(together / name) == []
    one, two = (
        json.loads((folder / f"{job}.generate.json").read_text()) for folder in (alone, together)
    )
    own = {"seconds", "peak_memory"}
    assert {k: v for k, v in two.items() if k not in own} == {
        k: v for k, v in one.items() if k not in own
    }
    if job == "unique":
        assert one["redraws"] > 3 and not one["failed"]


def test_one_process_goes_on_where_two_were_stopped(
    model: Path, alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "plain.fasta"
    leave_partials(alone, out, slice(0, 3, 2), slice(1, 4, 2))
    assert len(partials_of(out)) == 2
    with pytest.raises(UserError, match=r"partial exists: .*--resume"):
        design(model, out, num=30)
    design(model, out, num=30, resume=True)
    assert out.read_bytes() == (alone / "plain.fasta").read_bytes()
    assert partials_of(out) == []
