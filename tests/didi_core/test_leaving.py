"""How a process ends: with its status and its output, whatever threads still do."""

import os
import subprocess
import sys
from contextlib import ExitStack

from test_two_processes import free_port

ALONE = """
import atexit
from didi_core.leaving import leave
atexit.register(print, "at exit")
print("done")
leave(3)
"""

# The second process asks for sums that the first one joins in little by little, so that threads
# of the second let go of tensors all the while it ends. Its group is kept, as by sharded networks.
TOGETHER = """
import atexit, sys, time, torch
from torch import distributed
from didi_core.leaving import leave

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
