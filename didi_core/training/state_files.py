"""Nested state (models, optimisers, counters) as one safetensors file: no pickle, no code.

Tensors are stored under numbered keys; the shape of the nesting is JSON in the file's metadata, and
so is a digest of everything: safetensors itself would not notice a byte that changed on the disk.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from didi_core.errors import UserError
from didi_core.io.files import atomic_path

_DIGEST = "digest"
_TENSOR = "__tensor__"
_FORM = "form"
_INTEGER_KEYS = "__integer_keys__"
_TUPLE = "__tuple__"
_CHANGED = "its content has changed since it was written"


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write `state` (dicts, lists, tuples, tensors, numbers, strings, None) atomically."""
    tensors: dict[str, torch.Tensor] = {}
    skeleton = _take_apart(state, tensors)
    with atomic_path(path) as temporary:
        text = json.dumps(skeleton)
        # A tensor: two entries of metadata would be written in random order.
        save_file(
            {**tensors, _DIGEST: _digest(text, tensors)}, temporary, metadata={"skeleton": text}
        )


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, on the CPU.

    Raises:
        UserError: the file is cut short, altered, or not of this form.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            text = stored.metadata()["skeleton"]
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        digest = tensors.pop(_DIGEST, None)
        # Files of earlier versions have none.
        if digest is not None and not torch.equal(digest, _digest(text, tensors)):
            raise ValueError(_CHANGED)
        return _put_together(json.loads(text), tensors)
    except _UNREADABLE as error:
        raise UserError(f"The checkpoint {path} cannot be read ({error}).") from error


_UNREADABLE = (
    *(SafetensorError, OSError, ValueError, KeyError, TypeError),
    *(AttributeError, RuntimeError, RecursionError),
)
"""What a damaged file can make of the steps of reading it."""


def tensors_of(state: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor in a nested state, with the keys that lead to it."""
    if isinstance(state, torch.Tensor):
        yield name, state
    elif isinstance(state, (dict, list, tuple)):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        for key, value in items:
            yield from tensors_of(value, f"{name}.{key}" if name else str(key))


def _digest(skeleton: str, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Digest all content to sixteen bytes, which change with any of it."""
    digest = hashlib.blake2b(skeleton.encode(), digest_size=16)
    for key in sorted(tensors):
        digest.update(tensors[key].reshape(-1).view(torch.uint8).numpy().data)
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def _form(tensor: torch.Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _take_apart(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        key = str(len(tensors))
        # A copy: safetensors refuses tensors that share memory.
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {_TENSOR: key, _FORM: _form(value)}
    if isinstance(value, dict):
        parts = {str(key): _take_apart(item, tensors) for key, item in value.items()}
        whole = bool(value) and all(isinstance(key, int) for key in value)
        return {_INTEGER_KEYS: parts} if whole else parts
    if isinstance(value, tuple):
        return {_TUPLE: [_take_apart(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_take_apart(item, tensors) for item in value]
    return value


def _put_together(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_put_together(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        tensor = tensors[value[_TENSOR]]
        # Type and shape stand in safetensors' own header, of which there is no digest.
        if value.get(_FORM, _form(tensor)) != _form(tensor):
            raise ValueError(_CHANGED)
        return tensor
    if _TUPLE in value:
        return tuple(_put_together(item, tensors) for item in value[_TUPLE])
    if _INTEGER_KEYS in value:
        return {int(k): _put_together(item, tensors) for k, item in value[_INTEGER_KEYS].items()}
    return {key: _put_together(item, tensors) for key, item in value.items()}
