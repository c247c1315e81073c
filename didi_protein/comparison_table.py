"""The table of a comparison: one row a cell, paired with the teacher at equal steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from didi_core.evaluation.bootstrap import Interval, bootstrap_mean
from didi_protein.comparison_cells import Cell, Scored

FOLD_COLUMNS = ("mean_plddt", "ptm", "mean_pae", "foldable")


def paired_difference(first: Scored, second: Scored, seed: int) -> Interval:
    """Judge NLL of the first set less that of the second, over pairs of designs; nats a residue.

    Designs of one number have the same length, and positions are revealed in the same order: the
    pair shares what makes single designs vary, so that its difference varies less.
    """
    one, two = (
        np.log(each.scored.table.set_index("id")["judge_perplexity"]) for each in (first, second)
    )
    return bootstrap_mean((one - two).dropna().to_numpy(), seed)


def compare_cells(scored: Sequence[Scored], teacher: str, seed: int) -> pd.DataFrame:
    """One row a cell; the last columns pair it with the teacher at the same steps and at its limit.

    Columns that no cell fills are left out.
    """
    by_cell = {each.cell: each for each in scored}
    limit = by_cell.get(Cell.limit(teacher))
    rows = []
    for each in scored:
        row = row_of(each)
        if each.cell.model != teacher:
            row |= _pair(each, by_cell.get(Cell(teacher, each.cell.steps)), "teacher", seed)
        if limit is not None and each is not limit:
            row |= _pair(each, limit, "limit", seed)
        rows.append(row)
    table = pd.DataFrame(rows).astype({"steps": "Int64"})
    return table.dropna(axis="columns", how="all")


def _pair(each: Scored, other: Scored | None, name: str, seed: int) -> dict[str, float]:
    if other is None:
        return {}
    pair = paired_difference(each, other, seed)
    column = f"nll_minus_{name}"
    return {column: pair.mean, f"{column}_low": pair.low, f"{column}_high": pair.high}


def row_of(each: Scored) -> dict[str, Any]:
    """The figures of one set, as `score` and `generate` found them."""
    figures, made = each.scored.summary["set"], each.made
    nll = figures["judge_nll"]
    peak = made.peak_memory
    return {
        "model": each.cell.model,
        "sampler": each.cell.sampler,
        "steps": each.cell.steps,
        "n": figures["n"],
        "calls": figures["mean_nfe"],
        "discriminator_calls": made.discriminator_calls / made.num_designs or None,
        "seconds_per_design": made.seconds / made.num_designs,
        "peak_memory_mb": None if peak is None else peak / 1e6,
        "judge_nll": nll["mean"],
        "judge_nll_low": nll["low"],
        "judge_nll_high": nll["high"],
        "judge_perplexity": figures["judge_perplexity"]["mean"],
        "precision": _mean(figures["precision"]),
        "recall": _mean(figures["recall"]),
        "copies": _mean(figures["copies"]),
        "pooled_3mer_entropy": _mean(figures["pooled_3mer_entropy"]),
        "mean_repeat_fraction": figures["mean_repeat_fraction"],
        "distinct_fraction": figures["distinct_fraction"],
        "num_clusters": figures["num_clusters"],
        **_folding(each.scored.table),
    }


def _mean(interval: dict[str, float] | None) -> float | None:
    return interval and interval["mean"]


def _folding(table: pd.DataFrame) -> dict[str, float | None]:
    """Means over the designs that were folded, and the share of those that should fold."""
    means = {
        column: pd.to_numeric(table[column], errors="coerce").mean() for column in FOLD_COLUMNS[:-1]
    }
    known = table["foldable"].dropna()
    share = known.astype(str).str.lower().isin(("true", "1", "1.0")).mean() if len(known) else None
    return means | {"foldable_share": share}
