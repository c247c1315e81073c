"""`didi-protein distill`: a student that needs few network calls, from a teacher that needs many.

didi-protein distill teacher=tiny method=dmmd reference=pool out=runs/student steps=500
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch

from didi_core.commands.training.distill import DistillRun
from didi_core.data.corpus import Corpus
from didi_core.models.folder import LoadedModel
from didi_protein.models.load import open_model
from didi_protein.sequences.lengths import design_lengths
from didi_protein.sequences.training_data import load_corpus
from didi_protein.settings import DistillSettings


def distill(settings: DistillSettings) -> Path:
    """Distil `settings.teacher` and save the student as a model folder in `settings.out`.

    Returns:
        The folder.

    Raises:
        UserError: an output that exists, an unknown method or setting, or unreadable input.
    """
    return ProteinDistillRun(settings).run()


class ProteinDistillRun(DistillRun[DistillSettings]):
    """Distillation of a diffusion protein language model."""

    program = "didi-protein"
    rows = "sequences"
    tags = ("protein", "masked-diffusion")
    descriptions: ClassVar[Mapping[str, str]] = {
        "masked": "A few-step student of a masked-diffusion protein language model. Sample it with "
        "`didi-protein generate --model FOLDER --steps 8`; `transformers.AutoModelForMaskedLM` "
        "opens it as well.",
        "uniform": "A few-step student of a uniform-state diffusion protein language model. Sample "
        "it with `didi-protein generate --model FOLDER --steps 8`.",
    }

    def open_teacher(self, device: torch.device) -> LoadedModel:
        offline = self.settings.offline
        return open_model(self.settings.teacher, device=device, offline=offline, flag="teacher=")

    def load_corpus(self, teacher: LoadedModel) -> Corpus:
        del teacher  # all protein models share their tokens
        return load_corpus(str(self.settings.data))

    def pool_lengths(self, limit: int) -> list[int]:
        settings = self.settings
        return design_lengths(settings.pool_length, settings.pool_size, settings.seed, limit)
