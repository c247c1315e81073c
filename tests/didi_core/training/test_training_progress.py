"""Training's time: estimated once, then the time left, of updates and looks at held-out data."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from didi_core import progress
from didi_core.training.progress import training_progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def told(
    clock: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
    steps: int,
    seconds: float,
    look_every: int = 0,
    look: float = 0.0,
    done: int = 0,
    first: float = 100.0,
) -> list[str]:
    """Lines of a run whose first update takes `first` seconds, the others `seconds` each."""
    with training_progress(
        done, steps, first=True, tokens_per_update=1_000, look_every=look_every
    ) as shown:
        for update in range(done + 1, steps + 1):
            clock.now += first if update == done + 1 else seconds
            if look_every and update % look_every == 0:
                clock.now += look
                shown.looked(look)
            shown.show(update, steps, {"loss": 1.0})
    return capsys.readouterr().err.splitlines()


def test_the_whole_run_is_estimated_after_a_few_updates(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(clock, capsys, steps=1_000, seconds=2.0)
    (estimate,) = (line for line in lines if "take about" in line)
    assert "1,000 updates of at most 1,000 tokens (1,000,000) take about 33 minutes" in estimate
    assert lines[0] == estimate, "before any other line"


def test_the_time_left_is_of_updates_and_looks(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(clock, capsys, steps=1_000, seconds=1.0, look_every=100, look=500.0)
    assert "looks at valid= come on top" in lines[0]
    half = next(line for line in lines if line.startswith("training: update 500 of 1,000"))
    assert half.endswith("about 50 minutes left"), "500 updates and 5 looks: 3,000 seconds"


def test_lines_are_never_far_apart_and_not_too_many(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(clock, capsys, steps=36_000, seconds=1.0)  # ten hours
    updates = [int(line.split()[2].replace(",", "")) for line in lines if "update " in line]
    gaps = [b - a for a, b in pairwise(updates)]
    assert max(gaps) <= 601 and len(updates) < 120


def test_a_short_run_is_not_estimated_and_a_resumed_one_says_what_is_left(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not any("take about" in line for line in told(clock, capsys, steps=5, seconds=0.1))
    lines = told(clock, capsys, steps=1_000, seconds=2.0, done=900)
    assert any("100 updates of at most" in line for line in lines)
