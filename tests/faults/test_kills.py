"""`kill -9` at random moments: every verb goes on to the files of an unbroken run.

`make chaos` does the same twenty times each; see benchmarks/chaos.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chaos.jobs import JOBS, write_inputs
from benchmarks.chaos.kills import killed_run, unbroken_run
from benchmarks.chaos.warm import WarmStart

KILLS = 2
"""One by the clock, one between two changes of files."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmStart]:
    with WarmStart() as server:
        yield server


@pytest.mark.parametrize("name", JOBS)
def test_a_killed_command_goes_on_to_the_same_files(
    place: Path, warm: WarmStart, name: str
) -> None:
    job = JOBS[name]
    unbroken = unbroken_run(job, place / f"{name}-unbroken", warm)
    assert not job.differing(unbroken.folder, unbroken.folder)
    kills = []
    for seed in range(5):  # a run may be over before its second kill
        run = killed_run(job, unbroken, place / f"{name}-{seed}", warm, KILLS, seed)
        assert run.passed, run.as_dict()
        kills += run.kills
        if len(kills) >= KILLS:
            break
    assert len(kills) >= KILLS
