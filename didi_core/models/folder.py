"""Model folders: what `--model` reads and what training writes.

A folder holds `config.json`, `model.safetensors`, `vocab.txt` or a tokenizer, a card (`README.md`)
and `run.json`. `transformers.AutoModelForMaskedLM` opens one in the ESM-2/DPLM layout without this
package, and refuses one in the DiT layout, with a network conditioned on time, or with DSM's.
`config.json` is written last: a folder of ours without it was not finished.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from didi_core.data.length_ranges import LengthRanges
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.process import DEFAULT_PROCESS, PROCESSES
from didi_core.errors import UserError
from didi_core.io.files import atomic_path, write_json, write_text
from didi_core.io.text_files import UTF_8
from didi_core.models import (
    dit_config,
    dit_names,
    esm_config,
    esm_names,
)
from didi_core.models.causal import AUTOREGRESSIVE, CausalNetwork
from didi_core.models.denoiser import Denoiser
from didi_core.models.dit import DitDenoiser, DitSettings
from didi_core.models.dit_config import is_duo, published_process
from didi_core.models.dit_files import (
    DitFiles,
    checkpoint_file,
    holds_dit,
    read_dit_checkpoint,
    read_dit_folder,
)
from didi_core.models.esm import EsmDenoiser
from didi_core.models.folder_vocabulary import (
    read_vocabulary,
    tokenizer_config,
    vocabulary_config,
    write_tokens,
    write_vocabulary,
)
from didi_core.models.hub import find_folder
from didi_core.models.weak_file import MOST_WEIGHT, POSITIONS, POSITIONS_KEY, WEIGHT_KEY
from didi_core.models.weight_files import extra_files, read_folder_weights, refuse_adapter


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to use, and where it came from."""

    denoiser: Denoiser | CausalNetwork
    """In evaluation mode, on the device asked for; of an autoregressive model, what writes in the
    place of a denoiser."""
    vocabulary: Vocabulary
    config: dict[str, Any]
    """`config.json` as it stands in the folder, or what a training checkpoint holds of it."""
    name: str
    """What the user called it: a path, a hub id or a bundled name."""
    folder: Path
    extras: dict[str, Path]
    """Files of weights beside the network's own, by name: "noise", "discriminator", "weak"."""

    @property
    def process(self) -> str:
        """Name of the noise process that the network reverses; `autoregressive` where none is."""
        if isinstance(self.denoiser, CausalNetwork):
            return AUTOREGRESSIVE
        own = self.config.get("didi")
        named = own.get("process") if isinstance(own, dict) else None
        return named or published_process(self.config) or DEFAULT_PROCESS

    @property
    def trained_lengths(self) -> LengthRanges | None:
        """Lengths that the model was trained on; None where its folder does not say."""
        return LengthRanges.from_config(self.config)


def save_model_folder(
    folder: Path,
    denoiser: Denoiser,
    vocabulary: Vocabulary,
    *,
    card: str,
    run: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    extra_config: Mapping[str, Any] | None = None,
    write_tokenizer: Callable[[Path], None] | None = None,
) -> None:
    """Write a model folder; each file appears whole, `config.json` last.

    Args:
        card: text of `README.md`.
        run: contents of `run.json`; not written when None.
        dtype: of the weights in the file: float32, float16 or bfloat16.
        extra_config: more keys of `config.json`; those under "didi" join ours.
        write_tokenizer: writes the files of the tokenizer whose ids the vocabulary lists, in
            place of `vocab.txt`; who opens the folder passes that tokenizer's vocabulary.

    Raises:
        UserError: a weight is not finite in `dtype`.
    """
    folder = Path(folder)
    is_dit = isinstance(denoiser, DitDenoiser)
    names, configs = (dit_names, dit_config) if is_dit else (esm_names, esm_config)
    weights = names.to_published(denoiser, dtype)
    config = configs.config_from_settings(denoiser.settings, vocabulary, dtype)
    own = tokenizer_config(vocabulary) if write_tokenizer else vocabulary_config(vocabulary)
    own = {**own, **(extra_config or {}).get("didi", {})}
    config = {**config, **(extra_config or {}), "didi": own}
    _retract(folder / "config.json", config)
    if write_tokenizer is not None:
        write_tokenizer(folder)
    elif is_dit:
        write_tokens(folder, vocabulary)
    else:
        write_vocabulary(folder, vocabulary, denoiser.settings.max_tokens)
    write_text(folder / "README.md", card)
    if run is not None:
        write_json(folder / "run.json", run)
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})
    write_json(folder / "config.json", config)


