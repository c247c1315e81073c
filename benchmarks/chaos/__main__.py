"""`kill -9` at random moments, many times: does every verb go on to the same result?

    OMP_NUM_THREADS=1 python -m benchmarks.chaos --kills 20

Each job is run once undisturbed, then in runs that are killed up to three times each. Writes one
entry a run, with the moment of every kill and what it found, after each run; the exit status is 1
where a run ended in anything else than the unbroken one's files.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.chaos.jobs import JOBS, Job, write_inputs
from benchmarks.chaos.kills import Run, killed_run, unbroken_run
from benchmarks.chaos.warm import WarmStart
from didi_core.io.files import write_json
from didi_core.training.run_folder import git_revision, package_versions

KILLS_A_RUN = 3


def main() -> int:
    arguments = _parse()
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as place, WarmStart() as warm:
        write_inputs(Path(place))
        for name in arguments.jobs:
            for run in _runs(JOBS[name], Path(place), warm, arguments):
                runs.append(run)
                write_json(arguments.out, _record(runs, arguments))
                said = "the same" if run.passed else f"DIFFERS: {run.as_dict()}"
                print(f"{name}: {len(run.kills)} kills, {said}", file=sys.stderr, flush=True)
    return 0 if all(run.passed for run in runs) else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="of each job (default: 20)")
    parser.add_argument("--jobs", nargs="*", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/chaos.json"))
    return parser.parse_args()


def _runs(job: Job, place: Path, warm: WarmStart, arguments: argparse.Namespace) -> Iterator[Run]:
    """Runs of a job until it has been killed so many times."""
    name = job.name.replace(" ", "-")
    unbroken = unbroken_run(job, place / f"{name}-unbroken", warm)
    left = arguments.kills
    for number in count():
        if left <= 0:
            return
        folder = place / f"{name}-{number}"
        seed = 1000 * arguments.seed + number
        run = killed_run(job, unbroken, folder, warm, min(KILLS_A_RUN, left), seed)
        left -= len(run.kills)
        yield run
        if run.errors or number > 3 * arguments.kills:
            return  # it fails by itself, or ends before any kill


def _record(runs: list[Run], arguments: argparse.Namespace) -> dict[str, Any]:
    names = dict.fromkeys(run.job for run in runs)
    of = {name: [run for run in runs if run.job == name] for name in names}
    return {
        "what": "benchmarks/chaos",
        "passed": all(run.passed for run in runs),
        "kills": {name: sum(len(run.kills) for run in of[name]) for name in names},
        "runs_that_differ": {name: sum(not run.passed for run in of[name]) for name in names},
        "seed": arguments.seed,
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.platform()}, {os.cpu_count()} cores, one thread a process",
        "versions": package_versions(),
        "git_revision": git_revision(),
        "runs": [run.as_dict() for run in runs],
    }


if __name__ == "__main__":
    sys.exit(main())
