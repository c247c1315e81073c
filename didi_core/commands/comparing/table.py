"""The table of a comparison: one row a cell, paired with the teacher at equal steps."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from didi_core.commands.comparing.cells import LIMIT_SAMPLER, Cell, ScoredCell
from didi_core.commands.comparing.options import CompareResult
from didi_core.evaluation.bootstrap import Interval, bootstrap_mean, warnings_of_few
from didi_core.evaluation.frontier import paired_difference_of
from didi_core.evaluation.frontier_record import interval_columns
from didi_core.evaluation.ratio import Ratio
from didi_core.io.files import atomic_path
from didi_core.sampling.folder_defaults import PLAIN_SAMPLER


def paired_difference(first: ScoredCell, second: ScoredCell, seed: int) -> Interval:
    """Judge NLL of the first set less that of the second, over pairs; nats a token.

    Sequences of one number have the same length, and by one sampler are revealed in the same order:
    the pair shares what makes single ones vary, so that its difference varies less. Each pair
    counts alike, whatever its length, or each token, where both sets tell their numbers. Without a
    pair that was judged, all figures are NaN.
    """
    pairs = judged_pairs(first, second)
    if pairs.empty:
        return Interval(*[float("nan")] * 3)
    if first.tokens is None or second.tokens is None:
        return bootstrap_mean(pairs.to_numpy(), seed)
    one, two = (
        Ratio((each.judge_nll * tokens)[pairs.index].to_numpy(), tokens[pairs.index].to_numpy())
        for each, tokens in ((first, first.tokens), (second, second.tokens))
    )
    return paired_difference_of(one, two, seed)


def judged_pairs(first: ScoredCell, second: ScoredCell) -> pd.Series:
    """Judge NLL of the first less that of the second, by id, where both were judged."""
    return (first.judge_nll - second.judge_nll).dropna()


def pairs_of(
    cells: Sequence[Cell], teacher: str, sampler: str | None = None
) -> Iterator[tuple[Cell, str, Cell]]:
    """Each cell with what is subtracted from it: the `teacher` in as many steps, and its `limit`.

    The same model by another sampler counts as a student of its own.

    Args:
        sampler: of the teacher's cells that others are paired with; None for its plain one.
    """
    own = [cell for cell in cells if cell.model == teacher]
    if sampler is None:
        by_steps = {cell.steps: cell for cell in own if cell.is_plain}
    else:
        by_steps = {cell.steps: cell for cell in own if cell.sampler == sampler}
    limit = Cell.limit(teacher)
    for cell in cells:
        if cell.is_baseline or cell == limit:
            continue
        for name, other in (("teacher", by_steps.get(cell.steps)), ("limit", limit)):
            if other is not None and other in cells and other != cell:
                yield cell, name, other


def compare_cells(scored: Sequence[ScoredCell], teacher: str, seed: int) -> pd.DataFrame:
    """One row a cell; the last columns pair it with the teacher at the same steps and at its limit.

    Columns that no cell fills are left out.
    """
    by_cell = {each.cell: each for each in scored}
    rows = {cell: dict(each.row) for cell, each in by_cell.items()}
    for cell, name, other in pairs_of(list(by_cell), teacher):
        difference = paired_difference(by_cell[cell], by_cell[other], seed)
        rows[cell] |= interval_columns(f"nll_minus_{name}", difference.as_dict())
    return table_of(list(rows.values()))


def table_of(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Rows as a table; columns that no row fills are left out."""
    return pd.DataFrame(rows).astype({"steps": "Int64"}).dropna(axis="columns", how="all")


def warnings_of(table: pd.DataFrame) -> list[str]:
    """What must stand beside the intervals of a comparison."""
    counts = table["n"][table["n"] > 0]  # a row of which none was judged says so itself
    return warnings_of_few(int(counts.min()), "sequences a set") if len(counts) else []


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV, whole or not at all."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


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


def curve_name(row: Mapping[str, object]) -> str:
    """Model and sampler of a row; the limit ends the curve of its model's ancestral steps."""
    sampler = PLAIN_SAMPLER if row["sampler"] == LIMIT_SAMPLER else row["sampler"]
    return f"{row['model']}, {sampler}"


def _figure(row: Mapping[str, Any], column: str, form: str) -> str:
    """A number; nothing where none is known, or that a curve does not pass where rows compare."""
    if pd.isna(row[column]):
        at = _COMPARED_AT.get(column)
        return "" if at is None or pd.isna(row.get(at, None)) else "not reached"
    return form.format(row[column]) + _interval(row, column)


def _interval(row: Mapping[str, Any], column: str) -> str:
    """Ends of the interval of a difference; other columns have theirs in the table's file."""
    if column not in (_LESS_LIMIT, _LESS_TEACHER, *_COMPARED_AT):
        return ""
    return f" ({row[f'{column}_low']:+.3f}, {row[f'{column}_high']:+.3f})"
