"""A pool of the teacher's own samples: the reference of data-free distillation.

Written in parts, one file a batch, so that an interrupted pool is continued, not begun again.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import torch

from didi_core.data.batches import pad_batch
from didi_core.data.corpus import Corpus
from didi_core.diffusion.process import DEFAULT_PROCESS, article_of
from didi_core.errors import UserError
from didi_core.io.files import write_json
from didi_core.models.folder import LoadedModel
from didi_core.progress import progress_bar
from didi_core.sampling.ancestral import first_hitting
from didi_core.sampling.batching import plan_batches
from didi_core.sampling.filling import Engine, build_engine, planned_calls
from didi_core.sampling.folder_defaults import plain_sampler
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, SampleSettings
from didi_core.sampling.time_estimate import print_estimate, width_of

POOL_RECORDS = 1 << 48
"""Record keys of a pool start here, past those of designs and of their further tries, so that its
random numbers are its own."""


def check_pool_steps(process: str, steps: int | None, flag: str = "pool_steps=") -> None:
    """Raise UserError where a teacher of this process has no limit, which `steps` None asks for.

    Args:
        flag: how the steps are given, up to their value.
    """
    if process != DEFAULT_PROCESS and steps is None:
        kind = article_of(process)
        raise UserError(
            f"reference=pool: {kind} teacher has no exact limit as masked ones have; give its "
            f"samples a number of steps, as in {flag}256."
        )


def teacher_pool(
    teacher: LoadedModel,
    lengths: Sequence[int],
    steps: int | None,
    seed: int,
    batch_tokens: int,
    folder: Path,
    share: tuple[int, int] = (0, 1),
    wait: Callable[[], object] = bool,
) -> Corpus:
    """Return samples of the given lengths, from the parts in `folder` where they exist.

    Args:
        lengths: unframed length of each sample.
        steps: of the plain sampler of the teacher's process; None for first-hitting, a masked
            teacher's exact limit.
        share: number of this process and of all: each makes every n-th part.
        wait: returns when all processes have called it.

    Raises:
        UserError: `steps` is None, and the teacher has no such limit.
    """
    check_pool_steps(teacher.process, steps)
    predictor, vocabulary = Predictor(teacher.denoiser, teacher.vocabulary), teacher.vocabulary
    framing = vocabulary.num_special_per_sequence
    batches = plan_batches([length + framing for length in lengths], batch_tokens)
    kind = plain_sampler(teacher.process)
    engine = build_engine(
        predictor,
        lambda used: (
            first_hitting(cast(Predictor, used)) if steps is None else kind.build(used, teacher, {})
        ),
    )
    settings = SampleSettings(steps=steps, seed=seed)
    rank, processes = share
    missing = {
        _part(folder, number): records
        for number, records in list(enumerate(batches))[rank::processes]
        if not _part(folder, number).exists()
    }
    blank = [vocabulary.frame([vocabulary.mask_id] * length) for length in lengths]
    rows = [[blank[record] for record in records] for records in missing.values()]
    work = [planned_calls(engine, each, settings) for each in rows]
    watched = rank == 0 and bool(missing)
    if watched:
        print_estimate(engine.predictor, rows, work)
    widths = [width_of(engine.predictor, each) for each in rows]
    tokens = [calls * width for calls, width in zip(work, widths, strict=True)]
    bar = progress_bar("Sampling the teacher", sum(tokens)) if watched else nullcontext(float)
    done = 0
    with bar as show:
        engine.meter.show = show
        for number, (path, records) in enumerate(missing.items()):
            engine.meter.start_batch(done, widths[number])
            write_json(path, _sampled(engine, rows[number], records, settings))
            done += tokens[number]
    wait()
    parts = [_part(folder, number) for number in range(len(batches))]
    return Corpus.from_ids([row for part in parts for row in json.loads(part.read_text("utf-8"))])


def _sampled(
    engine: Engine,
    masked: Sequence[Sequence[int]],
    records: Sequence[int],
    settings: SampleSettings,
) -> list[list[int]]:
    """Return the ids of the samples of one part, framing left out."""
    batch = pad_batch(masked, engine.vocabulary).to(engine.device)
    keys = torch.tensor(records, device=engine.device) + POOL_RECORDS
    sampled = engine.sampler.sample(Prior(batch, keys), settings)
    rows = zip(sampled.tokens.tolist(), batch.maskable.tolist(), strict=True)
    return [[t for t, keep in zip(*row, strict=True) if keep] for row in rows]


def _part(folder: Path, number: int) -> Path:
    return folder / f"part_{number:05d}.json"
