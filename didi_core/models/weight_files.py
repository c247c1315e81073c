"""Which file of a model folder holds the weights, and reading it, in one piece or in shards."""

import json
from pathlib import Path

from torch import Tensor

from didi_core.errors import UserError
from didi_core.models.safe_reader import read_weights

EXTRA_FILES = ("noise.safetensors", "discriminator.safetensors")
"""Weights that stand beside the network's own; a sampler reads them where it needs them."""

_WHOLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def extra_files(folder: Path) -> dict[str, Path]:
    """Paths of the extra weights that the folder has, by their name without suffix."""
    paths = (folder / name for name in EXTRA_FILES)
    return {path.stem: path for path in paths if path.is_file()}


def lone_checkpoint(folder: Path) -> Path | None:
    """The training checkpoint (`.ckpt`) that holds the folder's weights; None where none does."""
    if any((folder / name).is_file() for name in (*_WHOLE, *_INDEX)):
        return None
    if not any(folder.glob("*.ckpt")):
        return None
    path = _only_checkpoint(folder)
    return path if path.suffix == ".ckpt" else None


def read_folder_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of the folder's network; safetensors win over pickled files.

    Raises:
        UserError: no weights, several candidates, a shard missing, or a file that cannot be read.
    """
    for whole, index in zip(_WHOLE, _INDEX, strict=True):
        if (folder / whole).is_file():
            return read_weights(folder / whole)
        if (folder / index).is_file():
            return _read_shards(folder / index)
    return read_weights(_only_checkpoint(folder))


def _only_checkpoint(folder: Path) -> Path:
    found = sorted(
        path
        for suffix in ("*.ckpt", "*.pt", "*.bin", "*.safetensors")
        for path in folder.glob(suffix)
        if path.name not in EXTRA_FILES
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(
            f"{folder} has no weights: model.safetensors, pytorch_model.bin or one .ckpt or .pt "
            "file is needed beside config.json."
        )
    names = ", ".join(path.name for path in found)
    raise UserError(f"{folder} has several files of weights ({names}): leave one of them.")


def _read_shards(index: Path) -> dict[str, Tensor]:
    try:
        listed: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(listed.values()))
        if any(Path(name).name != name for name in names):
            raise ValueError("its shards are not files of the same folder")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} is not an index of sharded weights: {error}.") from error
    absent = [name for name in names if not (index.parent / name).is_file()]
    if absent:
        raise UserError(f"{index.parent} lacks the shards {', '.join(absent)}: fetch it again.")
    weights: dict[str, Tensor] = {}
    for name in names:
        weights.update(read_weights(index.parent / name))
    return weights
