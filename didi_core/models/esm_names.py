"""Tensor names: this package's ESM layout to and from those of `transformers` `EsmForMaskedLM`.

The published layout keeps query, key and value apart; here they are one matrix, `qkv`, stacked in
that order along its first axis. DPLM (arXiv 2402.18567) and FastPLMs use the published names
unchanged; DSM calls the bias of the logits `lm_head.decoder.bias`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from didi_core.errors import UserError
from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_core.models.rotary import inverse_frequencies
from didi_core.models.weight_checks import (
    require_finite,
    require_layers,
    require_same_names,
    require_shapes,
)
from didi_core.models.without_weights import without_weights

_MODULE_NAMES = {
    "embedding": "esm.embeddings.word_embeddings",
    "final_norm": "esm.encoder.emb_layer_norm_after",
    "head_dense": "lm_head.dense",
    "head_norm": "lm_head.layer_norm",
    # Of ours alone, where the network is conditioned on time.
    "sigma_embedding.mlp_in": "esm.time_embedding.mlp.0",
    "sigma_embedding.mlp_out": "esm.time_embedding.mlp.2",
    "final_norm.modulation": "esm.encoder.emb_layer_norm_after.modulation",
}
_BLOCK_MODULE_NAMES = {
    "attention_norm": "attention.LayerNorm",
    "attention_norm.modulation": "attention.LayerNorm.modulation",
    "attention_out": "attention.output.dense",
    "mlp_norm": "LayerNorm",
    "mlp_norm.modulation": "LayerNorm.modulation",
    "mlp_in": "intermediate.dense",
    "mlp_out": "output.dense",
}
_QKV_NAMES = ("query", "key", "value")
_TIME_AT_INPUT = "esm.time_embedding.out.weight"
_OUTPUT = "lm_head.decoder.weight"
_EMBEDDING = "esm.embeddings.word_embeddings.weight"
_NORM_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
_NORM_ALIAS = re.compile(r"LayerNorm\.(gamma|beta)$")
_IGNORED = re.compile(
    r"(.*\.)?inv_freq|esm\.embeddings\.position_ids|esm\.embeddings\.position_embeddings\.weight"
    r"|esm\.contact_head\..*|(esm\.)?pooler\..*|lm_head\.decoder\.weight"
)


def published_names(name: str, settings: EsmSettings) -> list[str]:
    """Return the published tensor or tensors that make up our tensor `name`, in stacking order."""
    if name == "head_bias":
        return ["lm_head.bias" if settings.logit_cap is None else "lm_head.decoder.bias"]
    if name == "output_matrix":
        return [_OUTPUT]
    module, _, kind = name.rpartition(".")
    if module in _MODULE_NAMES:
        return [f"{_MODULE_NAMES[module]}.{kind}"]
    _, layer, part = module.split(".", 2)
    prefix = f"esm.encoder.layer.{layer}"
    if part == "qkv":
        return [f"{prefix}.attention.self.{which}.{kind}" for which in _QKV_NAMES]
    return [f"{prefix}.{_BLOCK_MODULE_NAMES[part]}.{kind}"]


def to_published(denoiser: EsmDenoiser, dtype: torch.dtype) -> dict[str, Tensor]:
    """Give the weights their published names, cast to `dtype`, on the CPU.

    The head that predicts contacts, which this network lacks, is written as zeros. An output
    matrix that is the embedding is not written twice. Rotary frequencies are written for each
    layer, in float32: transformers 4 and 5 read them so, and complain of a file without.

    Raises:
        UserError: a weight does not fit into `dtype`, or is not finite.
    """
    published: dict[str, Tensor] = {}
    for name, tensor in denoiser.state_dict().items():
        names = published_names(name, denoiser.settings)
        for target, part in zip(names, tensor.chunk(len(names)), strict=True):
            published[target] = part.detach().to("cpu", dtype).contiguous().clone()
    settings = denoiser.settings
    num_maps = settings.num_layers * settings.num_heads
    published["esm.contact_head.regression.weight"] = torch.zeros(1, num_maps, dtype=dtype)
    published["esm.contact_head.regression.bias"] = torch.zeros(1, dtype=dtype)
    for layer in range(settings.num_layers):
        name = f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
        published[name] = inverse_frequencies(settings.hidden_size // settings.num_heads)
    require_finite(published, f"the model, cast to {str(dtype).removeprefix('torch.')}")
    return published


def from_published(
    weights: Mapping[str, Tensor], settings: EsmSettings, source: str
) -> EsmDenoiser:
    """Build a denoiser that holds `weights`, in float32.

    Args:
        weights: tensors under their published names; a common prefix, as training frameworks
            write it (`model.net.`), is allowed.
        source: the file or folder, for messages.

    Raises:
        UserError: tensors are missing, unexpected, of another shape, or not finite. The message
            lists them.
    """
    weights = _with_usual_names(weights)
    if _TIME_AT_INPUT in weights:
        raise UserError(
            f"{source}: an earlier version made this model, in which the time was added to the "
            "input and could outgrow it. It cannot be read any more: train it again."
        )
    if settings.logit_cap is not None and _OUTPUT not in weights:
        settings = replace(settings, own_output_matrix=False)  # DSM's code ties it on its own
    require_layers(settings.num_layers, weights, source)
    with without_weights():
        denoiser = EsmDenoiser(settings)
    shapes = {name: tensor.shape for name, tensor in denoiser.state_dict().items()}
    expected = _published_shapes(shapes, settings)
    names = {name for name in weights if name in expected or not _IGNORED.fullmatch(name)}
    require_same_names(expected, names, source)
    used = {name: weights[name] for name in expected}
    if not settings.own_output_matrix:
        _require_tied(weights, source)
    require_shapes(used, expected, source)
    require_finite(used, source)
    state = {}
    for name in shapes:
        parts = [used.pop(published).float() for published in published_names(name, settings)]
        state[name] = torch.cat(parts)
    denoiser.load_state_dict(state, strict=True, assign=True)
    return denoiser


def _published_shapes(
    shapes: Mapping[str, torch.Size], settings: EsmSettings
) -> dict[str, torch.Size]:
    """Return what the file must hold, from the shapes of our tensors."""
    expected = {}
    for name, shape in shapes.items():
        parts = published_names(name, settings)
        expected.update(dict.fromkeys(parts, torch.Size([shape[0] // len(parts), *shape[1:]])))
    return expected


def _with_usual_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Strip a prefix common to the network, and call norms `weight` and `bias`.

    `save_pretrained` of transformers 5 was seen (5.23.0) to write the blocks' norms as `gamma`
    and `beta`, as TensorFlow called them.
    """
    prefix = next((n.removesuffix(_EMBEDDING) for n in weights if n.endswith(_EMBEDDING)), "")
    usual = {}
    for name, tensor in weights.items():
        new = _NORM_ALIAS.sub(lambda match: _NORM_NAMES[match[0]], name.removeprefix(prefix))
        # Two tensors that would share a name stay apart, and one of them is then unexpected.
        usual[name if new in weights and new != name else new] = tensor
    return usual


def _require_tied(weights: Mapping[str, Tensor], source: str) -> None:
    if _OUTPUT in weights and not torch.equal(weights[_OUTPUT], weights[_EMBEDDING]):
        raise UserError(
            f"{source}: {_OUTPUT} differs from {_EMBEDDING}, though tie_word_embeddings in "
            "config.json does not say false: which one makes the logits is not known."
        )
