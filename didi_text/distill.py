"""`didi-text distill`: a student that needs few network calls, from a teacher that needs many.

didi-text distill teacher=runs/teacher method=dmmd reference=pool out=runs/student steps=500
"""

from dataclasses import replace
from pathlib import Path

from didi_core.commands.training import distill as training
from didi_core.errors import UserError
from didi_text.domain import TRAINING
from didi_text.settings import DistillSettings


def distill(settings: DistillSettings) -> Path:
    """Distil `settings.teacher` and save the student as a model folder in `settings.out`.

    Returns:
        The folder.

    Raises:
        UserError: an output that exists, an unknown method or setting, or unreadable input.
    """
    return training.distill(in_one_name(settings), TRAINING)


def in_one_name(settings: DistillSettings) -> DistillSettings:
    """Return the settings with `block_length`, as `pretrain` has it, in `max_length`.

    Raises:
        UserError: both are given, and differ.
    """
    block, longest = settings.block_length, settings.max_length
    if block is None:
        return settings
    if longest not in (block, DistillSettings.max_length):
        raise UserError(
            f"block_length={block} and max_length={longest} are one setting: give block_length "
            "alone."
        )
    return replace(settings, max_length=block, block_length=None)
