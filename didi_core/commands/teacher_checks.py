"""Whether a teacher and the run that would distil it go together."""

from pathlib import Path

from didi_core.commands.distill_settings import DistillSettings
from didi_core.diffusion.process import IN_WORDS, article_of
from didi_core.distill.registry import METHODS
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel

_SETTINGS = ("method=", "teacher=")


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
