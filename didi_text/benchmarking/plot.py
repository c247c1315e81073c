"""The figure of a benchmark: perplexity over entropy, and over the seconds of a sample."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from didi_core.commands.comparing.cells import LIMIT_SAMPLER
from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import Interval
from didi_core.evaluation.frontier_plot import PlottedPoint
from didi_core.evaluation.tradeoff_plot import MeasuredPoint, Sweeps, plot_tradeoffs
from didi_core.sampling.folder_defaults import PLAIN_SAMPLER
from didi_text.benchmarking.study import Cell
from didi_text.benchmarking.table import Row


def plot_benchmark(record: Mapping[str, Any], cells: Sequence[Cell], path: Path) -> Path | None:
    """Draw a benchmark.

    Args:
        record: the contents of `benchmark.json`.
        cells: of its rows.

    Returns:
        `path`, or None where the extra `report` is not installed.
    """
    curves: dict[str, list[MeasuredPoint]] = {}
    for row in record["rows"]:
        if row["status"] == "ok":
            curves.setdefault(_curve_name(row), []).append(_point(row))
    references = {
        f"{row['model']}, {row['steps'] or 'AR'}": (row["entropy"], row["perplexity"])
        for row in record["published"]
        if row["comparable"] and row["entropy"] is not None
    }
    try:
        judge = record["judge"]["name"]
        plot_tradeoffs(curves, path, references, judge, sweeps=sweeps_of(record, cells))
    except UserError:
        return None
    return path


def sweeps_of(record: Mapping[str, Any], cells: Sequence[Cell]) -> Sweeps | None:
    """The curves over temperatures; None where there are none."""
    if record["frontiers"] is None:
        return None
    sweeps: dict[str, list[list[PlottedPoint]]] = {}
    for cell, row in zip(cells, record["rows"], strict=True):
        frontier = record["frontiers"]["frontiers"].get(cell.name, {"points": []})
        if len(frontier["points"]) > 1:
            points = [_heated_point(point) for point in frontier["points"]]
            sweeps.setdefault(_curve_name(row), []).append(points)
    return Sweeps(sweeps, record["frontiers"]["equal_diversity"])


def _curve_name(row: Row) -> str:
    """Name model and sampler; the limit ends the curve of its model's ancestral steps."""
    sampler = PLAIN_SAMPLER if row["sampler"] == LIMIT_SAMPLER else row["sampler"]
    return f"{row['model']}, {sampler}"


def _point(row: Row) -> MeasuredPoint:
    def interval(middle: str, name: str) -> dict[str, float]:
        return {"mean": row[middle], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}

    return MeasuredPoint(
        str(row["steps"] or "AR"),
        interval("perplexity", "perplexity"),
        interval("entropy", "entropy"),
        interval("latency_seconds", "latency"),
    )


def _heated_point(point: Mapping[str, Any]) -> PlottedPoint:
    """Of temperature 1 the point stands in the curve over steps, with its label."""
    temperature = point["temperature"]
    label = "" if temperature == 1 else f"T {temperature:g}"
    return PlottedPoint(label, point["diversity"], Interval(**point["nll"]).exp().as_dict())
