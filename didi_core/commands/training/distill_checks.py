"""What is wrong with the settings of a distillation, and whether a teacher goes with them."""

from pathlib import Path

from didi_core.commands.training.run_folder import run_problems
from didi_core.commands.training.settings import DistillSettings
from didi_core.diffusion.process import DEFAULT_PROCESS, IN_WORDS, article_of
from didi_core.distill.joint_head import ENTRY as HEAD_ENTRY
from didi_core.distill.method import SharedSettings
from didi_core.distill.registry import METHODS
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.number_checks import negative_errors, positive_int_errors, seed_errors, too_many
from didi_core.sampling.folder_defaults import PLAIN_SAMPLER
from didi_core.sampling.registry import SAMPLERS
from didi_core.sampling.sampler_options import split_name

_SETTINGS = ("method=", "teacher=")
_COUNTS = ("steps", "tokens_per_batch", "pool_size", "max_length", "devices", "checkpoints_kept")


def distill_problems(
    settings: DistillSettings, method: str, shared: SharedSettings, sampler: str | None
) -> list[str]:
    """Return what is wrong with the settings.

    Args:
        method: its name.
        shared: the settings that all methods have.
        sampler: what the student's folder names; None: the plain one.
    """
    wrong = []
    if settings.reference not in ("data", "pool"):
        wrong.append(f"reference={settings.reference} must be data or pool")
    if settings.reference == "data" and not settings.data:
        wrong.append("reference=data needs data=FILE (or reference=pool, which needs no data)")
    wrong += positive_int_errors(settings, *_COUNTS)
    counts = ("pool_size", "pool_steps", "tokens_per_batch")
    large = (too_many(name, getattr(settings, name) or 1, f"{name}=") for name in counts)
    wrong += [each for each in large if each]
    if settings.joint_head:
        wrong += _joint_head_problems(method, sampler)
    wrong += negative_errors(settings, "max_seconds") + seed_errors(settings.seed, "seed=")
    if settings.pool_steps is not None and settings.pool_steps < 1:
        wrong.append(f"pool_steps={settings.pool_steps} must be at least 1, or null for the limit")
    if 1 <= settings.steps < (rounds := shared.rounds):
        wrong.append(
            f"steps={settings.steps} must be at least method.rounds={rounds}, or lower that"
        )
    return wrong + run_problems(settings)


def _joint_head_problems(method: str, sampler: str | None) -> list[str]:
    """Return why a method takes no joint head, or a sampler does not read it."""
    wrong = []
    if METHODS[method].process != DEFAULT_PROCESS:
        wrong.append(f"joint_head=true is for masked teachers, not for method={method}")
    name = split_name(sampler or PLAIN_SAMPLER)[0]
    known = SAMPLERS.get(name)  # a method's own check refuses others
    if known is not None and not known.reads_joint_head:
        wrong.append(
            f"joint_head=true is not read by {name}, which would draw this student: leave it "
            "out, or give another method.sampler"
        )
    if method == HEAD_ENTRY.name:
        wrong.append(f"method={method} trains a joint head: leave joint_head=true out")
    return wrong


def check_process(method: str, teacher: LoadedModel, flags: tuple[str, str] = _SETTINGS) -> None:
    """Raise UserError unless `method` distils models of the teacher's process.

    Args:
        flags: how the method and the teacher are given, up to their values.
    """
    method_flag, teacher_flag = flags
    wanted = METHODS[method].process
    if teacher.process != wanted:
        fitting = [name for name, each in METHODS.items() if each.process == teacher.process]
        kind = article_of(teacher.process)
        raise UserError(
            f"{method_flag}{method} distils {IN_WORDS[wanted]} models, and "
            f"{teacher_flag}{teacher.name} is {kind} one: take another teacher"
            + (f", or {method_flag}{' or '.join(fitting)}." if fitting else ".")
        )


def check_apart(settings: DistillSettings, teacher: LoadedModel) -> None:
    """Raise UserError where the run would put its student in the teacher's place."""
    out = Path(settings.out)
    if settings.overwrite and teacher.folder.resolve() == out.resolve():
        raise UserError(
            f"overwrite=true would remove the teacher, which is in out={out}: choose another out=."
        )
