"""What a verb costs before it works: processor seconds of whole processes, beside bare imports.

    python -m benchmarks.start_up --repeats 5 --out benchmarks/results/start_up.json

Each job is the smallest that its verb can do (one design, one row), so that what is measured is all
but its start; the ratio is to a process that imports torch and transformers and ends. Processes are
started in turn, job after job, and processor time is counted, not the clock: other work on the
machine matters little. The median and the range over `--repeats` stand in the JSON.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from didi_core.cli.run import run_program
from didi_core.io.files import write_json
from didi_core.training.run_folder import git_revision, package_versions

BARE = "import torch, transformers"
CLASSES = "import torch; from transformers import LlamaForCausalLM"
"""A class of transformers's models, as a judge is one: most of its package is imported with it."""
PROGRAM = "from didi_protein.app import main; main()"
DESIGN = "tiny-student --num 1 --length 75 --steps 1"
TABLE = "id,status,sequence,judge_nll\na,ok,GLGFSIVGG,2.5\n"


@dataclass(frozen=True)
class Cost:
    """Processor seconds of a process, user and system."""

    median: float
    least: float
    most: float
    ratio: float
    """Of medians, to that of the bare imports."""


def jobs_in(folder: Path) -> dict[str, list[str]]:
    """Return the arguments of each job; the first is the bare import."""
    designs, table = folder / "given.fasta", folder / "given.csv"
    designs.write_text(">a\n" + "GLGFSIVGGKDGDVPGIFVSRILPGGPADRAGL\n")
    table.write_text(TABLE)
    verbs = {
        "generate": f"generate --model {DESIGN} --out {folder}/new.fasta",
        "score without models": f"score {designs} --judge none --pseudo none --training none "
        f"--out {folder}/cheap.csv",
        "score with tiny-judge": f"score {designs} --judge tiny-judge --pseudo none "
        f"--training none --out {folder}/judged.csv",
        "filter": f"filter {table} --out {folder}/best.fasta",
        "help": "generate --help",
    }
    again = {
        name: f"{text} --overwrite" if "--out" in text else text for name, text in verbs.items()
    }
    imports = {each: ["-c", each] for each in (BARE, CLASSES)}
    return imports | {name: ["-c", PROGRAM, *text.split()] for name, text in again.items()}


def processor_seconds(arguments: list[str]) -> float:
    """Run Python once, and return what it took; one thread, and no network."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def costs_of(seconds: dict[str, list[float]]) -> dict[str, Cost]:
    """Return the cost of each job of what its runs took."""
    bare = median(seconds[BARE])
    return {
        name: Cost(median(each), min(each), max(each), median(each) / bare)
        for name, each in seconds.items()
    }


def main(
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    repeats: Annotated[int, typer.Option(help="Runs of each job.", min=1)] = 5,
) -> None:
    """Measure every job."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = jobs_in(Path(folder))
        runs = [
            {name: processor_seconds(each) for name, each in jobs.items()} for _ in range(repeats)
        ]
    costs = costs_of({name: [run[name] for run in runs] for name in jobs})
    record = {name: asdict(cost) for name, cost in costs.items()}
    write_json(
        out,
        {
            "repeats": repeats,
            "processor_seconds": record,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": package_versions(),
            "revision": git_revision(),
        },
    )
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(run_program(lambda: app(standalone_mode=False)))
