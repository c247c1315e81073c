"""Find and read a DiT: a folder of ours, of MDLM or of DiDi-Instruct, or a training checkpoint.

What a folder holds is told by its `config.json`; where that is missing or says nothing of the
kind, by the names of its tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from didi_core.errors import UserError
from didi_core.io.files import at_home
from didi_core.models.dit import DitSettings
from didi_core.models.dit_config import is_dit_config, settings_from_config
from didi_core.models.dit_names import EMBEDDING, is_dit, without_prefix
from didi_core.models.lightning_ckpt import read_lightning_checkpoint
from didi_core.models.weight_files import extra_files, lone_checkpoint, read_folder_weights

CHECKPOINT_SUFFIX = ".ckpt"


@dataclass(frozen=True)
class DitFiles:
    """What was read."""

    settings: DitSettings
    weights: dict[str, Tensor]
    """Under their published names, without prefix."""
    config: dict[str, Any]
    """The folder's `config.json`, or a checkpoint's own configuration."""
    extras: dict[str, Path]


def checkpoint_file(name: str) -> Path | None:
    """Return the path `name` where it is a training checkpoint rather than a folder or a hub id."""
    path = Path(at_home(name))
    return path if path.suffix == CHECKPOINT_SUFFIX and path.is_file() else None


def holds_dit(folder: Path, config: Mapping[str, Any] | None) -> bool:
    """Return whether the folder's network is in this layout.

    Without a `config.json`, a folder in which names stand without prefix counts (DiDi-Instruct's),
    and so does a lone training checkpoint; a folder of ours that was not finished does not.
    """
    if config is not None and is_dit_config(config):
        return True
    if config is not None and "model_type" in config:
        return False
    names = _safetensors_names(folder / "model.safetensors")
    if config is None:
        return EMBEDDING in names or lone_checkpoint(folder) is not None
    return is_dit(names)


def read_dit_folder(folder: Path, config: Mapping[str, Any] | None) -> DitFiles:
    """Read a folder for which `holds_dit` is true.

    Raises:
        UserError: weights that cannot be read, or a configuration that does not fit.
    """
    checkpoint = lone_checkpoint(folder)
    if checkpoint is not None:
        files = read_dit_checkpoint(checkpoint, config)
        return DitFiles(
            files.settings, files.weights, files.config, {**files.extras, **extra_files(folder)}
        )
    weights = without_prefix(read_folder_weights(folder))
    extras = extra_files(folder)
    # DiDi-Instruct's folder need not say that it is masked: its discriminator does.
    settings = settings_from_config(
        config or {}, str(folder), weights, kind_known="discriminator" in extras
    )
    return DitFiles(settings, weights, dict(config or {}), extras)


def read_dit_checkpoint(path: Path, config: Mapping[str, Any] | None = None) -> DitFiles:
    """Read a training checkpoint: the averaged network, where there is an average.

    Args:
        config: of the folder around it, in place of the checkpoint's own.

    Raises:
        UserError: see `read_lightning_checkpoint` and `settings_from_config`.
    """
    checkpoint = read_lightning_checkpoint(path)
    if not is_dit(checkpoint.weights):
        raise UserError(f"{path} is no network in MDLM's layout: it has no {EMBEDDING}.")
    chosen = dict(checkpoint.config if config is None else config)
    settings = settings_from_config(
        chosen, str(path), checkpoint.weights, kind_known=checkpoint.is_distilled
    )
    extras = {"discriminator": path} if checkpoint.discriminator else {}
    return DitFiles(settings, checkpoint.weights, chosen, extras)


def _safetensors_names(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    try:
        with safe_open(path, framework="pt") as opened:
            return set(opened.keys())
    except SafetensorError:
        return set()  # reading the weights will say what is wrong
