"""`config.json` of a DiT folder, ours or another's, to and from `DitSettings`.

Read are ours (`model_type: didi_dit`, which `transformers` does not know and so refuses), those of
MDLM's and Duo's Hugging Face folders, and the nested training configurations of two code bases:
Duo's (`model`, `algo`), which its checkpoints and DiDi-Instruct's folder carry, and SDTT's
(`model`, `parameterization`). Networks of the same tensors mean different things, so the kind must
be said: `dit_kinds`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.models.dit import DitSettings
from didi_core.models.dit_kinds import OTHER_TYPES, Kind, require_read
from didi_core.models.dit_names import EMBEDDING

MODEL_TYPE = "didi_dit"
ARCHITECTURE = "DidiDitForMaskedDiffusion"
_HUB_TYPES = ("mdlm", "duo")
_SPELLINGS = {
    "vocabulary_size": ("vocab_size",),
    "num_layers": ("num_hidden_layers", "n_blocks"),
    "hidden_size": ("hidden_size", "hidden_dim"),
    "num_heads": ("num_attention_heads", "n_heads"),
    "conditioning_size": ("conditioning_size", "cond_dim"),
    "max_tokens": ("max_position_embeddings", "model_length", "length"),
}
_HEADS_OF_WIDTH = {256: 8, 768: 12, 1024: 16, 1280: 20}
"""Of the published sizes (tiny, small, medium, large), for folders that do not say."""


def is_dit_config(config: Mapping[str, Any]) -> bool:
    """Return whether a `config.json` says that the folder holds a network in this layout."""
    model_type = config.get("model_type")
    if isinstance(model_type, str):
        return model_type == MODEL_TYPE or model_type.lower() in (*_HUB_TYPES, *OTHER_TYPES)
    return "n_blocks" in _flat(config)


def is_duo(config: Mapping[str, Any]) -> bool:
    """Return whether another's configuration is that of a uniform-state model of the Duo kind."""
    return _kind_of(_flat(config)).is_uniform


def published_process(config: Mapping[str, Any]) -> str | None:
    """Name the process of another's network; None where it is the absorbing one."""
    return _kind_of(_flat(config)).process


def settings_from_config(
    config: Mapping[str, Any],
    source: str,
    weights: Mapping[str, Tensor] | None = None,
    kind_known: bool = False,
) -> DitSettings:
    """Read the shape of the network.

    Args:
        weights: published names without prefix; they tell the sizes that `config` leaves out.
        kind_known: the folder is known to hold a masked model, though its config does not say.

    Raises:
        UserError: another kind of model, or a size that is missing or impossible.
    """
    flat = _flat(config)
    kind = _kind_of(flat)
    require_read(kind, source, kind_known=kind_known)
    sizes = _sizes(flat, weights, source)
    mask_id = config.get("mask_token_id", sizes["vocabulary_size"] - 1)
    if type(mask_id) is not int or not 0 <= mask_id < sizes["vocabulary_size"]:
        raise UserError(f"{source}: mask_token_id is {mask_id!r} in config.json, not a token's id.")
    default = flat.get("time_conditioning", kind.process is not None)
    time_conditioned = bool(flat.get("time_conditioned", default))
    return DitSettings(**sizes, mask_id=mask_id, time_conditioned=time_conditioned)


def is_autoregressive(config: Mapping[str, Any]) -> bool:
    """Return whether another's configuration is that of an autoregressive network."""
    return _kind_of(_flat(config)).is_autoregressive


def causal_settings(
    config: Mapping[str, Any], source: str, weights: Mapping[str, Tensor]
) -> DitSettings:
    """Read the shape of an autoregressive network.

    Raises:
        UserError: a size that is missing or impossible.
    """
    sizes = _sizes(_flat(config), weights, source)
    return DitSettings(**sizes, mask_id=sizes["vocabulary_size"] - 1)


