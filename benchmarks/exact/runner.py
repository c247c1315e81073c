"""Run a plan: jobs one process each, as many at once as asked, none twice, none without its needs.

A job whose JSON exists is skipped. Weights are not committed: where a job to be done needs weights
that are not on this machine, they are trained again. A job that fails or takes longer than the
limit is named at the end, with its log; what depends on it is left out, all else goes on.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.exact.jobs import is_trained
from benchmarks.exact.study import RUNS, Job, with_needs

LIMIT_SECONDS = 20 * 60
"""Of one job, on a machine with a core for each."""


def missing_jobs(jobs: Sequence[Job], trained: Callable[[Job], bool] = is_trained) -> list[Job]:
    """Jobs of the plan to be run, what is needed first."""
    needed: set[str] = set()
    ordered = with_needs(list(jobs))
    asked = {job.key for job in jobs}
    missing = []
    for job in reversed(ordered):  # what needs a job comes before it here
        wanted = job.key in needed
        done = job.result.exists() and (trained(job) or not (job.is_training and wanted))
        if done or not (wanted or job.key in asked):
            continue
        missing.append(job)
        needed |= {each.key for each in job.needs()}
    return missing[::-1]


@dataclass
class Runner:
    """Starts jobs as processes and waits for them."""

    start: Callable[[Job], subprocess.Popen]
    at_once: int
    limit_seconds: float = LIMIT_SECONDS
    pause: float = 0.5
    """Seconds between two looks at what is running."""
    running: dict[str, tuple[Job, subprocess.Popen, float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def run(self, jobs: Sequence[Job]) -> dict[str, str]:
        """Run all; returns why each job that was not done was not."""
        waiting, open_keys = list(jobs), {job.key for job in jobs}
        try:
            while waiting or self.running:
                open_keys -= self._finished()
                waiting = self._drop_hopeless(waiting)
                for job in self._ready(waiting, open_keys):
                    if len(self.running) < self.at_once:
                        waiting.remove(job)
                        self.running[job.key] = (job, self.start(job), time.monotonic())
                        print(f"{time.strftime('%H:%M:%S')} {job.key}", file=sys.stderr)
                time.sleep(self.pause)
        finally:
            for _, process, _ in self.running.values():
                process.terminate()
        return self.failed

    @staticmethod
    def _ready(waiting: list[Job], open_keys: set[str]) -> list[Job]:
        """Jobs whose needs are done; training first, because much waits for it."""
        ready = [j for j in waiting if not any(need.key in open_keys for need in j.needs())]
        return sorted(ready, key=lambda job: not job.is_training)

    def _finished(self) -> set[str]:
        """Keys of jobs that ended well; the others are noted as failed."""
        done = set()
        for key, (_, process, started) in list(self.running.items()):
            status = process.poll()
            late = status is None and time.monotonic() - started > self.limit_seconds
            if status is None and not late:
                continue
            if late:
                process.terminate()
                process.wait()
                self.failed[key] = f"longer than {self.limit_seconds:.0f} s; run again to continue"
            elif status:
                self.failed[key] = f"exit status {status}"
            else:
                done.add(key)
            del self.running[key]
        return done

    def _drop_hopeless(self, waiting: list[Job]) -> list[Job]:
        kept = []
        for job in waiting:
            without = [need.key for need in job.needs() if need.key in self.failed]
            if without:
                self.failed[job.key] = f"needs {without[0]}"
            else:
                kept.append(job)
        return kept


def start_job(job: Job, runs: Path = RUNS) -> subprocess.Popen:
    """The job as a process of one thread, its output in a log beside the weights."""
    log = runs / "logs" / (job.key.replace("/", ".") + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with open(log, "ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.frontier", "job", job.key],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
        )
