"""The teacher's own samples that `distill reference=pool` starts from."""

import hashlib
from pathlib import Path

from lightning.fabric import Fabric

from didi_core.commands.distill_settings import DistillSettings
from didi_core.corpus import Corpus
from didi_core.distill.pool import POOL_RECORDS, teacher_pool
from didi_core.models.fingerprint import weights_digest
from didi_core.models.folder import LoadedModel

POOL_BATCH_TOKENS = 16_384


def shared_pool(
    teacher: LoadedModel, lengths: list[int], settings: DistillSettings, where: Path, fabric: Fabric
) -> Corpus:
    """Samples of these lengths, framing left out; each process makes its share and reads all.

    Args:
        where: folder of all pools of the run; parts that are there are kept.
    """
    # Everything that decides the samples: parts of another pool must never be taken for ours.
    decided = (
        weights_digest(teacher.denoiser),
        settings.pool_steps,
        settings.seed,
        lengths,
        POOL_RECORDS,
    )
    key = hashlib.sha256(repr((*decided, settings.precision)).encode()).hexdigest()[:16]
    opened_on = next(teacher.denoiser.parameters()).device
    teacher.denoiser.to(fabric.device)
    with fabric.autocast():
        pool = teacher_pool(
            teacher,
            lengths,
            settings.pool_steps,
            settings.seed,
            POOL_BATCH_TOKENS,
            where / key,
            (fabric.global_rank, fabric.world_size),
            fabric.barrier,
        )
    teacher.denoiser.to(opened_on)
    return pool
