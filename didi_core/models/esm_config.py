"""`config.json` of an ESM-2 or DPLM folder, to and from `EsmSettings`.

A network conditioned on time has a type of ours, `didi_esm`, which `transformers` does not know and
so refuses: opened as an ESM-2 it would silently answer for no time at all.

Defaults for keys that a file leaves out are those of `transformers` `EsmConfig`, so that a folder
means the same here and there.
"""

from collections.abc import Mapping
from typing import Any

import torch

from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.models.esm import EsmSettings

ARCHITECTURES = ("EsmForMaskedLM", "EsmForDPLM")
TIMED_MODEL_TYPE = "didi_esm"
TIMED_ARCHITECTURE = "DidiEsmForTimeConditionedDiffusion"
_REQUIRED = (
    "vocab_size",
    "mask_token_id",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
)
# What this network cannot do, by config key: the values that are fine, and what the rest means.
_ONLY = {
    "position_embedding_type": (("rotary",), "absolute", "positions other than rotary"),
    "emb_layer_norm_before": ((False, None), None, "a layer norm before the first block"),
    "tie_word_embeddings": ((True,), True, "an output matrix apart from the embedding"),
    "is_folding_model": ((False, None), None, "a folding model"),
    "is_decoder": ((False, None), None, "a decoder"),
    "add_cross_attention": ((False, None), None, "cross-attention"),
    "rope_theta": ((10_000, None), None, "another rotary base than 10000"),
}


def settings_from_config(config: Mapping[str, Any], source: str) -> EsmSettings:
    """Read the shape of the network.

    Raises:
        UserError: another kind of model, a feature this network lacks, or a key left out.
    """
    _require_supported(config, source)
    _require_numbers(config, source)
    if config["hidden_size"] % (2 * config["num_attention_heads"]):
        raise UserError(
            f"{source}: hidden_size {config['hidden_size']} in config.json is not an even "
            f"multiple of num_attention_heads {config['num_attention_heads']}."
        )
    return EsmSettings(
        vocabulary_size=config["vocab_size"],
        num_layers=config["num_hidden_layers"],
        hidden_size=config["hidden_size"],
        num_heads=config["num_attention_heads"],
        intermediate_size=config["intermediate_size"],
        mask_id=config["mask_token_id"],
        max_tokens=config.get("max_position_embeddings", 1026),
        token_dropout=bool(config.get("token_dropout", False)),
        layer_norm_eps=config.get("layer_norm_eps", 1e-12),
        time_conditioned=config["model_type"] == TIMED_MODEL_TYPE,
        conditioning_size=config.get("conditioning_size", 128),
        time_at_input=bool(config.get("time_at_input", False)),
    )


def _require_numbers(config: Mapping[str, Any], source: str) -> None:
    missing = [key for key in _REQUIRED if config.get(key) is None]
    if missing:
        raise UserError(f"{source}: config.json lacks {', '.join(missing)}.")
    optional = ("max_position_embeddings", "layer_norm_eps", "conditioning_size")
    for key in (*_REQUIRED, *optional):
        value = config.get(key, 1)
        kinds = (int, float) if key == "layer_norm_eps" else (int,)
        lowest = 0 if key in ("mask_token_id", "layer_norm_eps") else 1
        if type(value) not in kinds or value < lowest:
            raise UserError(f"{source}: {key} is {value!r} in config.json, not a positive number.")


def _require_supported(config: Mapping[str, Any], source: str) -> None:
    if config.get("model_type") == TIMED_MODEL_TYPE:
        accepted: tuple[str, ...] = (TIMED_ARCHITECTURE,)
    elif config.get("model_type") == "esm":
        accepted = ARCHITECTURES
    else:
        raise UserError(
            f"{source}: model_type {config.get('model_type')!r} in config.json is not 'esm'; "
            "models in the ESM-2 or DPLM layout are read here."
        )
    architectures = config.get("architectures") or [accepted[0]]
    listed = architectures if isinstance(architectures, list) else [architectures]
    if not any(each in accepted for each in listed):
        raise UserError(
            f"{source}: architectures {architectures} in config.json has no masked-language head; "
            f"one of {', '.join(accepted)} is needed."
        )
    for key, (possible, default, meaning) in _ONLY.items():
        value = config.get(key, default)
        if value not in possible:
            raise UserError(
                f"{source}: {key} is {value!r} in config.json: {meaning}; not supported."
            )


def config_from_settings(
    settings: EsmSettings, vocabulary: Vocabulary, dtype: torch.dtype
) -> dict[str, Any]:
    """Return the `config.json` with which `transformers.AutoModelForMaskedLM` opens the folder.

    It refuses that of a network conditioned on time.
    """
    timed = settings.time_conditioned
    time = {"conditioning_size": settings.conditioning_size}
    time |= {"time_at_input": settings.time_at_input}
    dtype_name = str(dtype).removeprefix("torch.")
    return {
        "model_type": TIMED_MODEL_TYPE if timed else "esm",
        "architectures": [TIMED_ARCHITECTURE if timed else ARCHITECTURES[0]],
        **(time if timed else {}),
        "vocab_size": settings.vocabulary_size,
        "mask_token_id": settings.mask_id,
        "pad_token_id": vocabulary.pad_id,
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
        "hidden_size": settings.hidden_size,
        "num_hidden_layers": settings.num_layers,
        "num_attention_heads": settings.num_heads,
        "intermediate_size": settings.intermediate_size,
        "max_position_embeddings": settings.max_tokens,
        "layer_norm_eps": settings.layer_norm_eps,
        "position_embedding_type": "rotary",
        "emb_layer_norm_before": False,
        "token_dropout": settings.token_dropout,
        "tie_word_embeddings": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "is_folding_model": False,
        "use_cache": False,
        # transformers 4 reads the first name, 5 the second.
        "torch_dtype": dtype_name,
        "dtype": dtype_name,
    }
