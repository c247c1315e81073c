"""A pool of the teacher's own samples: the reference of data-free distillation.

Written in parts, one file a batch, so that an interrupted pool is continued, not begun again.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.progress import track

from didi_core.batches import pad_batch
from didi_core.corpus import Corpus
from didi_core.diffusion.process import DEFAULT_PROCESS, article_of
from didi_core.errors import UserError
from didi_core.files import write_json
from didi_core.models.folder import LoadedModel
from didi_core.sampling.ancestral import first_hitting
from didi_core.sampling.batching import plan_batches
from didi_core.sampling.folder_defaults import plain_sampler
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, SampleSettings
from didi_core.terminal import error_console

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
    """Samples of the given lengths, from the parts in `folder` where they exist.

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
    make = first_hitting(predictor) if steps is None else kind.build(predictor, teacher, {})
    settings = SampleSettings(steps=steps, seed=seed)
    console = error_console()
    rank, processes = share
    own = list(enumerate(batches))[rank::processes]
    described = track(
        own,
        description="teacher samples",
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    for number, records in described:
        path = _part(folder, number)
        if not path.exists():
            masked = [vocabulary.frame([vocabulary.mask_id] * lengths[r]) for r in records]
            batch = pad_batch(masked, vocabulary).to(predictor.device)
            keys = torch.tensor(records, device=predictor.device) + POOL_RECORDS
            sampled = make.sample(Prior(batch, keys), settings)
            rows = zip(sampled.tokens.tolist(), batch.maskable.tolist(), strict=True)
            write_json(path, [[t for t, keep in zip(*row, strict=True) if keep] for row in rows])
    wait()
    parts = [_part(folder, number) for number in range(len(batches))]
    return Corpus.from_ids([row for part in parts for row in json.loads(part.read_text("utf-8"))])


def _part(folder: Path, number: int) -> Path:
    return folder / f"part_{number:05d}.json"
