"""The frame of a program: its version, its verbs of flags and its verbs of `key=value` settings."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from didi_core import __version__
from didi_core.cli.run import leave, outlive_readers, run_program
from didi_core.errors import UserError

_JSON = "--json"
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


class OnceEach(TyperCommand):
    """A verb that refuses an option of one value given twice, where click takes the last."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click; raises UserError for an option given twice."""
        if not ctx.ignore_unknown_options:
            # The parser eats the list it is given.
            given = self.make_parser(ctx).parse_args(args=list(args))[2]
            single = [each for each in given if not (each.multiple or each.nargs == -1)]
            valued = [each for each in single if not getattr(each, "is_flag", False)]
            twice = {each.opts[0] for each in valued if valued.count(each) > 1}
            if twice:
                raise UserError(f"{', '.join(sorted(twice))}: given twice; give it once.")
        return super().parse_args(ctx, args)


class Program(typer.Typer):
    """A program whose verbs refuse an option given twice."""

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """See typer."""
        return super().command(name, **{"cls": OnceEach, **settings})


def new_program(name: str, help_text: str) -> typer.Typer:
    """Make a program without verbs, which knows `--version`."""
    app = Program(
        name=name,
        help=help_text,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    def show_version(show: bool) -> bool:
        if show:
            print(f"{name} {__version__}")
            raise typer.Exit
        return show  # what Typer then gives to `program`

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

    With `--json` it prints the `run.json` of the finished run.

    Args:
        settings: `module:Class`, imported when the verb is called, because help must be fast.
        task: `module:function` that takes them, imported when it is run: `--cfg job` needs none.
        config_name: of the file in configs/; the verb's own name where None.
        groups: see `didi_core.cli.hydra_app.run_hydra`.
    """

    program = f"{app.info.name} {verb}"

    def run_job(job: Any) -> None:
        from didi_core.cli.hydra_app import overrides_of_job
        from didi_core.commands.training.launch import needs_processes, run_in_processes

        if needs_processes(job.devices) and not job.plan:
            run_in_processes(program, overrides_of_job(job), job.devices)
        else:
            _imported(task)(job)

    def command(context: typer.Context) -> None:
        from didi_core.cli.hydra_app import run_hydra

        name, given = config_name or verb, [each for each in context.args if each != _JSON]

        def run_and_print(job: Any) -> None:
            run_job(job)
            if _JSON in context.args and not job.plan and _is_first():
                print((Path(job.out) / "run.json").read_text(encoding="utf-8"), end="")

        if "--version" in given:
            print(f"{app.info.name} {__version__}")
        elif {"--help", "-h"} & set(given):
            from didi_core.cli.settings_help import settings_help

            typer.echo(settings_help(program, help_text, name, given, groups))
        else:
            run_hydra(name, _imported(settings), run_and_print, given, program, groups=groups)

    command.__doc__ = help_text
    app.command(verb, context_settings=_PASS_ON)(command)


def _is_first() -> bool:
    """Tell whether this is the only process, or the first of torchrun's or srun's."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def run(app: typer.Typer) -> None:
    """Run the program and leave with its exit status."""
    outlive_readers()
    leave(run_program(lambda: app(standalone_mode=False)))
