"""Models of text with their tokenizers: opened for `generate` and `distill`, and saved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from didi_core.files import at_home
from didi_core.models.dit import DitDenoiser
from didi_core.models.folder import LoadedModel, save_model_folder
from didi_core.models.named import find_denoiser
from didi_text.evaluate_models import BUNDLED_MODELS, open_language_model
from didi_text.tokenizer import TextTokenizer, open_model_tokenizer


def open_model(
    name: str | Path,
    device: torch.device | str = "cpu",
    *,
    offline: bool = False,
    dtype: torch.dtype = torch.float32,
    flag: str = "--model",
) -> LoadedModel:
    """Open a denoiser over text by bundled name, folder or hub id.

    Args:
        flag: what messages call the name: the flag or key it came from.

    Raises:
        UserError: the model is autoregressive, or see `open_language_model`.
    """
    if not Path(at_home(name)).is_file():  # a training checkpoint is never autoregressive
        find_denoiser(BUNDLED_MODELS, str(name), offline=offline, flag=flag)
    return open_writer(str(name), device, offline=offline, dtype=dtype, flag=flag)


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


def tokenizer_of(model: LoadedModel, *, offline: bool = False) -> TextTokenizer:
    """The tokenizer of an open model."""
    return open_model_tokenizer(model.folder, offline=offline)


def save_text_model(
    folder: Path,
    model: DitDenoiser,
    tokenizer: TextTokenizer,
    card: str,
    extra_config: Mapping[str, Any] | None = None,
) -> None:
    """A model folder with its tokenizer."""
    save_model_folder(
        folder,
        model,
        tokenizer.vocabulary,
        card=card,
        extra_config=extra_config,
        write_tokenizer=tokenizer.save,
    )
