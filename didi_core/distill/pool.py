"""A pool of the teacher's own samples: the reference of data-free distillation.

Written in parts, one file a batch, so that an interrupted pool is continued, not begun again.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import track

from didi_core.batches import pad_batch
from didi_core.corpus import Corpus
from didi_core.diffusion.process import DEFAULT_PROCESS
from didi_core.errors import UserError
from didi_core.files import write_json
from didi_core.sampling.ancestral import ancestral, first_hitting
from didi_core.sampling.batching import plan_batches
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, SampleSettings
from didi_core.sampling.uniform import UniformSampler
from didi_core.terminal import error_console

POOL_RECORDS = 1 << 48
"""Record keys of a pool start here, past those of designs and of their further tries, so that its
random numbers are its own."""


def teacher_pool(
    predictor: Predictor,
    lengths: Sequence[int],
    steps: int | None,
    seed: int,
    batch_tokens: int,
    folder: Path,
    process: str = DEFAULT_PROCESS,
) -> Corpus:
    """Samples of the given lengths, from the parts in `folder` where they exist.

    Args:
        lengths: unframed length of each sample.
        steps: of the ancestral sampler; None for first-hitting, a masked teacher's exact limit.
        process: of the teacher.

    Raises:
        UserError: `steps` is None, and the teacher has no such limit.
    """
    if process == "uniform" and steps is None:
        raise UserError(
            "pool_steps=null is for masked teachers, which have an exact limit: give a "
            "uniform-state one a number of steps, as in pool_steps=256."
        )
    vocabulary = predictor.vocabulary
    framing = vocabulary.num_special_per_sequence
    batches = plan_batches([length + framing for length in lengths], batch_tokens)
    stepped = UniformSampler if process == "uniform" else ancestral
    make = first_hitting(predictor) if steps is None else stepped(predictor)
    settings = SampleSettings(steps=steps, seed=seed)
    console = error_console()
    sequences: list[list[int]] = []
    described = track(
        enumerate(batches),
        description="teacher samples",
        total=len(batches),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    for number, records in described:
        path = folder / f"part_{number:05d}.json"
        if not path.exists():
            masked = [vocabulary.frame([vocabulary.mask_id] * lengths[r]) for r in records]
            batch = pad_batch(masked, vocabulary).to(predictor.device)
            keys = torch.tensor(records, device=predictor.device) + POOL_RECORDS
            sampled = make.sample(Prior(batch, keys), settings)
            rows = zip(sampled.tokens.tolist(), batch.maskable.tolist(), strict=True)
            write_json(path, [[t for t, keep in zip(*row, strict=True) if keep] for row in rows])
        sequences += json.loads(path.read_text(encoding="utf-8"))
    return Corpus.from_ids(sequences)
