"""Open whatever writes: a saved model of any kind, or a run of ours before it ends.

Apart from `load`, which `pretrain` and `distill` open their models by.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from didi_core.commands.training.domain import TrainingDomain
from didi_core.commands.training.unfinished import model_of_run
from didi_core.errors import as_written
from didi_core.io.files import at_home
from didi_core.models.folder import LoadedModel
from didi_core.models.named import find_model, is_causal
from didi_protein.models.load import BUNDLED_MODELS, open_model


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
    if (of_run := model_of_run(name, _domain)) is not None:
        return replace(open_writer(str(of_run), device, offline=offline, dtype=dtype), name=name)
    if not Path(at_home(name)).is_file():  # a training checkpoint is never autoregressive
        folder = find_model(BUNDLED_MODELS, name, offline=offline, flag=flag)
        if is_causal(folder):
            from didi_protein.models.causal import (
                open_causal_model,  # transformers is slow to import
            )

            opened = open_causal_model(folder, as_written(flag, name), device, dtype)
            return replace(opened, name=name)
    return open_model(name, device, offline=offline, dtype=dtype, flag=flag)


def _domain() -> TrainingDomain[Any, Any]:
    from didi_protein.domain import TRAINING  # slow to import, seldom needed

    return TRAINING
