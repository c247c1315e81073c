"""The figure of perplexity over entropy and over time."""

from pathlib import Path

import pytest

from didi_core.evaluation.tradeoff_plot import MeasuredPoint, plot_tradeoffs

pytest.importorskip("matplotlib")


def point(label: str, perplexity: float, seconds: float) -> MeasuredPoint:
    def around(mean: float) -> dict[str, float]:
        return {"mean": mean, "low": mean * 0.9, "high": mean * 1.1}

    return MeasuredPoint(label, around(perplexity), around(5.2), around(seconds))


def test_names_steps_and_references_are_drawn(tmp_path: Path) -> None:
    curves = {
        "teacher": [point("8", 300.0, 0.1), point("limit", 40.0, 9.0)],
        "baseline": [point("AR", 36.0, 2.0)],
    }
    wide, narrow = tmp_path / "wide.svg", tmp_path / "narrow.svg"
    plot_tradeoffs(curves, wide, {"MDLM, 8": (5.9, 830.0)}, judge="gpt2-large")
    # An SVG of matplotlib holds every text in a comment.
    for text in ("teacher", "baseline", "limit", "AR", "MDLM, 8", "perplexity under gpt2-large"):
        assert f"<!-- {text} -->" in wide.read_text()
    # A logarithmic axis labels 1, 2 and 5 of every decade.
    for tick in ("50", "100", "200", "500"):
        assert f"<!-- {tick} -->" in wide.read_text()
    plot_tradeoffs({"one": [point("8", 31.0, 1.0), point("16", 30.0, 1.1)]}, narrow)
    assert "<!-- 31 -->" in narrow.read_text() or "<!-- 31.0 -->" in narrow.read_text()


def test_nothing_to_draw_is_an_empty_figure(tmp_path: Path) -> None:
    plot_tradeoffs({}, tmp_path / "none.svg")
    assert (tmp_path / "none.svg").stat().st_size > 0
