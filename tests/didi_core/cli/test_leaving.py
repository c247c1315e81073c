"""How a process ends: with its status and its output, whatever threads still do."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from file_server import free_port

from didi_core.cli.run import run_program

ALONE = """
import atexit
from didi_core.cli.run import leave
atexit.register(print, "at exit")
print("done")
leave(3)
"""

# The second process asks for sums that the first one joins in little by little, so that threads
# of the second let go of tensors all the while it ends. Its group is kept, as by sharded networks.
TOGETHER = """
import atexit, sys, time, torch
from torch import distributed
from didi_core.cli.run import leave

distributed.init_process_group("gloo")
kept = distributed.group.WORLD
atexit.register(distributed.destroy_process_group)
distributed.barrier()
first = distributed.get_rank() == 0
try:
    for _ in range(300):
        distributed.all_reduce(torch.ones(4), async_op=not first)
        time.sleep(0.002 * first)
except RuntimeError:
    assert first  # the second one has ended, as it should
print("done", end="")
leave(3)
"""


def test_alone_a_status_and_what_was_printed() -> None:
    ended = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "done\nat exit\n", "")


def test_one_of_several_is_not_aborted_by_its_threads() -> None:
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    common["MASTER_PORT"] = str(free_port())
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", TOGETHER],
                    env={**common, "RANK": str(rank)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for rank in range(2)
        ]
        said = [process.communicate(timeout=120) for process in processes]
    assert processes[1].returncode == 3, said[1]
    assert said[1][0] == "done"


UNREAD = """
import sys
from didi_core.cli.run import leave, outlive_readers
outlive_readers()
for _ in range(20_000):
    print("a line that nobody reads")
    print("and one of progress", file=sys.stderr)
open(sys.argv[1], "w").write("whole")
leave(0)
"""


@pytest.mark.parametrize("both", [False, True])
def test_a_closed_pipe_is_no_error_and_the_work_goes_on(tmp_path: Path, both: bool) -> None:
    done = tmp_path / "done"
    command = [sys.executable, "-c", UNREAD, str(done)]
    error = subprocess.STDOUT if both else subprocess.PIPE
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=error, text=True) as process:
        assert process.stdout.readline()
        process.stdout.close()
        said = "" if both else process.stderr.read()
        assert process.wait(60) == 0
    assert done.read_text() == "whole"
    assert "Error" not in said and "Exception" not in said


@pytest.mark.parametrize("program", ["didi_protein", "didi_text"])
def test_a_program_s_output_may_be_cut_short(program: str) -> None:
    command = f"{sys.executable} -m {program} pretrain data=a out=b --cfg job | head -c 1"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True
    )
    assert (ended.returncode, len(ended.stdout), ended.stderr) == (0, 1, "")


@pytest.mark.parametrize("verb", ["info", "generate", "score", "merge", "distill", "report"])
def test_a_pipe_that_broke_within_a_verb_is_no_error(verb: str, monkeypatch, capsys) -> None:
    def broken() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    def broken_in_click() -> None:
        try:
            broken()
        except OSError:
            sys.exit(1)

    monkeypatch.setattr("sys.argv", ["p", verb])
    assert run_program(broken) == run_program(broken_in_click) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "error",
    [
        OSError(24, "Too many open files", "a.pdb"),
        RuntimeError("unable to open shared memory: Too many open files (24)"),
    ],
)
def test_too_few_open_files_name_the_limit(error: Exception, capsys) -> None:
    def fails() -> None:
        raise error

    assert run_program(fails) == 2
    assert "ulimit -n" in capsys.readouterr().err
