"""Score rows in planned batches, and let no failure spread.

A batch that fails is halved until the record at fault stands alone;
that row says what happened, and the others are scored.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from didi_core.errors import UserError
from didi_core.out_of_memory import is_out_of_memory, release_cached_memory
from didi_core.sampling.batching import plan_batches, shard_of
from didi_core.shards import Shard
from didi_protein.fasta import ProteinRecord
from didi_protein.score_journal import Journal
from didi_protein.score_row import Row
from didi_protein.scorers import Scorer
from didi_protein.scores_table import rounded


@runtime_checkable
class KeepsFiles(Protocol):
    """A scorer that writes files beside the values it gives."""

    def still_stands(self, record: ProteinRecord, values: Mapping[str, Any]) -> bool:
        """Whether known values need no computing again: their files are there."""


def select_shard(
    rows: Sequence[Row],
    budget: int,
    shard: Shard,
    plan_of: Callable[[Sequence[int], int], list[list[int]]] = plan_batches,
) -> tuple[list[int], list[list[int]]]:
    """The places of this shard's rows, and its batches of scorable ones.

    The plan is made for all rows, so every shard computes the batches the whole run would.

    Args:
        budget: what `plan_of` is given beside the lengths.
        plan_of: from lengths to batches; folding has a plan of its own.
    """
    scorable = [place for place, row in enumerate(rows) if row.status == "ok"]
    plan = plan_of([len(rows[place].record.sequence) for place in scorable], budget)
    batches = [
        [scorable[number] for number in batch] for batch in shard_of(plan, shard.index, shard.count)
    ]
    others = [place for place, row in enumerate(rows) if row.status != "ok"]
    mine = others[shard.index - 1 :: shard.count]
    return sorted([*mine, *(place for batch in batches for place in batch)]), batches


def score_rows(
    rows: Sequence[Row],
    batches: Sequence[Sequence[int]],
    scorers: Sequence[Scorer],
    journal: Journal,
    on_progress: Callable[[int], None],
) -> None:
    """Fill in `values`, and `status` where something failed; known values are not computed again.

    Args:
        on_progress: called with the number of residues done.
    """
    done = 0
    for batch in batches:
        members = [rows[place] for place in batch]
        for scorer in scorers:
            _apply(scorer, members, journal)
        done += sum(len(row.record.sequence) for row in members)
        on_progress(done)


def _apply(scorer: Scorer, rows: Sequence[Row], journal: Journal) -> None:
    unknown = []
    for row in rows:
        known = journal.get(scorer, row.record)
        if known is not None and isinstance(scorer, KeepsFiles):
            known = known if scorer.still_stands(row.record, known) else None
        if known is None:
            unknown.append(row)
        else:
            row.values |= known
    scored = [
        (row, values)
        for row, values in zip(unknown, _outcomes(scorer, unknown), strict=True)
        if isinstance(values, dict)
    ]
    for row, values in scored:
        row.values |= values
    journal.add(scorer, [row.record for row, _ in scored], [values for _, values in scored])


def _outcomes(scorer: Scorer, rows: Sequence[Row]) -> Iterator[dict[str, Any] | None]:
    """Values of each row; None for those that failed, which are marked."""
    if not rows:
        return
    results, failure = _attempt(scorer, rows)
    if failure is None:
        for row, values in zip(rows, results, strict=True):
            yield _finite(scorer, row, values)
    elif len(rows) == 1:
        rows[0].fail(*failure)
        yield None
    else:
        release_cached_memory()
        half = len(rows) // 2
        yield from _outcomes(scorer, rows[:half])
        yield from _outcomes(scorer, rows[half:])


def _attempt(
    scorer: Scorer, rows: Sequence[Row]
) -> tuple[list[dict[str, Any]], tuple[str, str] | None]:
    """Values of all rows, or status and message of the failure.

    The exception ends here: its traceback would hold on to the memory that was too little.
    """
    try:
        return scorer.score([row.record for row in rows]), None
    except (UserError, OSError):
        raise  # not a matter of one record: the command was wrong, or the disk is full
    except Exception as error:
        return [], _describe(scorer, error)


def _describe(scorer: Scorer, error: Exception) -> tuple[str, str]:
    """Status and message."""
    text = f"{scorer.name}: {type(error).__name__}: {error}".splitlines()[0]
    return "oom" if is_out_of_memory(error) else "failed", text


def _finite(scorer: Scorer, row: Row, values: dict[str, Any]) -> dict[str, Any] | None:
    bad = [
        name
        for name, value in values.items()
        if isinstance(value, float) and not math.isfinite(value)
    ]
    if bad:
        row.fail("failed", f"{scorer.name}: {', '.join(bad)} is not a finite number")
        return None
    return {name: rounded(value) for name, value in values.items()}
