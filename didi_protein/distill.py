"""`didi-protein distill`: a student that needs few network calls, from a teacher that needs many.

didi-protein distill teacher=tiny method=dmmd reference=pool out=runs/student steps=500
"""

from pathlib import Path

from didi_core.commands.training import distill as training
from didi_protein.domain import TRAINING
from didi_protein.settings import DistillSettings


def distill(settings: DistillSettings) -> Path:
    """Distil `settings.teacher` and save the student as a model folder in `settings.out`.

    Returns:
        The folder.

    Raises:
        UserError: an output that exists, an unknown method or setting, or unreadable input.
    """
    return training.distill(settings, TRAINING)
