"""Run a request: every record through the sampler, batch after batch, saved as it goes.

Knows nothing of what the tokens mean: a front-end makes the rows and writes the results.

A batch is drawn until every sequence is acceptable, at most `MAX_TRIES` times each. Which try of a
record is taken does not depend on the batch it stands in: it is the first one that passes the rule
and, where sequences must be unique, equals no sequence taken by a record of a lower number. Records
of equal length are computed in the order of their numbers, so the ones to compare with are always
known.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from didi_core.io.journal import Journal
from didi_core.io.shards import Shard
from didi_core.progress import progress_bar
from didi_core.sampling.batching import plan_batches, shard_of
from didi_core.sampling.filling import OUT_OF_MEMORY, Engine, planned_calls
from didi_core.sampling.forbidden import ForbiddenIds
from didi_core.sampling.request import SampledRecord, SampleSettings
from didi_core.sampling.time_estimate import print_estimate, width_of

MAX_TRIES = 5
TRY_STRIDE = 2**40
"""Try number k of a record draws with the keys of record + k * 2^40, which is no record."""

Rule = Callable[[int, list[int]], str | None]
"""Why a record's framed sequence is not acceptable; None when it is."""


def accept_all(record: int, ids: list[int]) -> None:
    """Accept every sequence."""
    del record, ids


@dataclass(frozen=True)
class Request:
    """What is to be generated."""

    rows: Sequence[Sequence[int]]
    """Framed ids of each record; the vocabulary's mask where something is to be generated."""
    settings: SampleSettings
    batch_tokens: int
    """Most rows times padded width of a batch."""
    shard: Shard = field(default_factory=Shard)
    rule: Rule = accept_all
    """What a finished sequence must fulfil; it is redrawn where it does not."""
    unique: bool = False
    """Redraw what equals another; under a shard, another of the same shard."""
    forbidden: Sequence[ForbiddenIds] = ()
    """Of each record, what its positions may not get; none: nothing is forbidden."""

    def batches(self) -> list[list[int]]:
        """Return record numbers of this shard's batches. The plan is of the whole request."""
        plan = plan_batches([len(row) for row in self.rows], self.batch_tokens)
        return shard_of(plan, self.shard.index, self.shard.count)


@dataclass
class Acceptance:
    """Sequences taken so far by finished records; noted only where they must be unique."""

    unique: bool
    taken: set[tuple[int, ...]] = field(default_factory=set)

    def remember(self, finished: Sequence[SampledRecord]) -> None:
        if self.unique:
            self.taken.update(tuple(each.ids) for each in finished if each.failure is None)


@dataclass(frozen=True)
class FinishedBatch:
    """What one line of the journal holds."""

    seconds: float
    """Wall-clock time of the batch."""
    rows: list[SampledRecord]

    @classmethod
    def from_json(cls, line: Any) -> "FinishedBatch":
        return cls(line["seconds"], [SampledRecord(**row) for row in line["rows"]])


@dataclass(frozen=True)
class SampledBatches:
    """Batches of a request that are finished, in the order in which they were."""

    journal: Journal[FinishedBatch]

    @classmethod
    def at(cls, path: Path, settings: Mapping[str, Any]) -> "SampledBatches":
        """Return those that a file is to hold, or holds; nothing is read or written yet."""
        return cls(Journal(path, "generate", settings, FinishedBatch.from_json))

    @property
    def path(self) -> Path:
        return self.journal.path

    @property
    def seconds(self) -> float:
        return sum(batch.seconds for batch in self.journal.entries)

    def forget_empty(self) -> None:
        """Remove the file of a run that failed before it finished any batch."""
        if not self.journal.entries:
            self.path.unlink(missing_ok=True)

    @property
    def rows(self) -> list[SampledRecord]:
        return [row for batch in self.journal.entries for row in batch.rows]


