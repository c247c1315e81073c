"""What both programs share: exit statuses, signals, and options that every verb has.

Exit status: 0 all done; 1 some records failed; 2 bad input or usage; 130 and 143 interrupted.
"""

import atexit
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from didi_core.errors import RecordsFailed, Terminated, UserError
from didi_core.io.files import unwritable

# Typer carries its own copy of click from 0.26 on: take the base class from what it exports.
_ClickError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)


_UNBOUNDED_WIDTH = 10_000


_SAME_COMMAND = "the same command"


_CONTINUES = {
    **dict.fromkeys(("generate", "score", "scan", "compare", "evaluate", "benchmark"), "--resume"),
    **dict.fromkeys(("pretrain", "distill"), "resume=true"),
    **dict.fromkeys(("quickstart", "download"), _SAME_COMMAND),
}
"""How a verb goes on where it stopped; the others start anew."""


def _raise_terminated(signum: int, frame: object) -> None:  # noqa: ARG001
    raise Terminated


def run_program(program: Callable[[], object], *, goes_on: bool = False) -> int:
    """Run `program` and translate how it ended into an exit status (DESIGN: exit statuses).

    Args:
        goes_on: the same command goes on where it stopped, whatever its verb is called.
    """
    signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        # Outside its standalone mode typer turns an exit, and Ctrl-C as 130, into a result.
        status = program()
    except UserError as error:
        return _complain(f"Error: {error}", 2)
    except RecordsFailed as error:
        return _complain(str(error), 1)
    except _ClickError as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _complain(_stopped("Interrupted", goes_on), 130)
    except Terminated:
        return _complain(_stopped("Terminated", goes_on), 143)
    except BrokenPipeError:
        return 0  # who read our output has enough of it, as head does
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            return 0  # the same, by way of click or rich
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except Exception as error:
        if (message := _explained(error, goes_on)) is None:
            raise
        return _complain(f"Error: {message}", 2)
    if status == 130:
        return _complain(_stopped("Interrupted", goes_on), 130)
    return status if isinstance(status, int) else 0


def _verb() -> str:
    return next(iter(sys.argv[1:]), "")


def _stopped(how: str, goes_on: bool) -> str:
    fix = _SAME_COMMAND if goes_on else _CONTINUES.get(_verb())
    if fix is None:
        return f"{how}; the same command starts anew."
    return f"{how}; what was finished is saved (continue with {fix})."


def _explained(error: Exception, goes_on: bool) -> str | None:
    """Say what to tell of a machine without room; None of an error of our own."""
    if getattr(error, "errno", None) in _TOO_MANY_FILES or "Too many open files" in str(error):
        return "too many files are open at once: allow more, as with ulimit -n 4096."
    where = getattr(error, "filename", None) or "An output"
    if (failure := unwritable(where, error)) is not None:
        return str(failure)
    # Imported here, where torch is loaded already if it was what failed: help is fast.
    from didi_core.peak_memory import is_out_of_memory

    if not is_out_of_memory(error):
        return None
    reason = (str(error) or type(error).__name__).splitlines()[0]
    if _verb() == "generate":  # the same designs come of the same batches alone
        return (
            f"out of memory ({reason}); start anew with --overwrite and a smaller --batch-tokens, "
            "or take a larger device."
        )
    smaller = {"--resume": "--batch-tokens", "resume=true": "tokens_per_pass="}
    flag = smaller.get(_CONTINUES.get(_verb(), ""))
    fix = f"Take smaller batches ({flag}) or a larger device." if flag else "Take a larger device."
    return f"{_stopped(f'out of memory ({reason})', goes_on)} {fix}"


def _complain(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def console() -> Console:
    """Open the console for tables people read: standard output.

    In a file or a pipe, which have no width, a table is as wide as what it holds, unless COLUMNS
    says otherwise.
    """
    output = Console(soft_wrap=False)
    if not output.is_terminal and "COLUMNS" not in os.environ:
        output.width = _UNBOUNDED_WIDTH
    return output


def print_table(table: Table) -> None:
    """Print it on standard output; where the terminal is too narrow for its words, wider than it.

    A name or a figure that is cut tells nothing, a line that the terminal breaks still does.
    """
    out = console()
    out.width = max(out.width, Measurement.get(out, out.options.update(width=9_999), table).minimum)
    out.print(table)


def check_output(
    path: Path, *, resume: bool | None = None, overwrite: bool, flag: str = "--out"
) -> None:
    """Refuse an output that exists, unless the user said what to do with it.

    Args:
        resume: None for a verb that cannot go on where it stopped.

    Raises:
        UserError: both switches are given, or `path` exists (a folder: and is not empty) and
            neither is.
    """
    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other: give one of them.")
    exists = any(path.iterdir()) if path.is_dir() else path.exists()
    if exists and not (resume or overwrite):
        if flag.endswith("="):  # of the verbs whose settings are key=value
            named, go_on, replace = f"{flag}{path}", "resume=true", "overwrite=true"
        else:
            named, go_on, replace = f"{flag} {path}", "--resume", "--overwrite"
        continued = "" if resume is None else f"{go_on} to continue it, "
        raise UserError(
            f"{named} exists: choose another name, {continued}or {replace} to replace it."
        )


def check_not_read(
    out: Path, read: Iterable[str | os.PathLike[str] | None], flag: str = "--out"
) -> None:
    """Refuse an output that would replace a file that is read, also where it may be replaced.

    Args:
        read: what was given to be read; what names no file is passed over.

    Raises:
        UserError: one of them is `out`.
    """
    for each in read:
        if each is None or not (os.path.isfile(out) and os.path.isfile(each)):
            continue
        if os.path.samefile(out, each):
            raise UserError(
                f"{flag} {out} would replace {each}, which is read: choose another name."
            )


# The end of one of several processes, which no late thread turns into a failure.
#
# gloo's threads let go of an operation's tensors a moment after the operation is over, and sharded
# networks keep those threads to the end. One that does so while Python tidies up aborts the
# process,
# and torchrun then reports a failure of work that is done.


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
