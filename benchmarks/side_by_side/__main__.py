"""MDLM, Duo and the methods that distil them, side by side on small corpora.

    python -m benchmarks.side_by_side run protein --seeds 0,1,2
    python -m benchmarks.side_by_side run text --list

Run from the repository's root. Every job writes benchmarks/results/side_by_side/CORPUS/NAME.json
and is skipped when that exists; weights and sets go to runs/side_by_side. A model that a job needs
and that is not there, as on another machine, is trained again first. See docs/side-by-side.md.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.side_by_side.plan import CELLS, STEPS, jobs_of
from didi_core.cli.run import run_program
from didi_core.errors import UserError

app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)


@app.command()
def run(
    corpus: Annotated[str, typer.Argument(help="protein or text.")],
    seeds: Annotated[str, typer.Option(help="Of teachers, students and samples.")] = "0,1,2",
    data: Annotated[Path, typer.Option(help="Folder of the corpora.")] = Path("../shared/data"),
    steps: Annotated[str, typer.Option(help="Of the sweeps.")] = "8,16,32",
    cells: Annotated[
        str, typer.Option(help=f"What is sampled, and trained for it: {', '.join(CELLS)}.")
    ] = "",
    only_list: Annotated[bool, typer.Option("--list", help="Name what is to be done.")] = False,
) -> None:
    """Do what is missing, one job after the other."""
    from benchmarks.side_by_side.jobs import run_job

    if wrong := set(steps.split(",")) - set(map(str, STEPS)):
        raise UserError(f"--steps {steps}: {', '.join(sorted(wrong))} is not one of {STEPS}.")
    if wrong := set(filter(None, cells.split(","))) - set(CELLS):
        raise UserError(
            f"--cells {cells}: {', '.join(sorted(wrong))} is none of {', '.join(CELLS)}."
        )
    asked = {0, *map(int, steps.split(","))}
    named = cells.split(",") if cells else list(CELLS)
    for job in (each for seed in seeds.split(",") for each in jobs_of(corpus, int(seed), named)):
        if job.result.exists() or job.steps not in asked:
            continue
        print(job.key, file=sys.stderr)
        if not only_list:
            run_job(job, data)


@app.command()
def figures() -> None:
    """Write the table and draw the figure from the results that are there."""
    from benchmarks.side_by_side.figures import write_figures

    write_figures()


if __name__ == "__main__":
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
