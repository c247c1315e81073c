"""`devices=N` without torchrun: the same command again, in N processes that torchrun starts."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from didi_core.errors import Terminated, UserError
from didi_core.training.devices import started_by_torchrun, started_processes

PATIENCE = 90.0
"""Seconds that torchrun has to end: it kills processes that do not stop within 30."""


def needs_processes(devices: int) -> bool:
    """Whether a run over `devices` devices still has to start its processes."""
    return devices > 1 and not started_by_torchrun() and started_processes() == 1


def run_in_processes(program: str, overrides: Sequence[str], devices: int) -> None:
    """Run `program` (its name and verb) with `overrides` under torchrun, in `devices` processes.

    Ctrl-C, SIGTERM and SIGHUP are passed on, and end this process when all others have ended.

    Raises:
        UserError: a process failed; what it said stands above.
    """
    name, verb = program.split()
    main = f"from {name.replace('-', '_')}.app import main; main()"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    each = ["--nproc-per-node", str(devices), "--no-python", "--"]
    own = [sys.executable, "-c", main, verb]
    status = _run_to_end([*launcher, *each, *own, *overrides])
    if status < 0:
        raise Terminated
    if status:
        raise UserError(f"devices={devices}: a process failed; its message stands above.")


def _run_to_end(command: Sequence[str]) -> int:
    """Exit status of torchrun, which never outlives this call: its processes would train on."""
    with _ended_by(signal.SIGTERM, signal.SIGHUP):
        # In this session Ctrl-C would reach torchrun twice, and a second signal stops a training
        # at once, without a checkpoint.
        torchrun = subprocess.Popen(command, start_new_session=True)
        try:
            return torchrun.wait()
        except BaseException as stopped:
            _stop(torchrun, stopped)
            raise


def _stop(torchrun: subprocess.Popen[bytes], stopped: BaseException) -> None:
    """Pass on what stopped this process, and wait; asked again, torchrun is told again."""
    interrupted = isinstance(stopped, KeyboardInterrupt)
    try:
        torchrun.send_signal(signal.SIGINT if interrupted else signal.SIGTERM)
        torchrun.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        torchrun.kill()
        torchrun.wait()
    except (KeyboardInterrupt, Terminated) as again:
        _stop(torchrun, again)


@contextmanager
def _ended_by(*signals: signal.Signals) -> Iterator[None]:
    """Raise Terminated at signals that would end Python without a word to torchrun.

    Those that are ignored (nohup) or handled already stay so.
    """

    def terminate(signum: int, frame: object) -> None:  # noqa: ARG001
        raise Terminated

    plain = [each for each in signals if signal.getsignal(each) == signal.SIG_DFL]
    for each in plain:
        signal.signal(each, terminate)
    try:
        yield
    finally:
        for each in plain:
            signal.signal(each, signal.SIG_DFL)
