"""The figure of perplexity over entropy and over time."""

from pathlib import Path

import pytest

from didi_core.evaluation.frontier_plot import PlottedPoint
from didi_core.evaluation.tradeoff_plot import MeasuredPoint, Sweeps, plot_tradeoffs

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


def test_temperatures_of_a_curve_are_drawn_beside_it(tmp_path: Path) -> None:
    def set_of(label: str, entropy: float, perplexity: float) -> PlottedPoint:
        return PlottedPoint(label, {"mean": entropy}, {"mean": perplexity})

    curves = {"a": [point("8", 31.0, 1.0)], "b": [point("8", 30.0, 1.0)]}
    sweep = [set_of("T 0.8", 4.7, 3.0), set_of("", 5.2, 30.0)]
    plot_tradeoffs(curves, tmp_path / "sweep.svg", sweeps=Sweeps({"b": [sweep]}, 5.0))
    drawn = (tmp_path / "sweep.svg").read_text()
    assert "<!-- T 0.8 -->" in drawn
    dashed = [line for line in drawn.splitlines() if "stroke-dasharray" in line]
    assert any("#ff7f0e" in line for line in dashed)  # the colour of b, the second curve
    assert not any("#1f77b4" in line for line in dashed)
    assert "<!-- 5 -->" in drawn or "<!-- 10 -->" in drawn  # the axis covers the sweep's decade


def test_nothing_to_draw_is_an_empty_figure(tmp_path: Path) -> None:
    plot_tradeoffs({}, tmp_path / "none.svg")
    assert (tmp_path / "none.svg").stat().st_size > 0
