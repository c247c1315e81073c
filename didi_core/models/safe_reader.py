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
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from didi_core.errors import UserError
from didi_core.models.inert_unpickler import InertPickle, StandIn

INERT_TYPES: list[Any] = [argparse.Namespace]
"""Allowed beside what `weights_only` allows itself: tensors, containers, numbers and text."""

_NESTED_KEYS = ("state_dict", "model")
"""Where training checkpoints keep a network's tensors."""
_LIGHTNING_KEYS = ("pytorch-lightning_version", "state_dict")


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, by name, on the CPU.

    Args:
        path: a `.safetensors`, `.bin`, `.pt` or `.ckpt` file.

    Raises:
        UserError: the file is broken, needs code to be read, or holds something else.
    """
    if Path(path).suffix == ".safetensors":
        return _read_safetensors(path)
    content = read_checkpoint(path)
    if isinstance(content, Mapping):
        content = next((content[key] for key in _NESTED_KEYS if key in content), content)
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {_type_name(content)}, not tensors by name.")
    return require_tensors(content, path)


def require_tensors(content: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """`content` as tensors by name.

    Raises:
        UserError: something in it is no ordinary tensor; the message lists it.
    """
    strange = {name: value for name, value in content.items() if not _is_weight(name, value)}
    if strange:
        listed = ", ".join(f"{name} ({_type_name(value)})" for name, value in strange.items())
        raise UserError(f"{path} holds, where its weights are, what is no tensor: {listed}.")
    return dict(content)


def read_checkpoint(path: Path) -> Any:
    """Everything in a pickled file: tensors, containers, numbers, text, and stand-ins.

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
