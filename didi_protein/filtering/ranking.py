"""Which way each column of the score table is better, and the order of designs that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from didi_protein.scoring.properties import DEVELOPABILITY_COLUMNS

HIGHER_IS_BETTER: Mapping[str, bool] = {
    "mean_plddt": True,
    "mean_plddt_all_atom": True,
    "ptm": True,
    "mean_pae": False,
    "foldable": True,
    "judge_perplexity": False,
    "pseudo_perplexity": False,
    "pseudo_perplexity_one_pass": False,
    "repeat_fraction": False,
    "low_complexity_fraction": False,
    "aa_entropy": True,
    "instability_index": False,
    "gravy": False,  # soluble proteins lie below 0
    "nearest_reference_identity": False,  # new rather than known
    "max_reference_tm": False,
    **dict.fromkeys(DEVELOPABILITY_COLUMNS, False),
}
OVER_RESIDUES = frozenset(
    (
        "mean_plddt", "mean_plddt_all_atom", "ptm", "mean_pae", "judge_perplexity",
        "pseudo_perplexity", "pseudo_perplexity_one_pass", "repeat_fraction",
        "low_complexity_fraction", "aa_entropy", "instability_index", "gravy",
    )
)  # fmt: skip
"""Columns that are means over the residues of a design: of few they are chance."""
SHORTEST_JUDGED = 20
"""Residues. Below it a mean over residues says nothing: a lone methionine is all but certain to any
judge, and would be the best of all designs. The shortest protein known to fold alone has 20 [1]_.

.. [1] Neidigh, Fesinmeyer, Andersen. "Designing a 20-residue protein", Nat. Struct. Biol. 9, 2002.
"""
DEFAULT_COLUMNS = ("mean_plddt", "judge_perplexity")
"""The first of these that the table has values of ranks designs where nothing else is asked for."""


@dataclass(frozen=True)
class SortKey:
    """One column of an order."""

    column: str
    highest_first: bool

    def in_words(self) -> str:
        return f"{'highest' if self.highest_first else 'lowest'} {self.column}"


def default_sort(table: pd.DataFrame) -> list[SortKey]:
    """By pLDDT where designs were folded, else by judge perplexity, else by nothing."""
    for column in DEFAULT_COLUMNS:
        if column in table and table[column].notna().any():
            return [SortKey(column, HIGHER_IS_BETTER[column])]
    return []


def ranked(table: pd.DataFrame, keys: Sequence[SortKey]) -> pd.DataFrame:
    """The rows, best first; equals stay in input order, and a row without a value comes last.

    By a mean over residues, designs too short to judge come after those that are not.
    """
    for key in reversed(keys):
        table = table.sort_values(key.column, ascending=not key.highest_first, kind="stable")
        missing = table[key.column].isna().to_numpy()
        short = too_short(table).to_numpy() & ~missing & (key.column in OVER_RESIDUES)
        table = table.iloc[np.argsort(2 * missing + short, kind="stable")]
    return table


def too_short(table: pd.DataFrame) -> "pd.Series[bool]":
    """Whether each design has too few residues for means over them to say anything."""
    return table["sequence"].str.len() < SHORTEST_JUDGED
