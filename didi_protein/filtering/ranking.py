"""The order of designs: best first, and those too short to judge last."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from didi_protein.filtering.memory import Memory
from didi_protein.scoring.columns import COLUMN

SHORTEST_JUDGED = 20
"""Residues. Below it a mean over residues says nothing: a lone methionine is all but certain to any
judge, and would be the best of all designs. The shortest protein known to fold alone has 20 [1]_.

.. [1] Neidigh, Fesinmeyer, Andersen. "Designing a 20-residue protein", Nat. Struct. Biol. 9, 2002.
"""
JUDGED = "judge_perplexity"
DEFAULT_COLUMNS = ("mean_plddt", JUDGED, "family_bits", "pseudo_perplexity")
"""The first of these that the table has values of ranks designs where nothing else is asked for;
the judge's only where it knows such proteins."""


@dataclass(frozen=True)
class SortKey:
    """One column of an order."""

    column: str
    highest_first: bool

    def in_words(self) -> str:
        return f"{'highest' if self.highest_first else 'lowest'} {self.column}"


def default_sort(table: pd.DataFrame, judge_knows: bool = True) -> list[SortKey]:
    """By pLDDT where designs were folded, else by judge perplexity, else by what there is.

    Args:
        judge_knows: whether the judge knows proteins such as these; else it is not asked.
    """
    for column in DEFAULT_COLUMNS:
        skipped = column == JUDGED and not judge_knows
        if not skipped and column in table and table[column].notna().any():
            return [SortKey(column, COLUMN[column].better == "highest")]
    return []


def ranked(table: pd.DataFrame, keys: Sequence[SortKey]) -> pd.DataFrame:
    """The rows, best first; equals stay in input order, and a row without a value comes last.

    By a mean over residues, designs too short to judge come after those that are not. By a
    likelihood, so do copies of training sequences, and designs nearer to a training sequence than
    any other training sequence is: being near to what a model was trained on earns no rank.
    """
    near = Memory.of(table).is_nearer_than_nature
    for key in reversed(keys):
        table = table.sort_values(key.column, ascending=not key.highest_first, kind="stable")
        missing = table[key.column].isna().to_numpy()
        of_residues = key.column in COLUMN and COLUMN[key.column].over_residues
        short = too_short(table).to_numpy() & ~missing & of_residues
        remembered = near[table.index].to_numpy() & ~missing & rewards_memory([key])
        table = table.iloc[np.argsort(4 * missing + 2 * short + remembered, kind="stable")]
    return table


def rewards_memory(keys: Sequence[SortKey]) -> bool:
    """Whether an order asks for a likelihood."""
    return any(key.column in COLUMN and COLUMN[key.column].rewards_memory for key in keys)


def too_short(table: pd.DataFrame) -> "pd.Series[bool]":
    """Whether each design has too few residues for means over them to say anything."""
    return table["sequence"].str.len() < SHORTEST_JUDGED