def load_denoiser(
    path_or_hub_id: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    offline: bool = False,
    default_vocabulary: Vocabulary | None = None,
    program: str = "didi-protein",
) -> LoadedModel:
    """Open a model folder, the hub repository of that name, or a training checkpoint.

    Read are folders of ours, of DPLM, DSM, ESM-2 and FastPLMs, of MDLM and DiDi-Instruct,
    and `.ckpt` files of the Duo code base.

    Args:
        dtype: of the network in memory; half-precision files are read into float32 first.
        default_vocabulary: what the ids of others' folders mean; checked against what they say.
        program: the command whose `download` fetches models, for messages.

    Raises:
        UserError: no such folder, an unsupported model, or weights that do not fit.
    """
    name = str(path_or_hub_id)
    checkpoint = checkpoint_file(name)
    if checkpoint is not None:
        folder, read = checkpoint.parent, read_dit_checkpoint(checkpoint)
        loaded = _load_dit(read, {}, checkpoint, default_vocabulary)
        return _ready(loaded, read.config, name, folder, read.extras, device, dtype)
    folder = find_folder(name, offline=offline, program=program)
    refuse_adapter(folder)
    config = read_config(folder)
    if holds_dit(folder, config):
        read = read_dit_folder(folder, config)
        loaded = _load_dit(read, config or {}, folder, default_vocabulary)
        return _ready(loaded, read.config, name, folder, read.extras, device, dtype)
    if config is None:
        raise UserError(f"{folder} is no model folder, or was not finished: it has no config.json.")
    esm = _load_esm(config, folder, default_vocabulary)
    return _ready(esm, config, name, folder, extra_files(folder), device, dtype)


def _load_dit(
    read: DitFiles, config: Mapping[str, Any], where: Path, default: Vocabulary | None
) -> tuple[DitDenoiser, Vocabulary]:
    """Load a network in the DiT layout, and its vocabulary.

    Args:
        where: the folder, or the checkpoint's file, which has no vocabulary of its own.
    """
    sizes = {"vocab_size": read.settings.vocabulary_size, "mask_token_id": read.settings.mask_id}
    if default is not None and is_duo(read.config) and _only_generable(default, read.settings):
        sizes = {"vocab_size": default.size, "mask_token_id": default.mask_id}
    vocabulary = read_vocabulary(where, {**config, **sizes}, default)
    return dit_names.from_published(read.weights, read.settings, str(where)), vocabulary


def _only_generable(vocabulary: Vocabulary, settings: DitSettings) -> bool:
    """Return whether the network's ids are the generable ones alone: Duo's have no mask."""
    return vocabulary.generable_ids == tuple(range(settings.vocabulary_size))


def _load_esm(
    config: Mapping[str, Any], folder: Path, default: Vocabulary | None
) -> tuple[EsmDenoiser, Vocabulary]:
    settings = esm_config.settings_from_config(config, str(folder))
    vocabulary = read_vocabulary(folder, config, default)
    weights = read_folder_weights(folder)
    return esm_names.from_published(weights, settings, str(folder)), vocabulary


def _ready(
    loaded: tuple[Denoiser, Vocabulary],
    config: dict[str, Any],
    name: str,
    folder: Path,
    extras: dict[str, Path],
    device: torch.device | str,
    dtype: torch.dtype,
) -> LoadedModel:
    denoiser, vocabulary = loaded
    denoiser = denoiser.to(device=device, dtype=dtype).eval()
    model = LoadedModel(denoiser, vocabulary, config, name, folder, extras)
    if model.process not in PROCESSES:
        raise UserError(
            f"{name}: didi.process is {model.process!r} in config.json; "
            f"this version knows {', '.join(PROCESSES)}."
        )
    return model


def read_config(folder: Path) -> dict[str, Any] | None:
    """Read `config.json`; None where there is none."""
    path = folder / "config.json"
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding=UTF_8))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}.") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is not a JSON object.")
    _require_own(config.get("didi"), path)
    return config


def read_trained_lengths(folder: Path) -> LengthRanges | None:
    """Return the lengths that a folder's model was trained on; None where it does not say."""
    return LengthRanges.from_config(read_config(folder) or {})


def _require_own(own: Any, path: Path) -> None:
    """Refuse what is wrong under "didi" in `config.json`, which is read in many places."""
    if own is None:
        return
    if not isinstance(own, dict):
        raise UserError(f"{path}: didi is {own!r}, no JSON object.")
    if not isinstance(sampler := own.get("sampler", ""), str):
        raise UserError(f"{path}: didi.sampler is {sampler!r}, not a sampler's name.")
    exponent = own.get("reveal_exponent", 1)
    if type(exponent) not in (int, float) or not 0 < exponent < math.inf:
        raise UserError(f"{path}: didi.reveal_exponent is {exponent!r}, not a positive number.")
    weight = own.get(WEIGHT_KEY, 1)
    if type(weight) not in (int, float) or not 0 <= weight <= MOST_WEIGHT:
        wrong = f"{weight!r}, not a number from 0 to {MOST_WEIGHT:g}"
        raise UserError(f"{path}: didi.{WEIGHT_KEY} is {wrong}.")
    if (positions := own.get(POSITIONS_KEY, POSITIONS[0])) not in POSITIONS:
        wrong = f"{positions!r}, not {' or '.join(POSITIONS)}"
        raise UserError(f"{path}: didi.{POSITIONS_KEY} is {wrong}.")


def _retract(path: Path, config: Mapping[str, Any]) -> None:
    """Remove a config that new weights would not fit, so that a kill leaves no mixed folder."""
    if path.is_file() and path.read_text(encoding="utf-8") != json.dumps(config, indent=2) + "\n":
        path.unlink()
