"""The program `didi-protein`: each verb is one file; its public function is the Python API."""

import sys

import typer

from didi_core import __version__
from didi_core.cli import run_program
from didi_core.hydra_app import run_hydra
from didi_protein.compare import compare_command
from didi_protein.download import download_command
from didi_protein.filter import filter_command
from didi_protein.generate import generate_command
from didi_protein.info import info_command
from didi_protein.merge import merge_command
from didi_protein.quickstart import quickstart_command
from didi_protein.report import report_command
from didi_protein.score import score_command

app = typer.Typer(
    name="didi-protein",
    help="Distil a slow masked-diffusion protein language model into a fast designer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(show: bool) -> None:
    if show:
        print(f"didi-protein {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None: ...


app.command("quickstart")(quickstart_command)

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command("pretrain", context_settings=_PASS_ON)
def _pretrain(context: typer.Context) -> None:
    """Train a teacher from sequences: pretrain data=F.fasta out=DIR (key=value settings)."""
    from didi_protein.pretrain import pretrain
    from didi_protein.pretrain_settings import PretrainSettings

    run_hydra("pretrain", PretrainSettings, pretrain, context.args, "didi-protein pretrain")


@app.command("distill", context_settings=_PASS_ON)
def _distill(context: typer.Context) -> None:
    """Distil a teacher into a student: distill teacher=tiny out=DIR (key=value settings)."""
    from didi_protein.distill_settings import DistillSettings

    def task(settings: DistillSettings) -> None:
        from didi_protein.distill import distill  # slow: it imports torch, and --cfg needs none

        distill(settings)

    run_hydra("distill", DistillSettings, task, context.args, "didi-protein distill")


app.command("generate")(generate_command)
app.command("score")(score_command)
app.command("filter")(filter_command)
app.command("compare")(compare_command)
app.command("report")(report_command)
app.command("download")(download_command)
app.command("merge")(merge_command)
app.command("info")(info_command)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run_program(lambda: app(standalone_mode=False)))
