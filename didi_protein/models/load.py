"""Open the model that `--model` or `teacher=` names: bundled, a folder, or a hub id."""

from dataclasses import replace
from pathlib import Path

import torch

from didi_core.io.files import at_home
from didi_core.models.bundled import BundledModels
from didi_core.models.folder import LoadedModel, load_denoiser
from didi_core.models.named import find_denoiser
from didi_protein.sequences.alphabet import PROTEIN

BUNDLED_MODELS = BundledModels("didi_protein")


def open_model(
    name_or_path: str | Path,
    device: torch.device | str = "cpu",
    *,
    offline: bool = False,
    dtype: torch.dtype = torch.float32,
    flag: str = "--model",
) -> LoadedModel:
    """Open a denoiser over proteins; bundled names come first.

    Args:
        flag: what messages call the name: the flag or key it came from.

    Raises:
        UserError: the model is autoregressive, or see `didi_core.models.folder.load_denoiser`.
    """
    name = str(name_or_path)
    is_file = Path(at_home(name)).is_file()  # a training checkpoint
    loaded = load_denoiser(
        name if is_file else find_denoiser(BUNDLED_MODELS, name, offline=offline, flag=flag),
        device=device,
        dtype=dtype,
        offline=offline,
        default_vocabulary=PROTEIN,
    )
    return replace(loaded, name=name)
