"""Model folders in the ESM-2/DPLM layout: what `--model` reads and what training writes.

A folder holds `config.json`, `model.safetensors`, `vocab.txt` with its tokenizer files, a card
(`README.md`) and `run.json`; `transformers.AutoModelForMaskedLM` opens it without this package.
`config.json` is written last: a folder without it was not finished.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from didi_core.errors import UserError
from didi_core.files import atomic_path, write_json, write_text
from didi_core.models.esm import EsmDenoiser
from didi_core.models.esm_config import config_from_settings, settings_from_config
from didi_core.models.esm_names import from_published, to_published
from didi_core.models.folder_vocabulary import read_vocabulary, vocabulary_config, write_vocabulary
from didi_core.models.hub import find_folder
from didi_core.models.weight_files import extra_files, read_folder_weights
from didi_core.vocabulary import Vocabulary


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to use, and where it came from."""

    denoiser: EsmDenoiser
    """In evaluation mode, on the device asked for."""
    vocabulary: Vocabulary
    config: dict[str, Any]
    """`config.json` as it stands in the folder."""
    name: str
    """What the user called it: a path, a hub id or a bundled name."""
    folder: Path
    extras: dict[str, Path]
    """Files of weights beside the network's own, by name: "noise", "discriminator"."""


def save_model_folder(
    folder: Path,
    denoiser: EsmDenoiser,
    vocabulary: Vocabulary,
    *,
    card: str,
    run: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    extra_config: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder; each file appears whole, `config.json` last.

    Args:
        card: text of `README.md`.
        run: contents of `run.json`; not written when None.
        dtype: of the weights in the file: float32, float16 or bfloat16.
        extra_config: more keys of `config.json`; those under "didi" join ours.

    Raises:
        UserError: a weight is not finite in `dtype`.
    """
    folder = Path(folder)
    weights = to_published(denoiser, dtype)
    config = config_from_settings(denoiser.settings, vocabulary, dtype)
    own = {**vocabulary_config(vocabulary), **(extra_config or {}).get("didi", {})}
    config = {**config, **(extra_config or {}), "didi": own}
    _retract(folder / "config.json", config)
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
    """Open a model folder of ours, of DPLM or of ESM-2, or the hub repository of that name.

    Args:
        dtype: of the network in memory; half-precision files are read into float32 first.
        default_vocabulary: what the ids of others' folders mean; checked against `vocab.txt`.
        program: the command whose `download` fetches models, for messages.

    Raises:
        UserError: no such folder, an unsupported model, or weights that do not fit.
    """
    folder = find_folder(str(path_or_hub_id), offline=offline, program=program)
    config = _read_config(folder)
    source = str(folder)
    settings = settings_from_config(config, source)
    vocabulary = read_vocabulary(folder, config, default_vocabulary)
    denoiser = from_published(read_folder_weights(folder), settings, source)
    denoiser = denoiser.to(device=device, dtype=dtype).eval()
    return LoadedModel(
        denoiser, vocabulary, config, str(path_or_hub_id), folder, extra_files(folder)
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} is no model folder, or was not finished: it has no config.json.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}.") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is not a JSON object.")
    return config


def _retract(path: Path, config: Mapping[str, Any]) -> None:
    """Remove a config that new weights would not fit, so that a kill leaves no mixed folder."""
    if path.is_file() and path.read_text(encoding="utf-8") != json.dumps(config, indent=2) + "\n":
        path.unlink()
