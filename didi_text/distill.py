"""`didi-text distill`: a student that needs few network calls, from a teacher that needs many.

didi-text distill teacher=runs/teacher method=dmmd reference=pool out=runs/student steps=500
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch

from didi_core.commands.generating.product import read_lengths
from didi_core.commands.training.distill import DistillRun
from didi_core.data.corpus import Corpus
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_text.corpora.documents import parse_licenses
from didi_text.corpora.load import load_corpus
from didi_text.corpora.packing import Packing
from didi_text.models.load import open_model, tokenizer_of
from didi_text.samples.prompts import WORDS
from didi_text.settings import DistillSettings


def distill(settings: DistillSettings) -> Path:
    """Distil `settings.teacher` and save the student as a model folder in `settings.out`.

    Returns:
        The folder.

    Raises:
        UserError: an output that exists, an unknown method or setting, or unreadable input.
    """
    return TextDistillRun(settings).run()


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


class TextDistillRun(DistillRun[DistillSettings]):
    """Distillation of a diffusion language model."""

    program = "didi-text"
    config_name = "text_distill"
    rows = "blocks"
    tags = ("text", "masked-diffusion")
    samplers: ClassVar[Mapping[str, str]] = {"dmmd": "apart"}
    descriptions: ClassVar[Mapping[str, str]] = {
        "masked": "A few-step student of a masked-diffusion language model. Sample it with "
        "`didi-text generate --model FOLDER --steps 8`.",
        "uniform": "A few-step student of a uniform-state diffusion language model. Sample it with "
        "`didi-text generate --model FOLDER --steps 8`.",
    }

    def __init__(self, settings: DistillSettings) -> None:
        super().__init__(in_one_name(settings))

    def open_teacher(self, device: torch.device) -> LoadedModel:
        offline = self.settings.offline
        return open_model(self.settings.teacher, device=device, offline=offline, flag="teacher=")

    def load_corpus(self, teacher: LoadedModel) -> Corpus:
        settings = self.settings
        return load_corpus(
            str(settings.data),
            tokenizer_of(teacher, offline=settings.offline),
            Packing(self.longest(teacher)),
            licenses=parse_licenses(settings.licenses),
            max_tokens=settings.data_tokens,
            stream=settings.stream,
            offline=settings.offline,
        )

    def pool_lengths(self, limit: int) -> list[int]:
        settings = self.settings
        if settings.pool_length is None:
            return [limit] * settings.pool_size
        return read_lengths(settings.pool_length, settings.pool_size, settings.seed, limit, WORDS)

    def tokenizer_writer(self, teacher: LoadedModel) -> Callable[[Path], None]:
        return tokenizer_of(teacher, offline=self.settings.offline).save
