"""`didi-protein distill`: a student that needs few network calls, from a teacher that needs many.

didi-protein distill teacher=tiny method=dmmd reference=pool out=runs/student steps=500
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric

from didi_core.cli import check_output
from didi_core.corpus import Corpus
from didi_core.distill.method import Method
from didi_core.distill.pool import teacher_pool
from didi_core.distill.reference import GroupedReference
from didi_core.distill.registry import METHODS, method_settings
from didi_core.errors import UserError
from didi_core.models.discriminator import save_discriminator
from didi_core.models.fingerprint import weights_digest
from didi_core.models.folder import LoadedModel, save_model_folder
from didi_core.sampling.predictor import Predictor
from didi_core.training.devices import build_fabric
from didi_core.training.loop import LoopSettings, train
from didi_protein.distill_settings import DistillSettings
from didi_protein.lengths import design_lengths
from didi_protein.model_card import student_card
from didi_protein.models import open_model
from didi_protein.pretrain import start_run
from didi_protein.training_data import load_corpus

POOL_BATCH_TOKENS = 16_384


def distill(settings: DistillSettings) -> Path:
    """Distil `settings.teacher` and save the student as a model folder in `settings.out`.

    Returns:
        The folder.

    Raises:
        UserError: an output that exists, an unknown method or setting, or unreadable input.
    """
    name, chosen = check_settings(settings)
    folder = Path(settings.out)
    check_output(folder, resume=settings.resume, overwrite=settings.overwrite, flag="out=")
    fabric = build_fabric(settings.device, settings.precision, settings.devices)
    teacher = open_model(settings.teacher, device=fabric.device, offline=settings.offline)
    if settings.reference == "data":
        corpus = load_corpus(str(settings.data))
    start_run(folder, "distill", settings, fabric)
    if settings.reference == "pool":
        corpus = build_pool(settings, teacher, folder, fabric)
    reference = GroupedReference(
        corpus,
        teacher.vocabulary,
        getattr(chosen, "group_size", 1),
        settings.tokens_per_batch,
        _longest(settings, teacher),
        settings.seed,
    )
    build = METHODS[name].build
    method = build(teacher.denoiser, teacher.vocabulary, reference, chosen, settings.seed)
    loop = LoopSettings(
        steps=settings.steps,
        log_every=settings.log_every,
        checkpoint_every=settings.checkpoint_every,
        max_seconds=settings.max_seconds,
    )
    done = train(method, loop, folder, fabric, validate=None)
    if fabric.is_global_zero:
        own = {"teacher": teacher.name, "method": name}
        if exponent := getattr(chosen, "reveal_exponent", None):
            own["reveal_exponent"] = exponent
        card = student_card(settings, name, done, len(corpus))
        save_student(folder, method, teacher, card, own)
        print(f"The student is in {folder}.", file=sys.stderr)
    return folder


def check_settings(settings: DistillSettings) -> tuple[str, Any]:
    """Everything wrong with the settings at once; the method's name and typed settings."""
    name, chosen = method_settings(settings.method)
    wrong = []
    if settings.reference not in ("data", "pool"):
        wrong.append(f"reference={settings.reference} must be data or pool")
    if settings.reference == "data" and not settings.data:
        wrong.append("reference=data needs data=FILE (or reference=pool, which needs no data)")
    for key in ("steps", "tokens_per_batch", "pool_size", "max_length", "devices"):
        if getattr(settings, key) < 1:
            wrong.append(f"{key}={getattr(settings, key)} must be at least 1")
    if settings.pool_steps is not None and settings.pool_steps < 1:
        wrong.append(f"pool_steps={settings.pool_steps} must be at least 1, or null for the limit")
    if getattr(chosen, "kl_kind", "jeffreys") not in ("forward", "backward", "jeffreys"):
        wrong.append(f"method.kl_kind={chosen.kl_kind} must be forward, backward or jeffreys")
    if getattr(chosen, "reduce_log_prob", "mean") not in ("mean", "sum"):
        wrong.append(f"method.reduce_log_prob={chosen.reduce_log_prob} must be mean or sum")
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    return name, chosen


def _longest(settings: DistillSettings, teacher: LoadedModel) -> int:
    framing = teacher.vocabulary.num_special_per_sequence
    return min(settings.max_length, teacher.denoiser.settings.max_tokens - framing)


def build_pool(
    settings: DistillSettings, teacher: LoadedModel, folder: Path, fabric: Fabric
) -> Corpus:
    """The teacher's own samples; made by the first process and read by all."""
    lengths = design_lengths(
        settings.pool_length, settings.pool_size, settings.seed, _longest(settings, teacher)
    )
    predictor = Predictor(teacher.denoiser, teacher.vocabulary)
    # Everything that decides the samples: parts of another pool must never be taken for ours.
    decided = (weights_digest(teacher.denoiser), settings.pool_steps, settings.seed, lengths)
    key = hashlib.sha256(repr((*decided, settings.precision)).encode()).hexdigest()[:16]
    where = folder / "pool" / key
    with fabric.rank_zero_first(), fabric.autocast():
        return teacher_pool(
            predictor, lengths, settings.pool_steps, settings.seed, POOL_BATCH_TOKENS, where
        )


def save_student(
    folder: Path, method: Method, teacher: LoadedModel, card: str, own: dict[str, Any]
) -> None:
    """The model folder, and the discriminator's weights where the method has one."""
    discriminator = getattr(method, "discriminator", None)
    if discriminator is not None:
        save_discriminator(discriminator.module, folder / "discriminator.safetensors")
    student = method.result()
    extra = {"didi": own}
    save_model_folder(folder, student, teacher.vocabulary, card=card, extra_config=extra)
