"""The parents of variants, scored as their variants are: an unusual parent has unusual variants.

A variant names its parent in its header (`parent=`). Where that is the id of a record of the input
or of `--reference`, the parent goes through the scorers too, save those that fold, and its scores
stand in the summary under `parents`: the terminal, `filter` and the page show them beside the
variants. A parent is no design, and in no figure of the set.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from didi_core.evaluation.bootstrap import ENOUGH_RECORDS
from didi_core.progress import counted, progress_bar
from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.journal import KnownScores
from didi_protein.scoring.rows import Row, check_records, planned_work, score_rows
from didi_protein.scoring.scorers import Scorer
from didi_protein.sequences.fasta import ProteinRecord

PARENTS = "parents"
"""Key in the summary: scores of each parent by column, by its name."""
MOST_PARENTS = 100
"""Parents that are scored; of more none is, which would take as long as their variants."""
FEWEST_PARENTS = ENOUGH_RECORDS
"""Below these, what positions of a set of variants have in common is their parents' own."""
FOLDING = ("fold", "fold_second", "motif_shuffles")
"""Scorers that a parent does not go through."""


def names_of_parents(designs: Iterable[Row]) -> list[str]:
    """Return the parents that headers name, each once, in order."""
    named = (row.record.header.get("parent") for row in designs)
    return list(dict.fromkeys(filter(None, named)))


def score_parents(
    designs: Sequence[Row],
    others: Iterable[tuple[str, str]],
    scorers: Sequence[Scorer],
    known: KnownScores,
    *,
    quiet: bool = False,
) -> dict[str, dict[str, Any]]:
    """Return the scores of the parents of designs, by name.

    Args:
        others: ids and sequences among which parents are found.
        known: what was scored before is not scored again.

    Returns:
        Numbers by column, and the sequence; nothing of parents that are in none of the files or
        could not be scored, and nothing at all of more than `MOST_PARENTS`.
    """
    named, by_id = names_of_parents(designs), dict(others)
    found = [ProteinRecord(name, by_id[name]) for name in named if name in by_id]
    if len(found) > MOST_PARENTS:
        return {}
    scorers = [each for each in scorers if each.name not in FOLDING]
    rows = check_records(found, scorers, clean=True, max_length=None)
    places = [place for place, row in enumerate(rows) if row.status == "ok"]
    batches = [[place] for place in places]
    work = planned_work(rows, batches, scorers, known)
    silent = quiet or not places
    shown = nullcontext(float) if silent else progress_bar("scoring parents", sum(work.values()))
    with shown as on_progress:
        score_rows(rows, batches, scorers, known, on_progress, work)
    return {row.record.id: _numbers(row) for row in rows if row.status == "ok"}


def _numbers(row: Row) -> dict[str, Any]:
    values = row.as_dict()
    kept = [name for name in values if name in COLUMN and COLUMN[name].type != "text"]
    numbers = {name: values[name] for name in kept if values[name] is not None}
    return {**numbers, "sequence": row.record.sequence}


def figures_of_parent(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parent's scores under the names of the figures of a set."""
    figures: dict[str, Any] = {"n": 1, "mean_length": scores.get("length")}
    for name, key in (
        ("judge_perplexity", "judge_perplexity"),
        ("repeat_fraction", "mean_repeat_fraction"),
        ("low_complexity_fraction", "mean_low_complexity_fraction"),
    ):
        figures[key] = scores.get(name)
    means = [(each.name, each.figure.name) for each in COLUMN.values() if each.figure]
    return figures | {figure: scores[name] for name, figure in means if name in scores}


def reason_against_counting(designs: Sequence[Row]) -> str | None:
    """Say why covariances and contacts of a set of variants say nothing; None where they may.

    They are what positions have in common over many proteins. Variants of one parent share that
    parent, and differ where they were told to.
    """
    parents = names_of_parents(designs)
    if not parents or any(not row.record.header.get("parent") for row in designs):
        return None
    if len(parents) >= FEWEST_PARENTS:
        return None
    variants, few = counted(len(designs), "design"), counted(len(parents), "parent")
    return (
        f"all of {variants} are variants of {few}: below {FEWEST_PARENTS}, what positions have in "
        "common (covariances, contacts) is the parents' own and says nothing of the model; "
        "family_bits of each design says whether it is of the family"
    )
