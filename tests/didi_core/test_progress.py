"""Progress where standard error is no terminal: lines with the time left, none of short phases."""

import random
import re
from itertools import pairwise
from types import SimpleNamespace

import pytest

from didi_core import progress
from didi_core.progress import ProgressLines, progress_bar


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands until it is set."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_long_phase_says_the_time_left_and_a_short_one_nothing(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("Judging", 100) as show:
        for done in range(1, 10):
            clock.now = done
            show(done)
        assert capsys.readouterr().err == ""
        clock.now = 20.0
        show(25)
    assert capsys.readouterr().err == "Judging: 25%, about 59 seconds left\n"  # 24 in 19 seconds


def test_lines_of_a_very_long_phase_are_few_and_never_far_apart(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    hours, spoken = 10, []
    with progress_bar("Sampling", 3600.0 * hours) as show:
        for second in range(1, 3600 * hours + 1):
            clock.now = float(second)
            show(second)
            if capsys.readouterr().err:
                spoken.append(second)
    assert spoken[0] == 10 and len(spoken) < 120
    assert max(b - a for a, b in pairwise(spoken)) <= 601


def test_without_a_total_the_time_so_far_is_said(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("encoding", None) as show:
        clock.now = 30.0
        show(1_000)
    assert capsys.readouterr().err == "encoding: 1,000 done, 30 seconds so far\n"


def test_what_was_done_before_is_no_part_of_the_pace(clock: SimpleNamespace) -> None:
    lines = ProgressLines("training", 100, already=50)
    clock.now = 10.0
    assert lines.time_left(60) == "about 40 seconds left"
    lines.follow(70)
    assert lines.time_left(60) == "about 10 seconds left"
    assert re.fullmatch(r"10 seconds so far", lines.time_left(50))


@pytest.mark.parametrize("setup", [0.0, 50.0, 1000.0])
@pytest.mark.parametrize("pieces", [20, 1000])
def test_estimates_settle_after_a_tenth_whatever_set_up_took(
    clock: SimpleNamespace, setup: float, pieces: int
) -> None:
    lines, whole = ProgressLines("scoring", pieces), []
    noise = random.Random(0)
    clock.now = setup
    for done in range(1, pieces + 1):
        clock.now += 100.0 / pieces * noise.uniform(0.5, 1.5)
        lines(done)
        if done > max(2, pieces / 10):
            left = lines.seconds_left(done)
            assert left is not None
            whole.append(clock.now + left)
    assert max(whole) < 2 * min(whole)
    assert whole[-1] == clock.now


def test_what_does_not_say_how_far_it_is_says_how_long_it_has_run(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ProgressLines("mmseqs easy-search", None)
    for second in range(1, 31):
        clock.now = float(second)
        lines.wait()
    said = [f"mmseqs easy-search: {seconds} seconds so far" for seconds in (10, 20, 30)]
    assert capsys.readouterr().err.splitlines() == said
