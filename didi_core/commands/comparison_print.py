"""How a comparison is shown in the terminal."""

import json
import textwrap
from collections.abc import Mapping

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from didi_core.commands.compare_options import CompareResult
from didi_core.commands.comparison_cells import LIMIT_SAMPLER
from didi_core.commands.comparison_table import warnings_of

Columns = Mapping[str, tuple[str, str]]
"""Heading, column and format; a heading without figures is left out."""

_LESS_LIMIT, _LESS_TEACHER = "nll_minus_limit", "nll_minus_teacher"

_COMPARED_AT = {
    "difference_at_equal_diversity": "equal_diversity",
    "difference_at_equal_ngram_entropy": "equal_ngram_entropy",
}
"""Columns of differences, and those that say where they were taken."""


def as_json(result: CompareResult) -> str:
    """Table and places as one JSON object."""
    record = {
        "out": str(result.out),
        "comparison": str(result.comparison),
        "report": result.report and str(result.report),
        "frontier": result.frontier and str(result.frontier),
        "notes": list(result.notes),
        "left_out": list(result.left_out),
        "warnings": warnings_of(result.table),
        "table": json.loads(result.table.to_json(orient="records")),
    }
    return json.dumps(record, indent=2)


def print_places(result: CompareResult) -> None:
    """What to mind, what was left out, and where things are."""
    for line in (*result.notes, *warnings_of(result.table)):
        print(textwrap.fill(line, 95))
    for reason in result.left_out:
        print(f"Left out: {reason}.")
    print(f"\nTable   {result.comparison}\nReport  {result.report or 'needs the extra report'}")
    if result.frontier is not None:
        print(f"Curves  {result.frontier}")


def printed_table(frame: pd.DataFrame, columns: Columns) -> Table:
    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    table.add_column("Model", no_wrap=True)
    table.add_column("Sampler", no_wrap=True)
    table.add_column("Steps", justify="right")
    columns = {"Exponent": ("reveal_exponent", "{:g}"), **columns}
    hidden = {_LESS_TEACHER} if _LESS_LIMIT in frame else set()  # one difference is enough
    shown = {name: each for name, each in columns.items() if each[0] in {*frame} - hidden}
    for heading in shown:
        table.add_column(heading, justify="right", overflow="fold")
    for row in frame.to_dict("records"):
        figures = [_figure(row, column, form) for column, form in shown.values()]
        sampler = "" if pd.isna(row["sampler"]) else row["sampler"]
        table.add_row(row["model"], sampler, steps_in_words(row), *figures)
    return table


def steps_in_words(row: Mapping[str, object]) -> str:
    """Number of steps, `limit`, or nothing for sequences that no model made."""
    if pd.isna(row["steps"]):
        return "limit" if row["sampler"] == LIMIT_SAMPLER else ""
    return str(row["steps"])


def _figure(row: Mapping[str, float], column: str, form: str) -> str:
    """A number; nothing where none is known, or that a curve does not pass where rows compare."""
    if pd.isna(row[column]):
        at = _COMPARED_AT.get(column)
        return "" if at is None or pd.isna(row.get(at, None)) else "not reached"
    return form.format(row[column]) + _interval(row, column)


def _interval(row: Mapping[str, float], column: str) -> str:
    """Ends of the interval of a difference; other columns have theirs in the table's file."""
    if column not in (_LESS_LIMIT, _LESS_TEACHER, *_COMPARED_AT):
        return ""
    return f" ({row[f'{column}_low']:+.3f}, {row[f'{column}_high']:+.3f})"
