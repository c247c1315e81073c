"""The frame of a program: its version, its verbs of flags and its verbs of `key=value` settings."""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer

from didi_core import __version__
from didi_core.cli import run_program

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def new_program(name: str, help_text: str) -> typer.Typer:
    """A program without verbs, which knows `--version`."""
    app = typer.Typer(
        name=name,
        help=help_text,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    def show_version(show: bool) -> None:
        if show:
            print(f"{name} {__version__}")
            raise typer.Exit

    def program(
        version: bool = typer.Option(
            False, "--version", callback=show_version, is_eager=True, help="Show the version."
        ),
    ) -> None: ...

    app.callback()(program)
    return app


def add_settings_verb(
    app: typer.Typer,
    verb: str,
    help_text: str,
    settings: str,
    task: str,
    *,
    config_name: str | None = None,
    groups: Mapping[str, str] | None = None,
) -> None:
    """Add a verb that takes `key=value` settings, `--cfg job` and `--multirun`.

    Args:
        settings: `module:Class`, imported when the verb is called, because help must be fast.
        task: `module:function` that takes them, imported when it is run: `--cfg job` needs none.
        config_name: of the file in configs/; the verb's own name where None.
        groups: see `didi_core.hydra_app.run_hydra`.
    """

    def command(context: typer.Context) -> None:
        from didi_core.hydra_app import run_hydra

        run_hydra(
            config_name or verb,
            _imported(settings),
            lambda found: _imported(task)(found),
            context.args,
            f"{app.info.name} {verb}",
            groups=groups,
        )

    command.__doc__ = help_text
    app.command(verb, context_settings=_PASS_ON)(command)


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def run(app: typer.Typer) -> None:
    """Run the program and leave with its exit status."""
    sys.exit(run_program(lambda: app(standalone_mode=False)))
