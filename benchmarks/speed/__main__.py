"""What the engine's speed rests on, as ratios of things timed in alternation in one process.

    python -m benchmarks.speed run --plan quick                 # 5 minutes on one core
    python -m benchmarks.speed run --plan full --device cuda    # the published sizes
    python -m benchmarks.speed figures                          # table and figure again
    python -m benchmarks.speed processes                        # generate under torchrun, on CPU

Run from the repository's root. Every cell writes OUT/cpu or OUT/cuda/KEY.json and is skipped when
that is there; a run that was stopped goes on. See docs/speed.md.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from didi_core.cli.run import run_program
from didi_core.errors import RecordsFailed, UserError

RESULTS = Path(__file__).parents[1] / "results" / "speed"
Out = Annotated[Path, typer.Option(help="Folder of the results.")]
app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def run(
    plan: Annotated[str, typer.Option(help="quick, full, cpu or heads.")] = "quick",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32 or bf16; auto: bf16 on a GPU, else float32.")
    ] = "auto",
    out: Out = RESULTS,
    only_list: Annotated[bool, typer.Option("--list", help="Name what is to be done.")] = False,
) -> None:
    """Measure what is missing of a plan, then write the table and draw the figure."""
    from benchmarks.speed.figures import write_figures
    from benchmarks.speed.plan import PLANS
    from benchmarks.speed.runner import describe, is_done, run_cells
    from didi_core.training.devices import check_precision, resolve_device

    if plan not in PLANS:
        raise UserError(f"--plan {plan} is unknown: choose one of {', '.join(PLANS)}.")
    where = resolve_device(device)
    if precision == "auto":
        precision = "bf16" if where.type == "cuda" else "float32"
    check_precision(precision)
    cells, folder = PLANS[plan](), out / where.type
    if only_list:
        for cell in cells:
            if not is_done(folder / f"{cell.key}.json", describe(cell, where, precision)):
                print(cell.key)
        return
    failed = run_cells(cells, where, precision, folder)
    write_figures(folder)
    if failed:
        raise RecordsFailed(len(failed), len(cells), str(folder))


@app.command()
def processes(
    num: Annotated[int, typer.Option(help="Designs to make in each run.")] = 128,
    length: Annotated[str, typer.Option(help="Their lengths.")] = "100-200",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 16,
    repeats: Annotated[int, typer.Option(help="Timed rounds, after one that warms up.")] = 3,
    out: Annotated[Path, typer.Option(help="JSON file.")] = RESULTS.parent / "processes.json",
) -> None:
    """Time two processes of one thread in generate against one process of one and two threads."""
    from benchmarks.speed.process_cells import process_cell
    from didi_core.io.files import write_json

    record = process_cell(num, length, steps, repeats)
    write_json(out, record)
    for name, ratio in record["ratios"].items():
        sampling = ratio["sampling_seconds"]
        print(f"{name}: {sampling['median']:.2f} ({sampling['low']:.2f} to {sampling['high']:.2f})")


@app.command()
def figures(out: Out = RESULTS) -> None:
    """Write the tables and draw the figures from the results that are there."""
    from benchmarks.speed.figures import write_figures

    for folder in sorted(path for path in out.glob("*") if path.is_dir()):
        write_figures(folder)


if __name__ == "__main__":
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
