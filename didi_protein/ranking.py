"""Which way each column of the score table is better, and the order of designs that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from didi_protein.developability import DEVELOPABILITY_COLUMNS

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
    """The rows, best first; equals stay in input order, and a row without a value comes last."""
    for key in reversed(keys):
        table = table.sort_values(
            key.column, ascending=not key.highest_first, kind="stable", na_position="last"
        )
    return table
