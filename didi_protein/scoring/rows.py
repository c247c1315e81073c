"""A record on its way to the table of scores: its checks, its status, and the row it becomes."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from didi_core.errors import UserError
from didi_core.io.shards import Shard
from didi_core.peak_memory import is_out_of_memory, release_cached_memory
from didi_core.sampling.batching import plan_batches, shard_of
from didi_protein.scoring.columns import COLUMN, is_text, names_by
from didi_protein.scoring.journal import KnownScores
from didi_protein.scoring.scorers import Scorer
from didi_protein.scoring.table import is_native, rounded, typed
from didi_protein.sequences.fasta import ProteinRecord
from didi_protein.sequences.mpnn import NATIVE_KEY
from didi_protein.sequences.residues import clean_sequence, find_problem


@dataclass
class Row:
    """A record on its way to the table."""

    record: ProteinRecord
    status: str = "ok"
    error: str | None = None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def is_native(self) -> bool:
        """Whether it is what an inverse folder was given, and no design."""
        return is_native(self.record.header.get(NATIVE_KEY))

    def fail(self, status: str, error: str) -> None:
        """Note a failure; the first one gives the status, all are named."""
        if self.status == "ok":
            self.status = status
        self.error = error if self.error is None else f"{self.error}; {error}"

    def as_dict(self) -> dict[str, Any]:
        """The row under its column names."""
        values = {key: rounded(value) for key, value in self.values.items()}
        return {
            "id": self.record.id,
            "length": len(self.record.sequence),
            "status": self.status,
            "error": self.error,
            "sequence": self.record.sequence,
            **_header_values(self.record),
            **self._stated_values(),
            **values,
        }

    def _stated_values(self) -> dict[str, Any]:
        """What the structure file read says of itself, unless the sequence was folded anew.

        Infinity and NaN say nothing: their columns stay empty.
        """
        if "mean_plddt" in self.values:
            return {}
        return {
            key: rounded(value)
            for key, value in self.record.columns.items()
            if not isinstance(value, float) or math.isfinite(value)
        }


def _header_values(record: ProteinRecord) -> dict[str, Any]:
    """Columns of the header's pairs. The length is left out where it says what we measured."""
    pairs, ours = dict(record.header), names_by("header")
    if pairs.get("length") == str(len(record.sequence)):
        del pairs["length"]
    return {
        key if key in ours and _fits(key, value) else f"header_{key}": value
        for key, value in pairs.items()
    }


def _fits(column: str, value: str) -> bool:
    """Whether a column of ours takes this value: one of whole numbers takes no `007` or `1e9`.

    What it does not take goes where other pairs go, under its own name: nothing is lost.
    """
    if is_text(column):
        return True
    try:
        return COLUMN[column].low <= typed(column, value) <= COLUMN[column].high
    except ValueError:
        return False


def check_records(
    records: Iterable[ProteinRecord], scorers: Sequence[Scorer], clean: bool, max_length: int | None
) -> list[Row]:
    """One row a record, with its status: ok, invalid, too_long or (its file) failed."""
    limit, reason = _length_limit(scorers, max_length)
    return [_check(record, clean, limit, reason) for record in records]


def _cleaned(record: ProteinRecord) -> ProteinRecord:
    """The record with its sequence mended; a length that was right before goes."""
    header = dict(record.header)
    if header.get("length") == str(len(record.sequence)):
        del header["length"]
    return replace(record, sequence=clean_sequence(record.sequence), header=header)


def _length_limit(scorers: Sequence[Scorer], max_length: int | None) -> tuple[float, str]:
    """The shortest limit, and who sets it."""
    limits = [(scorer.max_length, f"the {scorer.name} model reads") for scorer in scorers]
    limits.append((max_length, "--max-length allows"))
    return min(
        ((limit, reason) for limit, reason in limits if limit is not None),
        default=(math.inf, ""),
    )


def _check(record: ProteinRecord, clean: bool, limit: float, reason: str) -> Row:
    if clean:
        record = _cleaned(record)
    row, length = Row(record), len(record.sequence)
    problem = find_problem(record.sequence)
    if record.problem is not None:
        row.fail("failed", record.problem)
    elif problem is not None:
        row.fail("invalid", problem)
    elif length > limit:
        row.fail("too_long", f"{length} residues: {reason} at most {limit}")
    return row


# Score rows in planned batches, and let no failure spread.
#
# A batch that fails is halved until the record at fault stands alone;
# that row says what happened, and the others are scored.


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
    known_scores: KnownScores,
    on_progress: Callable[[float], object],
    work: Mapping[int, float],
    enough: Callable[[], bool] = bool,
) -> None:
    """Fill in `values`, and `status` where something failed; known values are not computed again.

    Args:
        on_progress: called with the work done.
        work: of each row, by its place; see `planned_work`.
        enough: asked after every batch whether to compute no more of the others, of which what is
            known is taken over; they are computed by default.
    """
    done, is_enough = 0.0, False
    for batch in batches:
        members = [rows[place] for place in batch]
        for scorer in scorers:
            _apply(scorer, members, known_scores, known_alone=is_enough)
        done += sum(work[place] for place in batch)
        on_progress(done)
        is_enough = is_enough or enough()


PER_RESIDUE = ("pseudo", "fold", "fold_second", "scan", "motif_shuffles")
"""Scorers that take a call for each residue, or look at each pair of them."""


def planned_work(
    rows: Sequence[Row],
    batches: Sequence[Sequence[int]],
    scorers: Sequence[Scorer],
    known_scores: KnownScores,
) -> dict[int, float]:
    """Return how long each row takes, in a unit of its own, by its place in `rows`.

    Batches stand in the order of their lengths, and what is known takes no time: counted in
    residues, the time left would grow until the end.
    """
    work = {}
    for place in (place for batch in batches for place in batch):
        record = rows[place].record
        left = [each.name for each in scorers if known_scores.get(each, record) is None]
        slow, length = any(name in PER_RESIDUE for name in left), len(record.sequence)
        work[place] = float(length * length if slow else length if left else 0)
    return work


def _apply(
    scorer: Scorer, rows: Sequence[Row], known_scores: KnownScores, *, known_alone: bool = False
) -> None:
    """Fill in what is known, and, unless that is all that is asked for, compute the rest."""
    unknown = []
    for row in rows:
        known = known_scores.get(scorer, row.record)
        if known is not None and isinstance(scorer, KeepsFiles):
            known = known if scorer.still_stands(row.record, known) else None
        if known is None:
            unknown.append(row)
        else:
            row.values |= known
    if known_alone:
        return
    scored = [
        (row, values)
        for row, values in zip(unknown, _outcomes(scorer, unknown), strict=True)
        if isinstance(values, dict)
    ]
    for row, values in scored:
        row.values |= values
    known_scores.add(scorer, [row.record for row, _ in scored], [values for _, values in scored])


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
