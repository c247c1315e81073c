"""`config.json` of an ESM-2, DPLM, DSM or FastPLMs folder, to and from `EsmSettings`.

DSM (arXiv 2506.08293) is ESM-2's trunk under a head of its own: logits capped at 30, a bias of the
output matrix. Its config keeps `token_dropout` of the ESM-2 that it began as, but the code that it
was trained and is drawn with (Gleghorn-Lab/DSM, with Synthyra/FastPLMs as of June 2025) neither
zeroes masks nor rescales, and so it is never done here. FastPLMs' copies of ESM-2 and DPLM have an
output matrix apart from the embedding, and are otherwise what they are copies of.

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

TIMED_MODEL_TYPE = "didi_esm"
DSM_MODEL_TYPES = ("esm_diff", "dsm")
"""As the published folders say, and as the code of today does."""
ARCHITECTURES = {
    "esm": ("EsmForMaskedLM", "EsmForDPLM"),
    "fast_esm": ("FastEsmForMaskedLM",),
    "dplm": ("DPLMForMaskedLM",),
    "esm_diff": ("ESM_Diff",),
    "dsm": ("DSM",),
    TIMED_MODEL_TYPE: ("DidiEsmForTimeConditionedDiffusion",),
}
"""Masked models by `model_type`; the first is what is written."""
_DSM_LOGIT_CAP = 30.0
_OF_ESMC = ("esmc", "ESMplusplus")
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
    "tie_word_embeddings": ((True, False), True, "neither true nor false"),
    "is_folding_model": ((False, None), None, "a folding model"),
    "is_decoder": ((False, None), None, "a decoder"),
    "add_cross_attention": ((False, None), None, "cross-attention"),
    "rope_theta": ((10_000, None), None, "another rotary base than 10000"),
}
_ONLY_IN_DSM = {
    "layer_norm_eps": ((1e-5,), 1e-12, "another constant than 1e-05, which its head's norm has"),
    "lora": ((False, None), None, "adapters beside its weights"),
}


def settings_from_config(config: Mapping[str, Any], source: str) -> EsmSettings:
    """Read the shape of the network.

    Raises:
        UserError: another kind of model, a feature this network lacks, or a key left out.
    """
    _require_supported(config, source)
    dsm = _is_dsm(config)
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
        token_dropout=not dsm and bool(config.get("token_dropout", False)),
        layer_norm_eps=config.get("layer_norm_eps", 1e-12),
        own_output_matrix=not config.get("tie_word_embeddings", True),
        logit_cap=_DSM_LOGIT_CAP if dsm else None,
        time_conditioned=config["model_type"] == TIMED_MODEL_TYPE,
        conditioning_size=config.get("conditioning_size", 128),
    )


def _is_dsm(config: Mapping[str, Any]) -> bool:
    return config.get("model_type") in DSM_MODEL_TYPES


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
    kind = config.get("model_type")
    if kind in _OF_ESMC:
        raise UserError(
            f"{source}: model_type {kind!r} in config.json is an ESMC, which is another network: "
            "it scores (pseudo-perplexity, embeddings), but is neither drawn from nor trained here."
        )
    accepted = ARCHITECTURES.get(kind) if isinstance(kind, str) else None
    if accepted is None:
        raise UserError(
            f"{source}: model_type {kind!r} in config.json is none of {', '.join(ARCHITECTURES)}; "
            "masked models in the layout of ESM-2, DPLM, DSM or FastPLMs are read here."
        )
    architectures = config.get("architectures") or [accepted[0]]
    listed = architectures if isinstance(architectures, list) else [architectures]
    if not any(each in accepted for each in listed):
        raise UserError(
            f"{source}: architectures {architectures} in config.json is no masked model of one "
            f"sequence; {' or '.join(accepted)} is needed."
        )
    only = {**_ONLY, **(_ONLY_IN_DSM if _is_dsm(config) else {})}
    for key, (possible, default, meaning) in only.items():
        value = config.get(key, default)
        if value not in possible:
            raise UserError(
                f"{source}: {key} is {value!r} in config.json: {meaning}; not supported."
            )


def config_from_settings(
    settings: EsmSettings, vocabulary: Vocabulary, dtype: torch.dtype
) -> dict[str, Any]:
    """Return the `config.json` with which `transformers.AutoModelForMaskedLM` opens the folder.

    It refuses that of a network conditioned on time, or of DSM's, as a type it does not know.
    """
    timed = settings.time_conditioned
    kind = "esm" if settings.logit_cap is None else DSM_MODEL_TYPES[0]
    kind = TIMED_MODEL_TYPE if timed else kind
    dtype_name = str(dtype).removeprefix("torch.")
    return {
        "model_type": kind,
        "architectures": [ARCHITECTURES[kind][0]],
        **({"conditioning_size": settings.conditioning_size} if timed else {}),
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
        "tie_word_embeddings": not settings.own_output_matrix,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "is_folding_model": False,
        "use_cache": False,
        # transformers 4 reads the first name, 5 the second.
        "torch_dtype": dtype_name,
        "dtype": dtype_name,
    }