def run_request(
    request: Request,
    engine: Engine,
    partial: SampledBatches,
    *,
    batches: Sequence[Sequence[int]] | None = None,
    quiet: bool = False,
) -> None:
    """Finish the batches that `partial` does not hold yet, adding each to it.

    An interruption loses at most the batch in progress. A run that was continued gives the same
    bits as an unbroken one, on the same machine, because the batches are the same.

    Args:
        batches: those to finish, of the request's; all of them where None.
        quiet: no estimate and no progress bar.
    """
    held = {row.record for row in partial.rows}
    wanted = request.batches() if batches is None else batches
    batches = [batch for batch in wanted if batch[0] not in held]
    if not batches:
        return
    rows = [[request.rows[record] for record in batch] for batch in batches]
    work = [planned_calls(engine, each, request.settings) for each in rows]
    if not quiet:
        print_estimate(engine.predictor, rows, work)
    acceptance = Acceptance(request.unique)
    acceptance.remember(partial.rows)
    widths = [width_of(engine.predictor, each) for each in rows]
    # By tokens: batches stand in the order of their lengths, and calls of the last cost most.
    tokens = [calls * width for calls, width in zip(work, widths, strict=True)]
    with nullcontext(float) if quiet else progress_bar("Generating", sum(tokens)) as show:
        engine.meter.show = show
        done = 0
        for batch, planned, width in zip(batches, tokens, widths, strict=True):
            engine.meter.start_batch(done, width)
            started = time.perf_counter()
            finished = draw_batch(request, engine, batch, acceptance)
            partial.journal.append(FinishedBatch(time.perf_counter() - started, finished))
            done += planned


def resolve_duplicates(
    request: Request, engine: Engine, finished: Sequence[SampledRecord]
) -> list[SampledRecord]:
    """Return records that did not see each other, as they are where each must be `unique`.

    A batch in which a sequence equals that of a lower record is drawn again as one process would
    have drawn it, knowing all before it; so the result does not depend on who drew what.
    """
    settled = {row.record: row for row in finished}
    acceptance = Acceptance(request.unique)
    for batch in request.batches():
        rows = [settled[record] for record in batch]
        taken = [tuple(row.ids) for row in rows if row.failure is None]
        if request.unique and (len({*taken}) < len(taken) or acceptance.taken & {*taken}):
            rows = draw_batch(request, engine, batch, acceptance)
        else:
            acceptance.remember(rows)
        settled |= {row.record: row for row in rows}
    return [settled[record] for record in sorted(settled)]


def draw_batch(
    request: Request, engine: Engine, batch: Sequence[int], acceptance: Acceptance
) -> list[SampledRecord]:
    """Draw the records of a batch, given by increasing numbers, and those refused again."""
    tries: list[list[SampledRecord]] = [[] for _ in batch]
    pending = list(range(len(batch)))
    while pending:
        rows = [request.rows[batch[i]] for i in pending]
        keys = [batch[i] + TRY_STRIDE * len(tries[i]) for i in pending]
        forbidden = [request.forbidden[batch[i]] for i in pending] if request.forbidden else ()
        filled = engine.fill(rows, keys, request.settings, forbidden)
        for i, drawn in zip(pending, filled, strict=True):
            tries[i].append(drawn)
        finished = _choose_all(request, batch, tries, acceptance.taken)
        pending = [i for i, each in enumerate(finished) if _may_try_again(each)]
    acceptance.remember(finished)
    return finished


def _may_try_again(finished: SampledRecord) -> bool:
    failed = finished.failure not in (None, OUT_OF_MEMORY)
    return failed and finished.tries < MAX_TRIES


def _choose_all(
    request: Request,
    batch: Sequence[int],
    tries: Sequence[Sequence[SampledRecord]],
    taken: set[tuple[int, ...]],
) -> list[SampledRecord]:
    """Choose a try for each record, lower numbers first."""
    taken = set(taken)
    finished = []
    for record, each in zip(batch, tries, strict=True):
        chosen = _choose(record, each, request.rule, taken)
        if request.unique and chosen.failure is None:
            taken.add(tuple(chosen.ids))
        finished.append(chosen)
    return finished


def _choose(
    record: int, tries: Sequence[SampledRecord], rule: Rule, taken: set[tuple[int, ...]]
) -> SampledRecord:
    """Return the first acceptable try, else the last with its failure; calls are of all tries."""

    def failure(drawn: SampledRecord) -> str | None:
        same = "the same as another" if tuple(drawn.ids) in taken else None
        return drawn.failure or same or rule(record, drawn.ids)

    place = next((i for i, drawn in enumerate(tries) if not failure(drawn)), len(tries) - 1)
    return replace(
        tries[place],
        record=record,
        denoiser_calls=sum(drawn.denoiser_calls for drawn in tries),
        discriminator_calls=sum(drawn.discriminator_calls for drawn in tries),
        head_passes=sum(drawn.head_passes for drawn in tries),
        guide_calls=sum(drawn.guide_calls for drawn in tries),
        tries=place + 1,
        failure=failure(tries[place]),
    )
