"""Run a program that is not ours, and leave nothing of it behind when we are interrupted."""

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from didi_core.errors import UserError
from didi_core.progress import ProgressLines

LITTLE_ROOM = 1 << 20
"""Bytes: with less free, a program that failed has run out of room."""


def run_program(command: Sequence[str], cwd: Path | None = None) -> tuple[int, str]:
    """Exit status, and what it said on both streams. It has a process group of its own.

    Of one that takes long a line now and then says for how long it has run: it does not say how far
    it is.

    Raises:
        UserError: it does not start.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(
            f"{command[0]} does not start ({error.strerror}): install it again, or check that it "
            "may be executed."
        ) from error
    waiting = ProgressLines(" ".join([Path(command[0]).name, *command[1:2]]), None)
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                output, _ = process.communicate(timeout=1.0)
                break
            waiting.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return process.returncode, output


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Make a folder for a program's files, in TMPDIR, and remove it at the end.

    Raises:
        UserError: there is no place for it, or no room in it.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:  # also: none of the usual places can be written
        raise _no_scratch(error) from error
    with folder as name:
        try:
            yield Path(name)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise _no_scratch(error) from error


def _no_scratch(error: OSError) -> UserError:
    return UserError(
        f"TMPDIR={os.environ.get('TMPDIR', '')}: temporary files cannot be written "
        f"({os.strerror(error.errno or errno.EIO)}): set TMPDIR to a folder with room that you may "
        "write to."
    )


def why_scratch_failed(folder: Path) -> str | None:
    """Return what about a scratch folder makes programs fail; None where nothing does."""
    if shutil.disk_usage(folder).free < LITTLE_ROOM:
        return f"{folder.parent} is full: set TMPDIR to a folder with room"
    if hasattr(os, "ST_NOEXEC") and os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return (
            f"{folder.parent} is mounted so that no program in it runs (noexec), and scripts are "
            "written there: set TMPDIR to another folder"
        )
    return None


def last_lines(output: str, count: int = 3) -> str:
    """Return the end of what a program said, on one line: the reason is there."""
    return " | ".join(output.strip().splitlines()[-count:])
