"""The model folder that `distill` ends in."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from didi_core.diffusion.process import DEFAULT_PROCESS
from didi_core.models.folder import LoadedModel, save_model_folder
from didi_core.models.noise import without_noise
from didi_core.models.noise_file import save_noise
from didi_core.models.weight_files import EXTRA_FILES


def save_student(
    folder: Path,
    result: nn.Module,
    extras: Mapping[str, Callable[[Path], None]],
    teacher: LoadedModel,
    card: str,
    facts: Mapping[str, Any],
    write_tokenizer: Callable[[Path], None] | None,
) -> None:
    """Student, noise input and other weights, each where there are some; `config.json` is last.

    An earlier one goes first, and so do weights that are not the student's own: a kill leaves no
    folder that could be opened with files of two students.

    Args:
        result: the student, under its noise input where it has one.
        extras: what writes the method's files of weights, by their stems.
        facts: what `config.json` says of the method, beside what the networks say.
    """
    own: dict[str, Any] = {"teacher": teacher.name, **facts}
    if teacher.process != DEFAULT_PROCESS:
        own["process"] = teacher.process
    (folder / "config.json").unlink(missing_ok=True)
    for name in EXTRA_FILES:
        (folder / name).unlink(missing_ok=True)
    for name, write in extras.items():
        write(folder / f"{name}.safetensors")
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
