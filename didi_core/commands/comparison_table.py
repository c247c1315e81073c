"""The table of a comparison: one row a cell, paired with the teacher at equal steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from didi_core.commands.comparison_cells import Cell, ScoredCell
from didi_core.evaluation.bootstrap import Interval, bootstrap_mean, warnings_of_few
from didi_core.files import atomic_path


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
