"""A frontier record on the terminal: every set, and every curve at equal diversity."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from didi_core.cli.run import console


def print_frontiers(record: Mapping[str, Any], diversity_name: str) -> None:
    """Two tables of a record of `didi_core.evaluation.frontier_record`."""
    sets = Table("model", "temperature", "judge NLL", diversity_name, title="every set")
    at = f"judge NLL at {record['equal_diversity']:.3f}"
    less = f"less {record['baseline']}"
    level = Table("model", at, less, f"{less}, equal n-grams", title=f"at equal {diversity_name}")
    for name, curve in record["frontiers"].items():
        for point in curve["points"]:
            figures = _told(point["nll"]), _told(point["diversity"])
            sets.add_row(name, f"{point['temperature']:g}", *figures)
        compared = curve["nll_at_equal_diversity"], curve["minus_baseline"]
        beside = curve["at_equal_ngrams"]
        ngrams = "" if beside is None else _told(beside["minus_baseline"])
        level.add_row(name, *map(_told, compared), ngrams)
    for table in (sets, level):
        console().print(table)


def _told(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return "not reached"
    return f"{interval['mean']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"
