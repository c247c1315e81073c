"""A process that dies, as if by `kill -9`, just before it changes a file for the n-th time.

Creating, renaming, removing, cutting and opening for writing count, in its folder alone: between
two of them a kill finds the same files at any moment, but for the end of the one being written.
"""

import os
import signal

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = ("os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir")


class Changes:
    """An audit hook (`sys.addaudithook`) that counts changes in the current folder.

    Args:
        deadly: number of the change that is not made any more; 0 for none.
    """

    def __init__(self, deadly: int) -> None:
        self.deadly = deadly
        self.count = 0
        self._here = os.getcwd() + os.sep

    def __call__(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            changes = bool(flags & _WRITING) if mode is None else not mode.startswith("r")
        else:
            path, changes = arguments[0] if arguments else None, event in _CHANGES
        if not changes or not isinstance(path, (str, bytes, os.PathLike)):
            return
        if os.path.abspath(os.fsdecode(path)).startswith(self._here):
            self.count += 1
            if self.count == self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
