"""Read weights that others wrote, without running anything they contain.

Safetensors hold nothing but tensors. Pickled files (`.bin`, `.pt`, `.ckpt`) go through
`torch.load(weights_only=True)` with a short list of inert types. A Lightning checkpoint that holds
other objects (hyper-parameters, callbacks) is read by `didi_core.models.inert_unpickler`, which
puts an empty stand-in where each of them was. Every other file is refused by the class it needs.
"""

import argparse
import pickle
import struct
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from didi_core.errors import UserError
from didi_core.io.text_files import refuse_pointer
from didi_core.models.inert_unpickler import InertPickle, StandIn

INERT_TYPES: list[Any] = [argparse.Namespace]
"""Allowed beside what `weights_only` allows itself: tensors, containers, numbers and text."""

_NESTED_KEYS = ("state_dict", "model")
"""Where training checkpoints keep a network's tensors."""
_SHORT_TYPES = {
    **{"I8": torch.int8, "U8": torch.uint8, "I16": torch.int16, "I32": torch.int32},
    **{"I64": torch.int64, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2},
}
"""What headers of safetensors call types that are not those of plain weights."""
_LIGHTNING_KEYS = ("pytorch-lightning_version", "state_dict")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file, by name, on the CPU.

    Args:
        path: a `.safetensors`, `.bin`, `.pt` or `.ckpt` file.

    Raises:
        UserError: the file is broken, needs code to be read, or holds something else.
    """
    if Path(path).suffix == ".safetensors":
        weights = _read_safetensors(path)
    else:
        weights = _read_pickled(path)
    require_plain_numbers({name: value.dtype for name, value in weights.items()}, path)
    return weights


def _read_pickled(path: Path) -> dict[str, Tensor]:
    content = read_checkpoint(path)
    if isinstance(content, Mapping):
        content = next((content[key] for key in _NESTED_KEYS if key in content), content)
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {_type_name(content)}, not tensors by name.")
    return require_tensors(content, path)


def require_plain_numbers(types: Mapping[str, torch.dtype], source: object) -> None:
    """Refuse weights in a number format that means nothing without its scales.

    Args:
        types: of the tensors, by name; buffers, such as masks and positions, may hold integers.

    Raises:
        UserError: 8-bit floats, or a weight of integers.
    """
    wrong = {name: kind for name, kind in types.items() if _is_quantised(name, kind)}
    if wrong:
        kinds = ", ".join(sorted({str(kind).removeprefix("torch.") for kind in wrong.values()}))
        raise UserError(
            f"{source} holds quantised weights ({kinds}, as in {min(wrong)}), which are not read: "
            "give the model in float32, float16 or bfloat16."
        )


def _is_quantised(name: str, kind: torch.dtype) -> bool:
    # Eight bits or less of a float: scales stand elsewhere, if at all.
    return kind.itemsize < 2 if kind.is_floating_point else name.endswith("weight")


def refuse_unreadable(path: Path) -> None:
    """Refuse a safetensors file by its header, for readers that are not ours.

    Raises:
        UserError: a pointer of Git LFS, a damaged file, or quantised weights.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            kinds = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _broken(path, error) from error
    types = {name: _SHORT_TYPES[kind] for name, kind in kinds.items() if kind in _SHORT_TYPES}
    require_plain_numbers(types, path)


def require_tensors(content: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Return `content` as tensors by name.

    Raises:
        UserError: something in it is no ordinary tensor; the message lists it.
    """
    strange = {name: value for name, value in content.items() if not _is_weight(name, value)}
    if strange:
        listed = ", ".join(f"{name} ({_type_name(value)})" for name, value in strange.items())
        raise UserError(f"{path} holds, where its weights are, what is no tensor: {listed}.")
    return dict(content)


def read_checkpoint(path: Path) -> Any:
    """Read everything in a pickled file: tensors, containers, numbers, text, and stand-ins.

    Raises:
        UserError: the file is broken, or needs a class that is not on the list and is no
            Lightning checkpoint.
    """
    if tarfile.is_tarfile(path):
        raise UserError(f"{path} is in the tar format of PyTorch 0.1, which is not read.")
    try:
        with torch.serialization.safe_globals(INERT_TYPES):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return _read_with_stand_ins(path)
    except _BROKEN as error:
        raise _broken(path, error) from error


# What torch raises on files that are cut short, altered, or something else altogether.
_BROKEN = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    AssertionError,
    MemoryError,
    OverflowError,
    struct.error,
)


def _read_with_stand_ins(path: Path) -> Any:
    module = InertPickle()
    try:
        content = torch.load(path, map_location="cpu", weights_only=False, pickle_module=module)
    except _BROKEN as error:
        if module.unlisted:
            raise _needs_code(path, module.unlisted) from error
        raise _broken(path, error) from error
    is_lightning = isinstance(content, dict) and all(key in content for key in _LIGHTNING_KEYS)
    if not is_lightning:
        raise _needs_code(path, module.unlisted)
    return content


def _needs_code(path: Path, unlisted: list[str]) -> UserError:
    return UserError(
        f"{path} needs {', '.join(unlisted) or 'code'} to be read. Files that run code are not "
        "opened: save the weights as safetensors."
    )


def _broken(path: Path, error: Exception) -> UserError:
    with suppress(OSError), open(path, "rb") as stream:
        refuse_pointer(stream.read(256), path)
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return UserError(f"{path} is no file of weights, or is damaged: {reason}")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise _broken(path, error) from error


def _is_weight(name: object, value: object) -> bool:
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return False
    return value.layout == torch.strided and not value.is_quantized and not value.is_meta


def _type_name(value: object) -> str:
    return value.class_name if isinstance(value, StandIn) else type(value).__name__
