"""What tests of the benchmark share."""

import pytest

from didi_text.benchmarking import run


@pytest.fixture
def no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes half of a small benchmark's time; other tests here do draw."""
    monkeypatch.setattr(run, "plot_benchmark", lambda *_: None)
