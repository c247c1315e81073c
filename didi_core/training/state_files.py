"""Nested state (models, optimisers, counters) as one safetensors file: no pickle, no code.

Tensors are stored under numbered keys; the shape of the nesting is JSON in the file's metadata.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from didi_core.errors import UserError
from didi_core.files import atomic_path

_TENSOR = "__tensor__"
_INTEGER_KEYS = "__integer_keys__"
_TUPLE = "__tuple__"


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write `state` (dicts, lists, tuples, tensors, numbers, strings, None) atomically."""
    tensors: dict[str, torch.Tensor] = {}
    skeleton = _take_apart(state, tensors)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"skeleton": json.dumps(skeleton)})


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, on the CPU.

    Raises:
        UserError: the file is cut short or not of this form.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            skeleton = json.loads(stored.metadata()["skeleton"])
            return _put_together(skeleton, {key: stored.get_tensor(key) for key in stored.keys()})  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(f"The checkpoint {path} cannot be read ({error}).") from error


def _take_apart(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        key = str(len(tensors))
        # A copy: safetensors refuses tensors that share memory.
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {_TENSOR: key}
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
        return tensors[value[_TENSOR]]
    if _TUPLE in value:
        return tuple(_put_together(item, tensors) for item in value[_TUPLE])
    if _INTEGER_KEYS in value:
        return {int(k): _put_together(item, tensors) for k, item in value[_INTEGER_KEYS].items()}
    return {key: _put_together(item, tensors) for key, item in value.items()}
