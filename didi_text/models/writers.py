"""Open whatever writes or is evaluated: a saved model, or a run of ours before it ends.

Apart from `load`, which `pretrain` and `distill` open their models by.
"""

from dataclasses import replace
from typing import Any

import torch

from didi_core.commands.training.domain import TrainingDomain
from didi_core.commands.training.unfinished import model_of_run
from didi_core.models.folder import LoadedModel
from didi_text.models.load import CausalLanguageModel, LanguageModel, open_saved_model


def open_language_model(
    name: str,
    device: torch.device | str = "cpu",
    *,
    offline: bool = False,
    flag: str = "--model",
    tokenizer: str | None = None,
) -> LanguageModel:
    """Open what `open_saved_model` does, or the model of a checkpoint or an unfinished run.

    Args:
        flag: what messages call the name: the flag or key it came from.
        tokenizer: bundled name, folder or hub id of another tokenizer than the model's folder has.

    Raises:
        UserError: see `open_saved_model` and `model_of_run`.
    """
    of_run = model_of_run(name, _domain)
    place = name if of_run is None else str(of_run)
    opened = open_saved_model(place, device, offline=offline, flag=flag, tokenizer=tokenizer)
    if of_run is None or isinstance(opened, CausalLanguageModel):
        return replace(opened, name=name)
    return replace(opened, name=name, loaded=replace(opened.loaded, name=name))


def open_writer(
    name: str,
    device: torch.device | str = "cpu",
    *,
    offline: bool = False,
    dtype: torch.dtype = torch.float32,
    flag: str = "--model",
    tokenizer: str | None = None,
) -> LoadedModel:
    """Open any model that `generate` samples: a denoiser, or an autoregressive one.

    Raises:
        UserError: see `open_language_model`.
    """
    opened = open_language_model(name, device, offline=offline, flag=flag, tokenizer=tokenizer)
    opened.network.to(dtype)
    return opened.loaded


def _domain() -> TrainingDomain[Any, Any]:
    from didi_text.domain import TRAINING  # slow to import, seldom needed

    return TRAINING
