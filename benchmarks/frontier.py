"""Few-step quality against processes with known likelihood: the study, in jobs that can stop.

    python -m benchmarks.frontier run quick            # make frontier-quick
    python -m benchmarks.frontier run full --at-once 2 # make frontier
    python -m benchmarks.frontier run duality          # masked and uniform-state models
    python -m benchmarks.frontier run ablation         # make ablation
    python -m benchmarks.frontier run few              # few calls against many, at equal variety
    python -m benchmarks.frontier job pairs/dmmd/0/8   # a single job, without what it needs
    python -m benchmarks.frontier figures              # the table and the figures again

Run from the repository's root. Every job writes benchmarks/results/frontier/PROCESS/NAME.json and
is skipped when that exists; weights and logs go to runs/frontier. See docs/frontier.md.
"""

import sys
from typing import Annotated

import typer

from benchmarks.exact.ablation import ablation
from benchmarks.exact.figures import write_figures
from benchmarks.exact.jobs import run_job
from benchmarks.exact.runner import Runner, missing_jobs, start_job
from benchmarks.exact.study import duality, few, full, parse_key, quick
from didi_core.cli.run import run_program
from didi_core.errors import RecordsFailed, UserError

PLANS = {"quick": quick, "full": full, "duality": duality, "ablation": ablation, "few": few}
app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def run(
    plan: Annotated[str, typer.Argument(help=f"One of {', '.join(PLANS)}.")],
    at_once: Annotated[int, typer.Option(help="Jobs at once, one core each.")] = 2,
    limit: Annotated[float, typer.Option(help="Minutes that a job may take.")] = 20.0,
    only_list: Annotated[bool, typer.Option("--list", help="Name what is to be done.")] = False,
) -> None:
    """Do what is missing of a plan, then draw the figures."""
    if plan not in PLANS:
        raise UserError(f"plan {plan} is unknown: choose one of {', '.join(PLANS)}.")
    jobs = missing_jobs(PLANS[plan]())
    if only_list:
        print("\n".join(job.key for job in jobs))
        return
    failed = Runner(start_job, at_once, limit * 60).run(jobs)
    for key, reason in failed.items():
        print(f"{key}: {reason} (runs/frontier/logs)", file=sys.stderr)
    write_figures()
    if failed:
        raise RecordsFailed(len(failed), len(jobs), "the lines above")


@app.command()
def job(key: Annotated[str, typer.Argument(help="PROCESS/MODEL/SEED/TASK.")]) -> None:
    """Do one job, unless its result is there."""
    run_job(parse_key(key))


@app.command()
def figures() -> None:
    """Draw the figures and write the table from the results that are there."""
    write_figures()


if __name__ == "__main__":
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
