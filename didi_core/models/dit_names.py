"""Tensor names: this package's DiT layout to and from those of MDLM's code and its descendants.

The same names serve `kuleshov-group/mdlm-owt` (under `backbone.`), the checkpoints of the Duo
code base and `haoyangzheng/didi-instruct-small`, whose discriminator has `output_layer.main` in
place of the output layer. Query, key and value are one matrix there as here.
"""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from didi_core.models.dit import DitDenoiser, DitSettings
from didi_core.models.weight_checks import (
    require_finite,
    require_layers,
    require_same_names,
    require_shapes,
)
from didi_core.models.without_weights import without_weights

PREFIX = "backbone."
"""Before every name of a Hugging Face folder of MDLM, and of ours."""
EMBEDDING = "vocab_embed.embedding"
_NAMES = {
    "embedding.weight": EMBEDDING,
    "sigma_embedding.mlp_in": "sigma_map.mlp.0",
    "sigma_embedding.mlp_out": "sigma_map.mlp.2",
    "attention_norm": "norm1",
    "qkv": "attn_qkv",
    "attention_out": "attn_out",
    "mlp_norm": "norm2",
    "mlp_in": "mlp.0",
    "mlp_out": "mlp.2",
    "modulation": "adaLN_modulation",
    "output.norm": "output_layer.norm_final",
    "output.modulation": "output_layer.adaLN_modulation",
    "head_linear": "output_layer.linear",
}
_BLOCK = re.compile(r"(blocks\.\d+)\.(.+)")
_IGNORED = re.compile(r"(.*\.)?rotary_emb\.inv_freq")
_ORDER = ("norm1", "attn_qkv", "attn_out", "norm2", "mlp.0", "mlp.2", "adaLN_modulation")
_OUTPUT_ORDER = ("norm_final", "linear", "adaLN_modulation")


def published_name(name: str) -> str:
    """Return the name of our tensor `name` in the published network.

    >>> published_name("blocks.3.qkv.weight"), published_name("embedding.weight")
    ('blocks.3.attn_qkv.weight', 'vocab_embed.embedding')
    """
    if name in _NAMES:
        return _NAMES[name]
    module, _, kind = name.rpartition(".")
    if in_block := _BLOCK.fullmatch(module):
        return f"{in_block[1]}.{_NAMES[in_block[2]]}.{kind}"
    return f"{_NAMES[module]}.{kind}"


def published_order(num_layers: int, causal: bool = False) -> list[str]:
    """List the published network's parameters by name, in the order in which it lists them.

    Averaged weights of its training checkpoints have no names, only this order.

    Args:
        causal: the autoregressive one, which has no condition.
    """
    modules = [f"blocks.{layer}.{part}" for layer in range(num_layers) for part in _ORDER]
    modules += [f"output_layer.{part}" for part in _OUTPUT_ORDER]
    modules = ["sigma_map.mlp.0", "sigma_map.mlp.2", *modules]
    if causal:
        modules = [name for name in modules if not name.startswith("sigma") and "adaLN" not in name]
    names = [EMBEDDING]
    for module in modules:
        names.append(f"{module}.weight")
        if not re.search(r"norm\d|norm_final|attn_", module):
            names.append(f"{module}.bias")
    return names


def without_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name weights as the network's own module does, whatever stands before all of them."""
    prefix = next((n.removesuffix(EMBEDDING) for n in weights if n.endswith(EMBEDDING)), "")
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items()}


def is_dit(names: Iterable[str]) -> bool:
    """Return whether tensors of these names are a network in this layout, under whatever prefix."""
    return any(name.endswith(EMBEDDING) for name in names)


def to_published(denoiser: DitDenoiser, dtype: torch.dtype) -> dict[str, Tensor]:
    """Give the weights their published names, with `backbone.`, cast to `dtype`, on the CPU.

    Raises:
        UserError: a weight does not fit into `dtype`, or is not finite.
    """
    published = {PREFIX + name: tensor for name, tensor in published_state(denoiser, dtype).items()}
    require_finite(published, f"the model, cast to {str(dtype).removeprefix('torch.')}")
    return published


def published_state(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """Copy a network's tensors under their published names, without prefix."""
    return {
        published_name(name): tensor.detach().to("cpu", dtype).contiguous().clone()
        for name, tensor in network.state_dict().items()
    }


def from_published(
    weights: Mapping[str, Tensor], settings: DitSettings, source: str
) -> DitDenoiser:
    """Build a denoiser that holds `weights`, in float32.

    Args:
        weights: tensors under their published names; a common prefix (`backbone.`) is allowed.
        source: the file or folder, for messages.

    Raises:
        UserError: tensors are missing, unexpected, of another shape, or not finite. The message
            lists them.
    """
    require_layers(settings.num_layers, weights, source)
    with without_weights():
        denoiser = DitDenoiser(settings)
    state = read_state(without_prefix(weights), denoiser, source)
    denoiser.load_state_dict(state, strict=True, assign=True)
    return denoiser


def read_state(weights: Mapping[str, Tensor], network: nn.Module, source: str) -> dict[str, Tensor]:
    """Read the state of `network`, in float32, from tensors under their published names.

    Raises:
        UserError: as `from_published`.
    """
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    expected = {published_name(name): shape for name, shape in shapes.items()}
    require_same_names(expected, (n for n in weights if not _IGNORED.fullmatch(n)), source)
    require_shapes(weights, expected, source)
    require_finite({name: weights[name] for name in expected}, source)
    # Copied: tensors that lie in a mapped file are not aligned, and round otherwise.
    return {name: weights[published_name(name)].to(torch.float32, copy=True) for name in shapes}
