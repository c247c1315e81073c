"""Everything that a GPU can tell, in a quarter of an hour: one command, one JSON.

    python -m benchmarks.gpu                     # 12 minutes on one H100 or H200
    python -m benchmarks.gpu --dry-run           # every part at toy size on a CPU: does it run?
    python -m benchmarks.gpu --parts tests,attention --out FILE.json

Run from the repository's root. The parts stand in the order of their worth, each with its limit of
time; a part, or a row of one, that fails is a row with its error, and the rest goes on. The file is
written after every part. See docs/speed.md.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from didi_core.cli.run import run_program
from didi_core.errors import RecordsFailed, UserError

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "gpu.json"
DRY_RESULT = ROOT / "runs" / "gpu" / "dry-run.json"
app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)


@app.command()
def run(
    parts: Annotated[str, typer.Option(help="Names, in any order; all when not given.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32 or bf16; auto: bf16 on a GPU, else float32.")
    ] = "auto",
    minutes: Annotated[float, typer.Option(help="In all; parts that find none left say so.")] = 12,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Toy sizes, on the CPU.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="JSON; benchmarks/results/gpu.json when not given.")
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Name the parts.")] = False,
) -> None:
    """Measure all parts that are asked for."""
    from benchmarks.gpu.parts import PARTS
    from benchmarks.gpu.runner import Bench, run_parts
    from didi_core.training.devices import check_precision, resolve_device

    names = [name for name in parts.split(",") if name] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        raise UserError(f"--parts {','.join(unknown)}: choose of {', '.join(PARTS)}.")
    chosen = [part for part in PARTS.values() if part.name in names]
    if only_list:
        for part in chosen:
            print(f"{part.name}: {part.seconds:.0f} s at most")
        return
    where = resolve_device("cpu" if dry_run else device)
    if precision == "auto":
        precision = "bf16" if where.type == "cuda" else "float32"
    bench = Bench(where, check_precision(precision), dry_run)
    out = out or (DRY_RESULT if dry_run else RESULT)
    out.parent.mkdir(parents=True, exist_ok=True)
    found = run_parts(chosen, bench, out, 60 * minutes)
    print(out)
    if failed := [name for name, record in found.items() if record.failed]:
        raise RecordsFailed(len(failed), len(found), str(out))


if __name__ == "__main__":
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
