"""Run a request: every record through the sampler, batch after batch, saved as it goes.

Knows nothing of what the tokens mean: a front-end makes the rows and writes the results.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from didi_core.data.vocabulary import Vocabulary
from didi_core.io.journal import Journal
from didi_core.io.shards import Shard
from didi_core.progress import progress_bar
from didi_core.sampling.batching import plan_batches, shard_of
from didi_core.sampling.filling import Filler
from didi_core.sampling.predictor import AnyPredictor
from didi_core.sampling.rejection import (
    Acceptance,
    Rule,
    SampledRecord,
    accept_all,
    draw_batch,
)
from didi_core.sampling.request import Sampler, SampleSettings
from didi_core.sampling.time_estimate import print_estimate


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

    def batches(self) -> list[list[int]]:
        """Record numbers of this shard's batches. The plan is that of the whole request."""
        plan = plan_batches([len(row) for row in self.rows], self.batch_tokens)
        return shard_of(plan, self.shard.index, self.shard.count)


@dataclass
class CallMeter:
    """Rows that went through the network, for the progress bar."""

    rows: int = 0
    show: Callable[[float], object] = float  # nothing is shown

    def __call__(self, rows: int) -> None:
        self.rows += rows
        self.show(self.rows)


@dataclass(frozen=True)
class Engine:
    """A sampler and the network behind it."""

    sampler: Sampler
    predictor: AnyPredictor
    meter: CallMeter

    @property
    def vocabulary(self) -> Vocabulary:
        return self.predictor.vocabulary

    @property
    def device(self) -> torch.device:
        return self.predictor.device


def build_engine(predictor: AnyPredictor, build: Callable[[AnyPredictor], Sampler]) -> Engine:
    """An engine whose progress can be watched.

    Args:
        build: makes the sampler from the predictor it is to use.
    """
    meter = CallMeter()
    return Engine(build(replace(predictor, on_call=meter)), predictor, meter)


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
    acceptance = Acceptance(request.rule, request.unique)
    acceptance.remember(partial.rows)
    filler = Filler(engine.sampler, request.settings, engine.vocabulary, engine.device)
    with nullcontext(float) if quiet else progress_bar("Generating", sum(work)) as show:
        engine.meter.show = show
        done = 0
        for batch, planned in zip(batches, work, strict=True):
            engine.meter.rows = done
            started = time.perf_counter()
            finished = draw_batch(filler, batch, [request.rows[i] for i in batch], acceptance)
            partial.journal.append(FinishedBatch(time.perf_counter() - started, finished))
            done += planned


def resolve_duplicates(
    request: Request, engine: Engine, finished: Sequence[SampledRecord]
) -> list[SampledRecord]:
    """Records that did not see each other, as they are where each must be `unique`.

    A batch in which a sequence equals that of a lower record is drawn again as one process would
    have drawn it, knowing all before it; so the result does not depend on who drew what.
    """
    settled = {row.record: row for row in finished}
    acceptance = Acceptance(request.rule, request.unique)
    filler = Filler(engine.sampler, request.settings, engine.vocabulary, engine.device)
    for batch in request.batches():
        rows = [settled[record] for record in batch]
        taken = [tuple(row.ids) for row in rows if row.failure is None]
        if request.unique and (len({*taken}) < len(taken) or acceptance.taken & {*taken}):
            rows = draw_batch(filler, batch, [request.rows[i] for i in batch], acceptance)
        else:
            acceptance.remember(rows)
        settled |= {row.record: row for row in rows}
    return [settled[record] for record in sorted(settled)]


def planned_calls(engine: Engine, rows: Sequence[Sequence[int]], settings: SampleSettings) -> int:
    """Return the calls that rows need together at most, without redraws."""
    mask = engine.vocabulary.mask_id
    free = [list(row).count(mask) for row in rows]
    return sum(engine.sampler.num_steps(count, settings) for count in free)
