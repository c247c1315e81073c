"""The end of one of several processes, which no late thread turns into a failure.

gloo's threads let go of an operation's tensors a moment after the operation is over, and sharded
networks keep those threads to the end. One that does so while Python tidies up aborts the process,
and torchrun then reports a failure of work that is done.
"""

import atexit
import os
import sys
from typing import NoReturn


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
