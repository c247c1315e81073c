"""The order of designs: best first, and those too short to judge last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from didi_protein.filtering.memory import Memory
from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.natural_range import NaturalRange

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
    nature: float | None = None
    """The best that natural sequences have, of a likelihood: values beyond it rank as it does. None
    where that is not known, and of other columns."""

    def in_words(self) -> str:
        return f"{'highest' if self.highest_first else 'lowest'} {self.column}{self.limit_in_words}"

    @property
    def limit_in_words(self) -> str:
        """Return how far better values rank first; "" where without limit."""
        if self.nature is None:
            return ""
        return f" {'up' if self.highest_first else 'down'} to nature's {self.nature:.3g}"

    def limited(self, natural: Mapping[str, NaturalRange]) -> "SortKey":
        """Return the key with nature's end, where it asks for a likelihood and that is known.

        Args:
            natural: where natural sequences lie, by column.
        """
        known = natural.get(self.column)
        better = "highest" if self.highest_first else "lowest"
        if known is None or not rewards_memory([self]) or COLUMN[self.column].better != better:
            return self
        return replace(self, nature=known.high if self.highest_first else known.low)

    def is_beyond(self, values: "pd.Series[float]") -> "pd.Series[bool]":
        """Return which values are better than nature's best."""
        if self.nature is None:
            return pd.Series(False, index=values.index)
        return values > self.nature if self.highest_first else values < self.nature

    def as_ranked(self, values: "pd.Series[float]") -> "pd.Series[float]":
        """Return values with those beyond nature's best as that one: being likelier than nature is
        nearness to what a model remembers, or repetition, and no merit."""
        return values.mask(self.is_beyond(values), self.nature)


def default_sort(
    table: pd.DataFrame,
    judge_knows: bool = True,
    natural: Mapping[str, NaturalRange] | None = None,
) -> list[SortKey]:
    """By pLDDT where designs were folded, else by judge perplexity, else by what there is.

    Where designs that are likelier than nature tie, the next scores that end at nature's best, too,
    tell them apart.

    Args:
        judge_knows: whether the judge knows proteins such as these; else it is not asked.
        natural: where natural sequences lie, by column.
    """
    present = [
        SortKey(column, COLUMN[column].better == "highest").limited(natural or {})
        for column in DEFAULT_COLUMNS
        if (judge_knows or column != JUDGED) and column in table and table[column].notna().any()
    ]
    first, others = present[:1], present[1:]
    ties = any(key.nature is not None for key in first)
    return [*first, *(key for key in others if ties and key.nature is not None)]


def ranked(table: pd.DataFrame, keys: Sequence[SortKey]) -> pd.DataFrame:
    """The rows, best first; equals stay in input order, and a row without a value comes last.

    By a mean over residues, designs too short to judge come after those that are not. By a
    likelihood, so do copies of training sequences, and designs nearer to a training sequence than
    any other training sequence is: being near to what a model was trained on earns no rank. Nor
    does a likelihood beyond nature's best, where that is known.
    """
    near = Memory.of(table).is_nearer_than_nature
    for key in reversed(keys):
        values = key.as_ranked(table[key.column])
        order = values.sort_values(ascending=not key.highest_first, kind="stable").index
        table = table.loc[order]
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
