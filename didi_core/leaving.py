"""The end of one of several processes, which no late thread turns into a failure.

gloo's threads let go of an operation's tensors a moment after the operation is over, and sharded
networks keep those threads to the end. One that does so while Python tidies up aborts the process,
and torchrun then reports a failure of work that is done.
"""

import atexit
import io
import os
import sys
from typing import Any, NoReturn


class _Patient(io.FileIO):
    """A stream that drops what nobody reads any more, as after `| head`: the work goes on."""

    def write(self, content: Any) -> int:
        """See `io.RawIOBase.write`."""
        try:
            return super().write(content)
        except BrokenPipeError:
            return memoryview(content).nbytes


def outlive_readers() -> None:
    """Let a closed pipe at standard output or error be no error, until this process ends."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue  # replaced by who runs us, or None under a daemon
        stream.flush()
        raw = _Patient(stream.fileno(), "wb", closefd=False)
        patient = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering or name == "stderr",
        )
        setattr(sys, name, patient)


def leave(status: int) -> NoReturn:
    """End this process with exit status `status`; without Python's tidying up if it has peers.

    What is registered at exit is run, and what was printed is written, in either case.
    """
    if _has_peers():
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _has_peers() -> bool:
    # Looked up where it was loaded: help and plain errors need no torch.
    distributed = sys.modules.get("torch.distributed")
    return bool(distributed and distributed.is_available() and distributed.is_initialized())
