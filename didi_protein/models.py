"""Open the model that `--model` or `teacher=` names: bundled, a folder, or a hub id."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import torch

from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel, load_denoiser
from didi_protein.alphabet import PROTEIN

BUNDLED = ("tiny", "tiny-student")
"""Denoisers that ship in the package."""
BUNDLED_JUDGE = "tiny-judge"


def bundled_folder(name: str) -> Path:
    """The folder of a bundled model, judge included."""
    return Path(str(files("didi_protein") / "_models" / name))


def open_model(
    name_or_path: str | Path,
    device: torch.device | str = "cpu",
    *,
    offline: bool = False,
    dtype: torch.dtype = torch.float32,
) -> LoadedModel:
    """Open a denoiser over proteins; bundled names come first.

    Raises:
        UserError: the name is a judge, or see `didi_core.models.folder.load_denoiser`.
    """
    name = str(name_or_path)
    if name == BUNDLED_JUDGE:
        raise UserError(f"{name} judges sequences and cannot generate: --model takes a denoiser.")
    loaded = load_denoiser(
        bundled_folder(name) if name in BUNDLED else name,
        device=device,
        dtype=dtype,
        offline=offline,
        default_vocabulary=PROTEIN,
    )
    return replace(loaded, name=name)
