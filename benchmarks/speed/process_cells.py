"""`generate` by two processes of one thread, against one process of one thread and of two.

Each contestant is the command line as a user gives it, in a process of its own; what is compared
are the seconds of sampling that it reports (`NAME.generate.json`: of the longest process), and
beside them the wall-clock of the whole command, in which opening Python and the model counts.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.speed.alternate import quartiles
from didi_core.training.run_folder import git_revision, package_versions

CONTESTANTS = {"one thread": (1, 1), "two threads": (1, 2), "two processes": (2, 1)}
"""Processes, and threads of each."""
ASKED = {"one thread": 1.7, "two threads": 1.2}
"""How many times faster two processes of one thread are to be."""
PROGRAM = "from didi_protein.app import main; main()"


def process_cell(num: int, length: str, steps: int, repeats: int) -> dict[str, Any]:
    """Time all contestants in alternation, after one round that warms up the disk's cache.

    Returns:
        Seconds by contestant and round, the ratios of medians of rounds, and whether the output
        of all was the same file.
    """
    request = ["--model", "tiny-student", "--num", str(num), "--length", length]
    request += ["--steps", str(steps), "--batch-tokens", "2048", "--device", "cpu"]
    load = os.getloadavg()[0]
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    for number in range(repeats + 1):
        names = list(CONTESTANTS)[:: 1 if number % 2 == 0 else -1]
        for name in names:
            print(f"round {number} of {repeats}: {name}", file=sys.stderr)
            timed = _run(request, *CONTESTANTS[name])
            if number:
                rounds[name].append(timed)
    return {
        "request": " ".join(request),
        "rounds": rounds,
        "ratios": ratios_of(rounds),
        "asked": ASKED,
        "same_output": len({each["output"] for part in rounds.values() for each in part}) == 1,
        "cores": os.cpu_count(),
        "load_average_before": load,
        "versions": package_versions(),
        "git_revision": git_revision(),
    }


def ratios_of(rounds: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """How many times faster two processes are than each other contestant, with quartiles."""
    found = {}
    for name in ASKED:
        pairs = list(zip(rounds[name], rounds["two processes"], strict=True))
        found[f"{name} / two processes"] = {
            kind: quartiles([one[kind] / two[kind] for one, two in pairs])
            for kind in ("sampling_seconds", "wall_seconds")
        }
    return found


def _run(request: list[str], processes: int, threads: int) -> dict[str, Any]:
    torchrun = ["-m", "torch.distributed.run", "--standalone"]
    # After `--`: torchrun would take our --num for the start of an option of its own.
    torchrun += ["--nproc-per-node", str(processes), "--no-python", "--", sys.executable]
    launcher = torchrun if processes > 1 else []
    with TemporaryDirectory() as folder:
        out = Path(folder) / "d.fasta"
        command = [sys.executable, *launcher, "-c", PROGRAM, "generate", *request]
        started = time.perf_counter()
        run = subprocess.run(
            [*command, "--out", str(out)],
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
        )
        wall = time.perf_counter() - started
        if run.returncode:
            raise RuntimeError(f"{' '.join(run.args)}: status {run.returncode}\n{run.stderr}")
        summary = json.loads(out.with_suffix(".generate.json").read_text())
        return {
            "sampling_seconds": summary["seconds"],
            "wall_seconds": wall,
            "output": hashlib.sha256(out.read_bytes()).hexdigest()[:16],
        }
