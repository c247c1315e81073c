"""Run a program that is not ours, and leave nothing of it behind when we are interrupted."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path


def run_program(command: Sequence[str], cwd: Path | None = None) -> tuple[int, str]:
    """Exit status, and what it said on both streams. It has a process group of its own."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return process.returncode, output


def last_lines(output: str, count: int = 3) -> str:
    """The end of what a program said, on one line: the reason is there."""
    return " | ".join(output.strip().splitlines()[-count:])
