"""Frontiers as plain values, for one JSON: each point, and each curve at equal diversity."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from didi_core.evaluation.bootstrap import Interval
from didi_core.evaluation.frontier import (
    Frontier,
    FrontierPoint,
    Level,
    difference_at,
    interval_of,
    ngrams_at,
    nll_at,
    temperature_at,
    value_of,
)
from didi_core.evaluation.ratio import Ratio
from didi_core.io.files import write_json

COPIES = (
    "The training set itself would win every such comparison, being as varied as natural data and "
    "likely, and so would a model that copies it: read how much is copied beside it."
)
"""What must stand wherever curves are compared."""


def frontier_record(
    frontiers: Sequence[Frontier], level: Level, baseline: str | None = None, seed: int = 0
) -> dict[str, Any]:
    """Return everything as plain values: each point, and each curve at equal diversity.

    Args:
        level: where the curves are compared, as a rule that of natural data.
        baseline: name of the frontier that the others are subtracted from.
    """
    by_name = {frontier.name: frontier for frontier in frontiers}
    base = None if baseline is None else by_name[baseline]
    return {
        "equal_diversity": value_of(level.diversity),
        "equal_ngrams": None if level.ngrams is None else value_of(level.ngrams),
        "level": _level_record(level, seed),
        "baseline": baseline,
        "frontiers": {
            name: {
                "settings": dict(frontier.settings),
                "n": frontier.num_records,
                "points": [point_record(point, seed) for point in frontier.points],
                **_at(frontier, base, level.diversity, seed),
                "temperature_at_equal_diversity": temperature_at(frontier, level.diversity),
                "ngrams_at_equal_diversity": _plain(ngrams_at(frontier, level.diversity, seed)),
                "at_equal_ngrams": _at_equal_ngrams(frontier, base, level, seed),
            }
            for name, frontier in by_name.items()
        },
    }


def _level_record(level: Level, seed: int) -> dict[str, Any]:
    """Say of what the diversity compared at is, with its own interval where it is measured."""
    record: dict[str, Any] = {"source": level.source, "n": None}
    for name, each in (("diversity", level.diversity), ("ngrams", level.ngrams)):
        record[name] = interval_of(each, seed).as_dict() if isinstance(each, Ratio) else None
        record["n"] = len(each) if isinstance(each, Ratio) else record["n"]
    return record


def _at(
    frontier: Frontier, base: Frontier | None, diversity: Ratio | float, seed: int
) -> dict[str, Any]:
    less = None if base is None else difference_at(frontier, base, diversity, seed)
    return {
        "nll_at_equal_diversity": _plain(nll_at(frontier, diversity, seed)),
        "minus_baseline": _plain(less),
    }


def _at_equal_ngrams(
    frontier: Frontier, base: Frontier | None, level: Level, seed: int
) -> dict[str, Any] | None:
    """Return the curve at equal entropy of longer n-grams; None where curves have none."""
    curve, other = frontier.over_ngrams, base and base.over_ngrams
    if curve is None or level.ngrams is None:
        return None
    equal = _at(curve, other, level.ngrams, seed)
    return {"nll": equal["nll_at_equal_diversity"], "minus_baseline": equal["minus_baseline"]}


def interval_columns(column: str, interval: Mapping[str, float] | None) -> dict[str, float | None]:
    """Spread an interval of a record over three columns of a table; empty where there is none."""
    known = interval or {}
    ends = {f"{column}_{end}": known.get(end) for end in ("low", "high")}
    return {column: known.get("mean"), **ends}


def write_frontiers(path: Path, record: Mapping[str, Any]) -> None:
    """Write one JSON of `frontier_record`."""
    write_json(path, record)


def point_record(point: FrontierPoint, seed: int) -> dict[str, Any]:
    figures = {"nll": point.nll, "diversity": point.diversity, "ngrams": point.ngrams}
    return {
        "temperature": point.temperature,
        **{k: interval_of(v, seed).as_dict() for k, v in figures.items() if v is not None},
    }


def _plain(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval.as_dict()
