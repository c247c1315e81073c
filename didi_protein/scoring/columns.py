"""Every column of the table of scores, and all that is known of each: who needs to know asks here.

    COLUMN["mean_plddt"].better          # "highest"
    names_by("properties")               # the columns that the letters alone give

A new score is an entry at the end of `ENTRIES` and what computes it: `docs/adding-a-score.md`. The
tables of `docs/outputs.md` and `docs/filter.md` are made from the entries: `make tables`.
"""

from typing import Literal

from didi_protein.scoring.column_entries import letters, records, relatives, structures
from didi_protein.scoring.score_column import ScoreColumn

ENTRIES: tuple[ScoreColumn, ...] = (
    *records.RECORD,
    *structures.FOLDED,
    *letters.READS,
    *letters.JUNK,
    *letters.WORK,
    *relatives.NEAREST,
    *relatives.FAMILY,
    *relatives.TRAINING,
    *records.PARENT,
    *structures.MODELS,
    *relatives.TRAINING_NEIGHBOUR,
    *structures.KEPT,
    *structures.PREDICTED,
    *records.LAST,
    *letters.MOTIFS,
    # New ones stand here: scripts of others count on the order.
)

COLUMN = {each.name: each for each in ENTRIES}
"""Every column that is ours, by name. Any other column of a table is text."""
COLUMNS = tuple(each.name for each in ENTRIES if each.always)
"""Those of every table, in their order."""


def names_by(computed_by: str) -> tuple[str, ...]:
    """Return the columns that a scorer, or a part of `score` or `filter`, fills."""
    return tuple(each.name for each in ENTRIES if each.computed_by == computed_by)


SECOND_PLDDT = "mean_plddt_"
"""Before the name of a second folding model: the column of its pLDDT."""


def type_of(name: str) -> Literal["text", "integer", "number", "yes_no"]:
    """Return the type of a column: text of every one that is not ours."""
    if name in COLUMN:
        return COLUMN[name].type
    return "number" if name.startswith(SECOND_PLDDT) else "text"


def is_text(name: str) -> bool:
    """Return whether a column holds text."""
    return type_of(name) == "text"
