"""Open what --model names: a denoiser, or any Hugging Face causal LM as a baseline."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from didi_core.diffusion.process import IN_WORDS
from didi_core.errors import UserError, as_written
from didi_core.io.files import at_home
from didi_core.models.bundled import BundledModels
from didi_core.models.causal import AUTOREGRESSIVE, CausalNetwork, position_limit
from didi_core.models.causal_dit import read_causal_checkpoint
from didi_core.models.causal_folder import load_causal_model
from didi_core.models.dit import DitDenoiser
from didi_core.models.dit_files import checkpoint_file
from didi_core.models.fingerprint import weights_digest
from didi_core.models.folder import LoadedModel, load_denoiser, save_model_folder
from didi_core.models.named import find_denoiser, find_model, is_causal
from didi_text.tokenizers.tokenizer import TextTokenizer, open_model_tokenizer, open_tokenizer

BUNDLED_MODELS = BundledModels("didi_text")


@dataclass(frozen=True)
class DiffusionLanguageModel:
    """A denoiser over a tokenizer's ids."""

    name: str
    loaded: LoadedModel
    tokenizer: TextTokenizer

    @property
    def kind(self) -> str:
        """What models of its process are called."""
        return IN_WORDS[self.loaded.process]

    @property
    def network(self) -> nn.Module:
        return self.loaded.denoiser

    @property
    def max_tokens(self) -> int:
        return int(self.loaded.denoiser.settings.max_tokens)


@dataclass(frozen=True)
class CausalLanguageModel:
    """An autoregressive model: the baseline, and the judge of samples."""

    name: str
    network: Any
    tokenizer: TextTokenizer
    folder: Path = Path()

    kind = AUTOREGRESSIVE

    @property
    def loaded(self) -> LoadedModel:
        """The model as it is sampled: what it writes begins with an end of text, as blocks do."""
        writer = CausalNetwork(self.network, self.tokenizer.end_id)
        config = self.network.config.to_dict()
        return LoadedModel(writer, self.tokenizer.vocabulary, config, self.name, self.folder, {})

    @property
    def max_tokens(self) -> int | None:
        return position_limit(self.network)


LanguageModel = DiffusionLanguageModel | CausalLanguageModel


def open_saved_model(
    name: str,
    device: torch.device | str = "cpu",
    *,
    offline: bool = False,
    flag: str = "--model",
    tokenizer: str | None = None,
) -> LanguageModel:
    """Open a denoiser or causal LM by folder, hub id or bundled name.

    Args:
        flag: what messages call the name: the flag or key it came from.
        tokenizer: bundled name, folder or hub id of another tokenizer than the model's folder has.

    Raises:
        UserError: there is none, it is neither, or its tokenizer does not fit it.
    """
    checkpoint = Path(at_home(name))
    is_file = checkpoint.is_file()  # a training checkpoint: `load_denoiser` knows which it reads
    folder = (
        checkpoint.parent
        if is_file
        else find_model(BUNDLED_MODELS, name, offline=offline, flag=flag)
    )
    if not is_file and is_causal(folder):
        return open_causal(name, device, offline=offline, flag=flag, tokenizer=tokenizer)
    spelling = _tokenizer_for(folder, tokenizer, offline)
    wanted = spelling.vocabulary
    if checkpoint_file(name) is not None:
        causal = read_causal_checkpoint(checkpoint, wanted)
        if causal is not None:
            return CausalLanguageModel(name, causal.to(device), spelling, folder)
    loaded = load_denoiser(
        checkpoint if is_file else folder,
        device=device,
        offline=offline,
        default_vocabulary=wanted,
        program="didi-text",
    )
    vocabulary = loaded.vocabulary
    if (vocabulary.size, vocabulary.mask_id) != (wanted.size, wanted.mask_id):
        own = "put the right tokenizer into the folder"
        raise UserError(
            f"{as_written(flag, name)} has {vocabulary.size:,} ids and the mask "
            f"{vocabulary.mask_id:,}; its tokenizer has {wanted.size:,} and {wanted.mask_id:,}: "
            f"{own if tokenizer is None else f'--tokenizer {tokenizer} is not its own'}."
        )
    return DiffusionLanguageModel(name, replace(loaded, name=name), spelling)


def _tokenizer_for(folder: Path, name: str | None, offline: bool) -> TextTokenizer:
    if name is None:
        return open_model_tokenizer(folder, offline=offline)
    return open_named_tokenizer(name, offline=offline)


def open_named_tokenizer(name: str, *, offline: bool = False) -> TextTokenizer:
    """Open what `--tokenizer` names: a bundled model's, a folder's or a hub id's.

    Raises:
        UserError: there is none.
    """
    return open_tokenizer(BUNDLED_MODELS.path_of(name), offline=offline, flag="--tokenizer")


def open_causal(
    name: str,
    device: torch.device | str = "cpu",
    *,
    offline: bool = False,
    flag: str = "--judge",
    tokenizer: str | None = None,
) -> CausalLanguageModel:
    """Open a causal LM and its tokenizer.

    Args:
        tokenizer: bundled name, folder or hub id of another tokenizer than its folder has.

    Raises:
        UserError: there is none, or its tokenizer has ids that it has not.
    """
    if checkpoint_file(name) is not None:
        opened = open_saved_model(name, device, offline=offline, flag=flag, tokenizer=tokenizer)
        if isinstance(opened, CausalLanguageModel):
            return opened
        raise UserError(f"{as_written(flag, name)} is a {opened.kind} model, no causal one.")
    folder = find_model(BUNDLED_MODELS, name, offline=offline, flag=flag)
    spelling = _tokenizer_for(folder, tokenizer, offline)
    network = load_causal_model(folder, f"{flag} {name}").to(device)
    size = network.get_input_embeddings().weight.shape[0]
    if spelling.size > size:
        raise UserError(
            f"{flag} {name} has {size:,} ids and its tokenizer {spelling.size:,}: another "
            "tokenizer lies in the folder."
        )
    return CausalLanguageModel(name, network, spelling, folder)


def describe_model(model: LanguageModel) -> dict[str, object]:
    """Say what decides a figure, for result files."""
    return {
        "name": model.name,
        "kind": model.kind,
        "weights": weights_digest(model.network),
        "parameters": sum(each.numel() for each in model.network.parameters()),
        "tokenizer": model.tokenizer.digest,
    }


# Models of text with their tokenizers: opened for `generate` and `distill`, and saved.


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
        UserError: the model is autoregressive, or see `open_saved_model`.
    """
    if not Path(at_home(name)).is_file():
        find_denoiser(BUNDLED_MODELS, str(name), offline=offline, flag=flag)
    opened = open_saved_model(str(name), device, offline=offline, flag=flag)
    if isinstance(opened, CausalLanguageModel):
        raise UserError(f"{as_written(flag, name)} is autoregressive: a denoiser is needed here.")
    opened.network.to(dtype)
    return opened.loaded


def tokenizer_of(model: LoadedModel, *, offline: bool = False) -> TextTokenizer:
    """Return the tokenizer of an open model."""
    return open_model_tokenizer(model.folder, offline=offline)


def save_text_model(
    folder: Path,
    model: DitDenoiser,
    tokenizer: TextTokenizer,
    card: str,
    extra_config: Mapping[str, Any] | None = None,
) -> None:
    """Save a model folder with its tokenizer."""
    save_model_folder(
        folder,
        model,
        tokenizer.vocabulary,
        card=card,
        extra_config=extra_config,
        write_tokenizer=tokenizer.save,
    )
