"""Where a design comes from: from a row of scores back to the pairs of a FASTA header."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from didi_protein.scores_table import HEADER_COLUMNS

HEADER_PREFIX = "header_"


def header_of_row(row: Mapping[str, Any]) -> dict[str, str]:
    """Length, model, sampler, steps, calls and seed, and the other pairs the header had."""
    pairs = {"length": len(row["sequence"]), **{key: row.get(key) for key in HEADER_COLUMNS}}
    for column, value in row.items():
        if column.startswith(HEADER_PREFIX):
            pairs.setdefault(column.removeprefix(HEADER_PREFIX), value)
    return {key: one_word(value) for key, value in pairs.items() if pd.notna(value) and value != ""}


def one_word(value: object) -> str:
    """As it may stand in a FASTA header: whole numbers without a point, no blanks."""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return "_".join(text.split())
