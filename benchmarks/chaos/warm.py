"""Start commands without waiting for their imports: a process that has them forks one when asked.

Starting Python and importing torch takes seconds, the jobs that are killed take one: so most of
the time would go into imports. Each command is a process of its own all the same, with its own
arguments and folder, and dies alone.

As a program this is the process that forks: a line of JSON on standard input starts a command, and
its number and later its exit status come back as lines.
"""

import json
import os
import select
import signal
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
_IMPORTS = (
    *(
        "didi_protein.app",
        "didi_protein.pretrain",
        "didi_protein.distill",
        "didi_core.cli.hydra_app",
    ),
    *(
        "didi_protein.generating.designs",
        "didi_protein.scoring.run",
        "lightning.fabric",
        "didi_text.app",
    ),
    *("didi_text.evaluating.run", "transformers.models.llama.modeling_llama"),
)


class Command:
    """A command that runs."""

    def __init__(self, server: "WarmStart", request: dict[str, Any]) -> None:
        self._server = server
        self._error = Path(request["stderr"])
        self.pid = int(server.ask(json.dumps(request)))
        self.status: int | None = None

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        if self.status is None and select.select([self._server.stdout], [], [], 0)[0]:
            self.status = int(self._server.stdout.readline())
        return self.status

    def wait(self) -> int:
        if self.status is None:
            self.status = int(self._server.stdout.readline())
        return self.status

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def error(self) -> str:
        """What it has written to standard error."""
        return self._error.read_text(encoding="utf-8", errors="replace")


class WarmStart:
    """Starts commands, one at a time; use it as a context."""

    def __enter__(self) -> "WarmStart":
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
            bufsize=1,
        )
        self.stdout: Any = self._process.stdout
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()

    def ask(self, line: str) -> str:
        stdin: Any = self._process.stdin
        stdin.write(line + "\n")
        stdin.flush()
        return self.stdout.readline()

    def start(
        self, module: str, arguments: list[str], folder: Path, *, deadly_change: int = 0
    ) -> Command:
        """Run the `main` of a module in `folder`.

        Args:
            deadly_change: kill it before it changes a file for this time; 0 for never. See
                `benchmarks.chaos.changes`.
        """
        request = {
            "module": module,
            "arguments": arguments,
            "folder": str(folder),
            "deadly": deadly_change,
            "changes": str(folder.with_name(f"{folder.name}.changes")),
            "stderr": str(folder.with_name(f"{folder.name}.stderr")),
        }
        return Command(self, request)


def _serve() -> None:
    for name in _IMPORTS:
        import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(request)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(request: dict[str, Any]) -> None:
    """Be the command; never comes back."""
    from benchmarks.chaos.changes import Changes

    status = 1
    os.chdir(request["folder"])
    nothing = os.open(os.devnull, os.O_RDWR)
    error = os.open(request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor, stream in ((nothing, 0), (nothing, 1), (error, 2)):
        os.dup2(descriptor, stream)
    program = request["module"].partition(".")[0].replace("_", "-")
    sys.argv = [program, *request["arguments"]]
    changes = Changes(request["deadly"])
    sys.addaudithook(changes)
    try:
        import_module(request["module"]).main()
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    Path(request["changes"]).write_text(str(changes.count))
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
