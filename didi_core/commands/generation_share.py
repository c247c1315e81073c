"""The sampling of `generate`, by one process or by several that torchrun started."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from didi_core.commands.output_files import OutputFiles
from didi_core.commands.processes import Processes
from didi_core.commands.sampling_options import SamplingOptions
from didi_core.sampling.redraw import Finished
from didi_core.sampling.run_request import Engine, Request, run_request, settle


@dataclass(frozen=True)
class Sampled:
    """What came of a request, or of a process's share of it."""

    rows: Sequence[Finished]
    """In record order: all of the shard's on the first process, none on the others."""
    seconds: float
    """Wall-clock time of the longest part."""


def sample_share(
    request: Request,
    engine: Engine,
    files: OutputFiles,
    decided: Mapping[str, Any],
    options: SamplingOptions,
    processes: Processes,
) -> Sampled:
    """Finish this process's share of the batches, and gather all on the first process.

    Batches that any process finished before are not made again, so that a run may be continued by
    another number of processes.

    Raises:
        UserError: work in progress that was made with other settings.
    """
    if processes.is_first and not options.resume:
        files.forget_partials()
    processes.wait()
    others = files.read_others(decided, processes.rank)
    own = files.open_partial(decided, resume=options.resume, rank=processes.rank)
    processes.wait()  # all have read what there was before any adds to it
    # Who does not see all others cannot tell what is unique.
    apart = processes.count > 1 or bool(others)
    held = {row.record for part in others for row in part.rows}
    share = [batch for batch in processes.share(request.batches()) if batch[0] not in held]
    part = replace(request, unique=request.unique and not apart)
    quiet = options.quiet or not processes.is_first
    run_request(part, engine, own, batches=share, quiet=quiet)
    parts = processes.collect(own)
    if parts is None:
        return Sampled([], own.seconds)
    every = {each.path: each for each in (*others, *parts)}.values()
    rows = {row.record: row for each in every for row in each.rows}
    finished = [rows[record] for record in sorted(rows)]
    finished = settle(request, engine, finished) if apart else finished
    return Sampled(finished, max(each.seconds for each in every))
