"""The teacher's own samples as reference, where there are no data."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from lightning.fabric import Fabric

from didi_core.commands.generating.domain import length_warning
from didi_core.commands.training.settings import DistillSettings
from didi_core.data.corpus import Corpus
from didi_core.distill.pool import POOL_RECORDS, teacher_pool
from didi_core.models.fingerprint import weights_digest
from didi_core.models.folder import LoadedModel
from didi_core.progress import say_once

POOL_BATCH_TOKENS = 16_384
"""Most tokens of a batch."""


def draw_pool(
    teacher: LoadedModel,
    lengths: Sequence[int],
    settings: DistillSettings,
    unit: str,
    fabric: Fabric,
) -> Corpus:
    """Draw the teacher's own samples; each process makes its share and reads all.

    Parts of the same pool that are in the run's folder already are kept.

    Args:
        lengths: of the samples, framing left out.
        unit: what a token is called.
    """
    asked = "pool_length= (reference=pool)"
    warning = length_warning(asked, lengths, teacher, "sample", unit)
    if warning is not None and fabric.is_global_zero:
        say_once(warning)
    # Everything that decides the samples: parts of another pool must never be taken for ours.
    decided = (
        weights_digest(teacher.denoiser),
        settings.pool_steps,
        settings.seed,
        lengths,
        POOL_RECORDS,
        settings.precision,
    )
    key = hashlib.sha256(repr(decided).encode()).hexdigest()[:16]
    opened_on = next(teacher.denoiser.parameters()).device
    teacher.denoiser.to(fabric.device)
    with fabric.autocast():
        pool = teacher_pool(
            teacher,
            lengths,
            settings.pool_steps,
            settings.seed,
            POOL_BATCH_TOKENS,
            Path(settings.out) / "pool" / key,
            (fabric.global_rank, fabric.world_size),
            fabric.barrier,
        )
    teacher.denoiser.to(opened_on)
    return pool
