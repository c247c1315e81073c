"""The table of a comparison: one row a cell, paired with the teacher at equal steps."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from rich.box import SIMPLE_HEAD
from rich.table import Table

from didi_core.commands.comparing.cells import LIMIT_SAMPLER, Cell, ScoredCell
from didi_core.commands.comparing.options import CompareResult
from didi_core.evaluation.bootstrap import Interval, bootstrap_mean, warnings_of_few
from didi_core.io.files import atomic_path


def paired_difference(first: ScoredCell, second: ScoredCell, seed: int) -> Interval:
    """Judge NLL of the first set less that of the second, over pairs; nats a token.

    Sequences of one number have the same length, and by one sampler are revealed in the same order:
    the pair shares what makes single ones vary, so that its difference varies less. Each pair
    counts alike, whatever its length. Without a pair that was judged, all figures are NaN.
    """
    pairs = judged_pairs(first, second)
    return bootstrap_mean(pairs, seed) if len(pairs) else Interval(*[float("nan")] * 3)


def judged_pairs(first: ScoredCell, second: ScoredCell) -> Float[np.ndarray, "pair"]:
    """Judge NLL of the first less that of the second, where both were judged."""
    return (first.judge_nll - second.judge_nll).dropna().to_numpy()


def compare_cells(scored: Sequence[ScoredCell], teacher: str, seed: int) -> pd.DataFrame:
    """One row a cell; the last columns pair it with the teacher at the same steps and at its limit.

    The teacher at the same steps is its plain row, which its other samplers are paired with too.
    Columns that no cell fills are left out.
    """
    by_cell = {each.cell: each for each in scored}
    limit = by_cell.get(Cell.limit(teacher))
    plain_rows = {c.steps: e for c, e in by_cell.items() if c.model == teacher and c.is_plain}
    rows = []
    for each in scored:
        row = dict(each.row)
        plain = plain_rows.get(each.cell.steps)
        if each is not plain:
            row |= _pair(each, plain, "teacher", seed)
        if limit is not None and each is not limit:
            row |= _pair(each, limit, "limit", seed)
        rows.append(row)
    return table_of(rows)


def table_of(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Rows as a table; columns that no row fills are left out."""
    return pd.DataFrame(rows).astype({"steps": "Int64"}).dropna(axis="columns", how="all")


def warnings_of(table: pd.DataFrame) -> list[str]:
    """What must stand beside the intervals of a comparison."""
    counts = table["n"][table["n"] > 0]  # a row of which none was judged says so itself
    return warnings_of_few(int(counts.min()), "sequences a row") if len(counts) else []


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV, whole or not at all."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def _pair(each: ScoredCell, other: ScoredCell | None, name: str, seed: int) -> dict[str, float]:
    if other is None:
        return {}
    pair = paired_difference(each, other, seed)
    column = f"nll_minus_{name}"
    return {column: pair.mean, f"{column}_low": pair.low, f"{column}_high": pair.high}


# How a comparison is shown in the terminal.

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
