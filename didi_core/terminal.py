"""The terminal people watch: progress and notes go to standard error."""

from rich.console import Console


def error_console() -> Console:
    """Standard error. Progress bars ask `is_terminal` and vanish when it is none."""
    return Console(stderr=True)
