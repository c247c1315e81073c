"""Processor time of a job, over the runs it took."""

import time
from pathlib import Path

import pytest

from benchmarks.metering import metered


def work(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_job_that_was_stopped_has_cost_both_runs(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "job.seconds"
    with pytest.raises(KeyboardInterrupt), metered(log):
        work(0.2)
        raise KeyboardInterrupt
    with metered(log) as spent:
        work(0.1)
        time.sleep(0.2)  # of no processor
        assert spent() == pytest.approx(0.3, abs=0.05)
    assert sum(map(float, log.read_text().split())) == pytest.approx(0.3, abs=0.05)
