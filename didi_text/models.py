"""Masked models of text with their tokenizers: opened for `generate` and `distill`, and saved."""

from pathlib import Path

import torch

from didi_core.errors import UserError
from didi_core.models.dit import DitDenoiser
from didi_core.models.folder import LoadedModel, save_model_folder
from didi_text.evaluate_models import CausalLanguageModel, open_language_model
from didi_text.tokenizer import TextTokenizer, open_model_tokenizer


def open_model(
    name: str | Path,
    device: torch.device | str = "cpu",
    *,
    offline: bool = False,
    dtype: torch.dtype = torch.float32,
) -> LoadedModel:
    """Open a denoiser over text by bundled name, folder or hub id.

    Raises:
        UserError: the model is autoregressive, or see `open_language_model`.
    """
    opened = open_language_model(str(name), device, offline=offline)
    if isinstance(opened, CausalLanguageModel):
        raise UserError(f"{name} is autoregressive: a masked-diffusion model is needed here.")
    opened.loaded.denoiser.to(dtype)
    return opened.loaded


def tokenizer_of(model: LoadedModel, *, offline: bool = False) -> TextTokenizer:
    """The tokenizer of an open model."""
    return open_model_tokenizer(model.folder, offline=offline)


def save_text_model(folder: Path, model: DitDenoiser, tokenizer: TextTokenizer, card: str) -> None:
    """A model folder with its tokenizer."""
    save_model_folder(
        folder, model, tokenizer.vocabulary, card=card, write_tokenizer=tokenizer.save
    )
