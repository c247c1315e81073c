"""The commands that a page of documentation says are run, a place to run them in, and its files.

An HTML comment before a block says that it is run: `<!-- test: run -->`, or
`<!-- test: run, with a=1 b=2 at the end of the command -->`, in place of its own a=... and b=...,
where the command as written would take minutes. The blocks of a page share one folder, in their
order, because later ones read what earlier ones wrote.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(
    r"<!-- test: run(?:, with (?P<extra>\S+=\S+(?: \S+=\S+)*) at the end of the command)?"
    r"[^>]*? -->\n```bash\n(?P<command>[^`]+)```"
)


_FILE = re.compile(r"^File `([^`]+)`:\n\n```\w+\n(.*?)```", re.DOTALL | re.MULTILINE)


def files_of(name: str) -> dict[str, str]:
    """The files that a page of docs/ has its reader write, by path: `File ...:`, and a block."""
    files = dict(_FILE.findall((ROOT / "docs" / name).read_text(encoding="utf-8")))
    assert files, f"docs/{name} names no file"
    return files


def commands_of(page: str) -> list[str]:
    """The runnable commands, with what their comment adds."""
    found = _BLOCK.finditer(page)
    return [_with(match["command"].strip(), (match["extra"] or "").split()) for match in found]


def _with(command: str, settings: list[str]) -> str:
    for key in (setting.partition("=")[0] for setting in settings):
        command = re.sub(rf" {key}=\S+", "", command)
    return " ".join([command, *settings])


def run_commands(commands: list[str], folder: Path) -> None:
    """Run them without network; the first that fails is shown with what it printed."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": programs, "HF_HUB_OFFLINE": "1"}
    for command in commands:
        done = subprocess.run(
            ["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def run_python(folder: Path, *arguments: str) -> str:
    """Run Python in a folder, with the packages that lie there; return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
