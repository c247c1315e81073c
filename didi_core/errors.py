"""Errors that are the user's to mend, and how a command ends with them.

Raise `UserError` with one sentence that names the flag, the value and the mend. The command-line
wrapper (`didi_core.cli.run`) prints it without a traceback and exits with status 2.
"""

from collections.abc import Callable


class UserError(ValueError):
    """Bad input or usage. The message names the flag or file, the value, and how to mend it."""


def as_written(name: str, value: object) -> str:
    """How the user wrote it, for messages: of `--flag`, `--flag value`; of `key=`, `key=value`."""
    return f"{name}{value}" if name.endswith("=") else f"{name} {value}"


def refused_by(*checks: Callable[[], object]) -> list[str]:
    """Return what checks refuse, without the full stop: so that all of it can be said at once."""
    found = []
    for check in checks:
        try:
            check()
        except UserError as error:
            found.append(str(error).removesuffix("."))
    return found


class RecordsFailed(Exception):
    """Some records failed while others succeeded: the command exits with status 1."""

    def __init__(self, num_failed: int, num_records: int, listed_in: str, reason: str = "") -> None:
        """Say how many failed.

        Args:
            listed_in: the file that says of each why.
            reason: why the first did, with its id; "" where not known.
        """
        records = "record" if num_records == 1 else "records"
        they_are = "it is" if num_failed == 1 else "they are"
        why = f" ({'' if num_failed == 1 else 'the first: '}{reason})" if reason else ""
        super().__init__(
            f"{num_failed} of {num_records} {records} failed{why}; {they_are} listed in {listed_in}"
        )
        self.num_failed = num_failed


class Terminated(BaseException):
    """SIGTERM arrived. Not an `Exception`, so that only clean-up code sees it."""


def missing_extra(package: str, extra: str) -> UserError:
    """The error for a package that an optional extra would have installed."""
    return UserError(f"This needs the package {package}: pip install 'didi-protein[{extra}]'")
