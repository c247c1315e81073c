"""The model folder that `distill` ends in."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from didi_core.diffusion.process import DEFAULT_PROCESS
from didi_core.models.discriminator import save_discriminator
from didi_core.models.folder import LoadedModel, save_model_folder
from didi_core.models.noise import without_noise
from didi_core.models.noise_file import save_noise


def save_student(
    folder: Path,
    result: nn.Module,
    discriminator: nn.Module | None,
    teacher: LoadedModel,
    card: str,
    facts: Mapping[str, Any],
    write_tokenizer: Callable[[Path], None] | None,
) -> None:
    """Student, noise input and discriminator, each where there is one; `config.json` is last.

    An earlier one goes first, and so does a discriminator that is not the student's own: a kill
    leaves no folder that could be opened with files of two students.

    Args:
        result: the student, under its noise input where it has one.
        facts: what `config.json` says of the method, beside what the networks say.
    """
    own: dict[str, Any] = {"teacher": teacher.name, **facts}
    if teacher.process != DEFAULT_PROCESS:
        own["process"] = teacher.process
    (folder / "config.json").unlink(missing_ok=True)
    judge = folder / "discriminator.safetensors"
    if discriminator is None:
        judge.unlink(missing_ok=True)
    else:
        save_discriminator(discriminator, judge)
    student, noise = without_noise(result)
    if noise is not None:
        own["noise"] = noise.kind
    save_noise(noise, folder)
    save_model_folder(
        folder,
        student,
        teacher.vocabulary,
        card=card,
        extra_config={"didi": own},
        write_tokenizer=write_tokenizer,
    )
