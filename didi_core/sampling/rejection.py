"""Draw a batch until every sequence is acceptable, at most `MAX_TRIES` times each.

Which try of a record is taken does not depend on the batch it stands in: it is the first one that
passes the rule and, where sequences must be unique, equals no sequence taken by a record of a
lower number. Records of equal length are computed in the order of their numbers, so the ones to
compare with are always known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from didi_core.sampling.filling import Filled, Filler

MAX_TRIES = 5
TRY_STRIDE = 2**40
"""Try number k of a record draws with the keys of record + k * 2^40, which is no record."""

Rule = Callable[[list[int]], str | None]
"""Why a framed sequence is not acceptable; None when it is."""


def accept_all(ids: list[int]) -> None:
    """Accept every sequence."""
    del ids


@dataclass(frozen=True)
class SampledRecord:
    """Holds one record's result."""

    record: int
    ids: list[int]
    """Framed ids of the try that was taken, or of the last one where none was."""
    denoiser_calls: int
    """Of all tries."""
    discriminator_calls: int
    tries: int
    failure: str | None
    """Why no try was acceptable."""


@dataclass
class Acceptance:
    """Says what is asked of a sequence, and what was taken before."""

    rule: Rule = accept_all
    unique: bool = False
    taken: set[tuple[int, ...]] = field(default_factory=set)
    """Sequences of finished records; filled only where they must be unique."""

    def remember(self, finished: Sequence[SampledRecord]) -> None:
        if self.unique:
            self.taken.update(tuple(each.ids) for each in finished if each.failure is None)


def draw_batch(
    filler: Filler,
    records: Sequence[int],
    rows: Sequence[Sequence[int]],
    acceptance: Acceptance,
) -> list[SampledRecord]:
    """Fill `rows`, redrawing those that are refused.

    Args:
        records: record number of each row, increasing.
        rows: framed ids with masks to fill.
    """
    drawn: list[list[Filled | None]] = [[] for _ in rows]
    pending = list(range(len(rows)))
    while pending:
        keys = [records[i] + TRY_STRIDE * len(drawn[i]) for i in pending]
        for i, filled in zip(pending, filler.fill([rows[i] for i in pending], keys), strict=True):
            drawn[i].append(filled)
        finished = _judge(records, rows, drawn, acceptance)
        pending = [i for i, each in enumerate(finished) if _may_try_again(each, drawn[i])]
    acceptance.remember(finished)
    return finished


def _may_try_again(finished: SampledRecord, drawn: list[Filled | None]) -> bool:
    return finished.failure is not None and len(drawn) < MAX_TRIES and drawn[-1] is not None


def _judge(
    records: Sequence[int],
    rows: Sequence[Sequence[int]],
    drawn: Sequence[list[Filled | None]],
    acceptance: Acceptance,
) -> list[SampledRecord]:
    """Choose a try for each record, lower numbers first."""
    taken = set(acceptance.taken)
    finished = []
    for record, row, tries in zip(records, rows, drawn, strict=True):
        each = _choose(record, row, tries, acceptance.rule, taken)
        if acceptance.unique and each.failure is None:
            taken.add(tuple(each.ids))
        finished.append(each)
    return finished


def _choose(
    record: int,
    row: Sequence[int],
    tries: list[Filled | None],
    rule: Rule,
    taken: set[tuple[int, ...]],
) -> SampledRecord:
    made = [each for each in tries if each is not None]
    calls = sum(each.denoiser_calls for each in made)
    discriminator_calls = sum(each.discriminator_calls for each in made)
    ids = list(row)
    failure: str | None = "out of memory, even alone"
    for number, each in enumerate(made, start=1):
        ids = each.ids
        failure = "the same as another" if tuple(ids) in taken else rule(ids)
        if failure is None:
            return SampledRecord(record, ids, calls, discriminator_calls, number, None)
    if len(made) < len(tries):
        failure = "out of memory, even alone"
    return SampledRecord(record, ids, calls, discriminator_calls, len(tries), failure)
