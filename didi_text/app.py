"""The program `didi-text`: one file a verb, as in `didi-protein`. So far it has `info` alone."""

import sys

import typer

from didi_core import __version__
from didi_core.cli import run_program
from didi_text.info import info_command

app = typer.Typer(
    name="didi-text",
    help="Distil slow masked-diffusion language models into fast ones. This version has no "
    "model of text yet: proteins are distilled with didi-protein.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(show: bool) -> None:
    if show:
        print(f"didi-text {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None: ...


app.command("info")(info_command)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run_program(lambda: app(standalone_mode=False)))
