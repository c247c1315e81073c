"""`devices=N` without torchrun: the same command again, in N processes that torchrun starts."""

import subprocess
import sys
from collections.abc import Sequence

from didi_core.errors import Terminated, UserError
from didi_core.training.devices import started_by_torchrun, started_processes


def needs_processes(devices: int) -> bool:
    """Whether a run over `devices` devices still has to start its processes."""
    return devices > 1 and not started_by_torchrun() and started_processes() == 1


def run_in_processes(program: str, overrides: Sequence[str], devices: int) -> None:
    """Run `program` (its name and verb) with `overrides` under torchrun, in `devices` processes.

    Raises:
        UserError: a process failed; what it said stands above.
    """
    name, verb = program.split()
    main = f"from {name.replace('-', '_')}.app import main; main()"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    each = ["--nproc-per-node", str(devices), "--no-python", "--"]
    own = [sys.executable, "-c", main, verb]
    done = subprocess.run([*launcher, *each, *own, *overrides])
    if done.returncode < 0:
        raise Terminated
    if done.returncode:
        raise UserError(f"devices={devices}: a process failed; its message stands above.")
