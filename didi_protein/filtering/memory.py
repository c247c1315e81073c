"""How near designs come to training data, for `filter` and the report: copies, and their ranks."""

from dataclasses import dataclass

import pandas as pd

from didi_protein.scoring.table import numbers_of
from didi_protein.similarity.neighbours import COPY_IDENTITY

COLUMNS = ("training_identity", "training_identity_estimate")
"""The first of these that a row has a value in says how near it comes to a training sequence."""
SPACING = "training_neighbour_identity"


@dataclass(frozen=True)
class Memory:
    """What a table says of its rows' nearness to training data."""

    identity: "pd.Series[float]"
    """To the nearest training sequence, counted, else estimated; NaN where not known."""
    spacing: "pd.Series[float]"
    """Of that training sequence to the one nearest to it; NaN where not known."""
    column: str
    """The columns that say the identity."""

    @classmethod
    def of(cls, table: pd.DataFrame, called: str = "F.csv") -> "Memory":
        """Read it from the columns that a table has.

        Raises:
            UserError: a cell of them is no number; its row is named.
        """
        nothing = pd.Series(float("nan"), index=table.index, dtype="float64")
        values = {
            name: numbers_of(table, name, called) if name in table else nothing
            for name in (*COLUMNS, SPACING)
        }
        counted, estimated = (values[name] for name in COLUMNS)
        column = " or ".join(name for name in COLUMNS if values[name].notna().any())
        return cls(counted.where(counted.notna(), estimated), values[SPACING], column)

    @property
    def is_known(self) -> bool:
        """Whether copies were looked for at all."""
        return bool(self.identity.notna().any())

    @property
    def is_copy(self) -> "pd.Series[bool]":
        """Whether each row is a copy; False where that is not known."""
        return self.identity >= COPY_IDENTITY

    @property
    def is_nearer_than_nature(self) -> "pd.Series[bool]":
        """Whether each row is a copy, or nearer to a training sequence than any other of them is.

        False where that is not known.
        """
        return self.is_copy | (self.identity > self.spacing)
