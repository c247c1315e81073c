"""Frontiers as plain values, for one JSON: each point, and each curve at equal diversity."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from didi_core.evaluation.bootstrap import Interval
from didi_core.evaluation.frontier import (
    Frontier,
    FrontierPoint,
    difference_at,
    interval_of,
    nll_at,
)
from didi_core.files import write_json


def frontier_record(
    frontiers: Sequence[Frontier], diversity: float, baseline: str | None = None, seed: int = 0
) -> dict[str, Any]:
    """Everything as plain values: each point, and each curve at equal diversity.

    Args:
        diversity: where the curves are compared, as a rule that of the data.
        baseline: name of the frontier that the others are subtracted from.
    """
    by_name = {frontier.name: frontier for frontier in frontiers}
    return {
        "equal_diversity": diversity,
        "baseline": baseline,
        "frontiers": {
            name: {
                "settings": dict(frontier.settings),
                "n": frontier.num_records,
                "points": [point_record(point, seed) for point in frontier.points],
                "nll_at_equal_diversity": _plain(nll_at(frontier, diversity, seed)),
                "minus_baseline": None
                if baseline is None
                else _plain(difference_at(frontier, by_name[baseline], diversity, seed)),
            }
            for name, frontier in by_name.items()
        },
    }


def interval_columns(column: str, interval: Mapping[str, float] | None) -> dict[str, float | None]:
    """An interval of a record as three columns of a table; empty where there is none."""
    found = interval or {}
    ends = {f"{column}_{end}": found.get(end) for end in ("low", "high")}
    return {column: found.get("mean"), **ends}


def write_frontiers(path: Path, record: Mapping[str, Any]) -> None:
    """One JSON of `frontier_record`."""
    write_json(path, record)


def point_record(point: FrontierPoint, seed: int) -> dict[str, Any]:
    return {
        "temperature": point.temperature,
        "nll": interval_of(point.nll, seed).as_dict(),
        "diversity": interval_of(point.diversity, seed).as_dict(),
    }


def _plain(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval.as_dict()
