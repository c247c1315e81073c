"""Columns as filters see them: their numbers, and which flag of `score` computes one."""

import difflib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from didi_core.errors import UserError
from didi_protein.developability import DEVELOPABILITY_COLUMNS
from didi_protein.scores_table import COLUMNS, numbers_of

_SCORE_FLAGS = {
    **dict.fromkeys(
        ("mean_plddt", "mean_plddt_all_atom", "ptm", "mean_pae", "foldable"), "--fold MODEL"
    ),
    "judge_perplexity": "--judge tiny-judge",
    **dict.fromkeys(("pseudo_perplexity", "pseudo_perplexity_one_pass"), "--pseudo MODEL"),
    "nearest_reference_identity": "--reference NATURAL.fasta",
}
_OTHER_WAYS = {
    "cluster": "score the whole set with the extra metrics installed (pip install "
    "'didi-protein[metrics]'); merge fills it in for shards",
    "structure_cluster": "run score with --fold MODEL --pdb-dir DIR, and Foldseek on the path",
    "max_reference_tm": "run score with --reference FOLDER of structures, and Foldseek on the path",
}
NONE_FOUND_IS_EMPTY = {"nearest_reference_identity": "sequence", "max_reference_tm": "pdb_file"}
"""Columns in which empty means that nothing alike was found, once the comparison was made; with the
column that a row must have to be compared."""


def compared_columns(summary: Mapping[str, Any]) -> frozenset[str]:
    """Those of `NONE_FOUND_IS_EMPTY` that were computed, says `NAME.summary.json`, even if no row
    has a value."""
    found = {
        "nearest_reference_identity": summary.get("reference") is not None,
        "max_reference_tm": "max_reference_tm" in (summary.get("definitions") or {}),
    }
    return frozenset(column for column, computed in found.items() if computed)


def how_to_compute(column: str) -> str:
    """What to do where a column was never computed."""
    if column in _SCORE_FLAGS:
        return f"run score with {_SCORE_FLAGS[column]} (and --resume)"
    return _OTHER_WAYS.get(column, "write the table again with score")


def numbers(table: pd.DataFrame, column: str, flag: str) -> pd.Series:
    """A column as floats, empty ones NaN; yes counts 1 and no 0.

    Raises:
        UserError: the table has no such column, or a cell of it is no number.
    """
    if column not in table:
        raise UserError(f"{flag}: the table has no column {column}{_like(column, table)}.")
    return numbers_of(table, column, flag)


def _like(column: str, table: pd.DataFrame) -> str:
    """Columns that were perhaps meant."""
    known = {*COLUMNS, *DEVELOPABILITY_COLUMNS, *table.columns}
    close = difflib.get_close_matches(column, sorted(known), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def known_numbers(
    table: pd.DataFrame, column: str, flag: str, reference_used: bool = False
) -> pd.Series:
    """The numbers of a column that was computed; 0 where empty means that nothing alike was found.

    Args:
        table: the rows that were scored.
        reference_used: whether the designs were compared with references at all.

    Raises:
        UserError: as `numbers`, or no row has a value.
    """
    values = numbers(table, column, flag)
    if column in NONE_FOUND_IS_EMPTY and (reference_used or values.notna().any()):
        return values.mask(values.isna() & table[NONE_FOUND_IS_EMPTY[column]].notna(), 0.0)
    if len(values) and not values.notna().any():
        raise UserError(
            f"{flag}: {column} was not computed in this table; {how_to_compute(column)}."
        )
    return values
