"""Which file of a model folder holds the weights, and reading it, in one piece or in shards."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from didi_core.errors import UserError
from didi_core.io.files import shown
from didi_core.models.safe_reader import read_weights

EXTRA_FILES = (
    "noise.safetensors",
    "discriminator.safetensors",
    "joint_head.safetensors",
    "weak.safetensors",
)
"""Weights that stand beside the network's own; a sampler reads them where it needs them."""

_WHOLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


_SHARD = re.compile(r"-\d+-of-(?!0*1\.)\d+\.")
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


def refuse_adapter(folder: Path) -> None:
    """Refuse a folder that holds a change to a model and no model.

    Raises:
        UserError: it holds an adapter (LoRA) and no weights of a whole model.
    """
    whole = any((folder / name).is_file() for name in (*_WHOLE, *_INDEX))
    if not whole and any((folder / name).is_file() for name in _ADAPTER):
        raise UserError(
            f"{folder} holds an adapter (LoRA), which changes another model's weights: merge it "
            "into that model (merge_and_unload of peft, then save_pretrained) and give the result."
        )


def refuse_lone_shards(folder: Path, paths: Iterable[Path]) -> None:
    """Refuse shards of weights without the index that lists them.

    Raises:
        UserError: one of the paths is a shard of several.
    """
    listed = any((folder / name).is_file() for name in (*_WHOLE, *_INDEX))
    shards = [path.name for path in paths if _SHARD.search(path.name)]
    if shards and not listed:
        raise UserError(
            f"{folder} has shards of weights ({', '.join(shards)}) without the index that lists "
            f"them: fetch {' or '.join(_INDEX)} too."
        )


def extra_files(folder: Path) -> dict[str, Path]:
    """Return the paths of the extra weights that the folder has, by their name without suffix."""
    paths = (folder / name for name in EXTRA_FILES)
    return {path.stem: path for path in paths if path.is_file()}


def file_digest(path: Path | None) -> str | None:
    """Digest a file to sixteen hexadecimal digits, which tell whether its weights changed."""
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def lone_checkpoint(folder: Path) -> Path | None:
    """Find the training checkpoint (`.ckpt`) that holds the folder's weights, if one does."""
    if any((folder / name).is_file() for name in (*_WHOLE, *_INDEX)):
        return None
    if not shown(folder.glob("*.ckpt")):
        return None
    path = _only_checkpoint(folder)
    return path if path.suffix == ".ckpt" else None


def read_folder_weights(folder: Path) -> dict[str, Tensor]:
    """Read all tensors of the folder's network; safetensors win over pickled files.

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
    suffixes = ("*.ckpt", "*.pt", "*.bin", "*.safetensors")
    paths = shown(path for suffix in suffixes for path in folder.glob(suffix))
    pickled = [path for path in paths if path.name not in EXTRA_FILES]
    if not pickled:
        raise UserError(
            f"{folder} has no weights: model.safetensors, pytorch_model.bin or one .ckpt or .pt "
            "file is needed beside config.json."
        )
    refuse_lone_shards(folder, pickled)
    if len(pickled) == 1:
        return pickled[0]
    names = ", ".join(path.name for path in pickled)
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