def _sizes(
    flat: Mapping[str, Any], weights: Mapping[str, Tensor] | None, source: str
) -> dict[str, Any]:
    """Read all sizes: what the configuration says, else what the tensors tell."""
    sizes: dict[str, Any] = {} if weights is None else dict(_sizes_of(weights))
    sizes |= {name: flat[key] for name, keys in _SPELLINGS.items() for key in keys if key in flat}
    if "num_heads" not in sizes and sizes.get("hidden_size") in _HEADS_OF_WIDTH:
        sizes["num_heads"] = _HEADS_OF_WIDTH[sizes["hidden_size"]]
    _require_numbers(sizes, source)
    return sizes


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Lift all keys to one level, out of a nested configuration's `model` and `algo`."""
    inner = config.get("config")
    flat = dict(inner) if isinstance(inner, Mapping) else {}
    flat |= {key: value for key, value in config.items() if key != "config"}
    for part in ("model", "algo"):
        if isinstance(flat.get(part), Mapping):
            flat |= {key: value for key, value in flat[part].items() if key != "name"}
    return flat


def _kind_of(flat: Mapping[str, Any]) -> Kind:
    return Kind(
        model_type=_name_of(flat.get("model_type")),
        algorithm=_name_of(flat.get("algo")),
        parameterization=_name_of(flat.get("parameterization")),
        diffusion=_name_of(flat.get("diffusion")),
        is_causal=bool(flat.get("causal_attention") or flat.get("causal")),
    )


def _name_of(value: Any) -> str | None:
    """Name a setting; a group of settings (SDTT's `parameterization`) has a `name`."""
    named = value.get("name") if isinstance(value, Mapping) else value
    return None if named is None else str(named)


def _sizes_of(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Read what the tensors' shapes tell; heads are not among it."""
    if EMBEDDING not in weights or weights[EMBEDDING].ndim != 2:
        return {}
    vocabulary_size, hidden_size = weights[EMBEDDING].shape
    layers = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    sizes = {
        "vocabulary_size": vocabulary_size,
        "hidden_size": hidden_size,
        "num_layers": len(layers),
    }
    condition = weights.get("sigma_map.mlp.2.bias")
    return sizes if condition is None else {**sizes, "conditioning_size": len(condition)}


def _require_numbers(sizes: Mapping[str, Any], source: str) -> None:
    optional = ("conditioning_size", "max_tokens")
    missing = [keys for name, keys in _SPELLINGS.items() if name not in (*sizes, *optional)]
    if missing:
        names = ", ".join(" or ".join(keys) for keys in missing)
        raise UserError(f"{source}: config.json lacks {names}.")
    for name, value in sizes.items():
        if type(value) is not int or value < 1:
            key = " or ".join(_SPELLINGS[name])
            raise UserError(f"{source}: {key} is {value!r} in config.json, not a positive number.")
    if sizes["hidden_size"] % (2 * sizes["num_heads"]):
        raise UserError(
            f"{source}: the width {sizes['hidden_size']} in config.json is not an even multiple "
            f"of the {sizes['num_heads']} heads."
        )


def config_from_settings(
    settings: DitSettings, vocabulary: Vocabulary, dtype: torch.dtype
) -> dict[str, Any]:
    """Return the `config.json` of a folder of ours; `transformers` does not know its type."""
    return {
        "model_type": MODEL_TYPE,
        "architectures": [ARCHITECTURE],
        "vocab_size": settings.vocabulary_size,
        "mask_token_id": settings.mask_id,
        "pad_token_id": vocabulary.pad_id,
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
        "hidden_size": settings.hidden_size,
        "num_hidden_layers": settings.num_layers,
        "num_attention_heads": settings.num_heads,
        "conditioning_size": settings.conditioning_size,
        "max_position_embeddings": settings.max_tokens,
        "time_conditioned": settings.time_conditioned,
        "dtype": str(dtype).removeprefix("torch."),
    }
