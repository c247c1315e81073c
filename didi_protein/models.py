"""Open the model that `--model` or `teacher=` names: bundled, a folder, or a hub id."""

from dataclasses import replace
from pathlib import Path

import torch

from didi_core.commands.unfinished import Runs, model_of_run
from didi_core.errors import as_written
from didi_core.files import at_home
from didi_core.models.bundled import BundledModels
from didi_core.models.folder import LoadedModel, load_denoiser
from didi_core.models.named import find_denoiser, find_model, is_causal
from didi_protein.alphabet import PROTEIN

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


def open_writer(
    name: str,
    device: torch.device | str = "cpu",
    *,
    offline: bool = False,
    dtype: torch.dtype = torch.float32,
    flag: str = "--model",
) -> LoadedModel:
    """Open any model that `generate` samples: a denoiser as above, or an autoregressive one.

    Raises:
        UserError: see `open_model` and `open_causal_model`.
    """
    if (of_run := model_of_run(name, _runs)) is not None:
        return replace(open_writer(str(of_run), device, offline=offline, dtype=dtype), name=name)
    if not Path(at_home(name)).is_file():  # a training checkpoint is never autoregressive
        folder = find_model(BUNDLED_MODELS, name, offline=offline, flag=flag)
        if is_causal(folder):
            from didi_protein.causal import open_causal_model  # transformers is slow to import

            opened = open_causal_model(folder, as_written(flag, name), device, dtype)
            return replace(opened, name=name)
    return open_model(name, device, offline=offline, dtype=dtype, flag=flag)


def _runs() -> Runs:
    from didi_protein.distill import ProteinDistillRun  # both open models by this module
    from didi_protein.distill_settings import DistillSettings
    from didi_protein.pretrain import ProteinPretrainRun
    from didi_protein.pretrain_settings import PretrainSettings

    return {
        "pretrain": (PretrainSettings, ProteinPretrainRun),
        "distill": (DistillSettings, ProteinDistillRun),
    }
