"""Autoregressive checkpoints in MDLM's layout (`ar.ckpt`), as a causal LM of transformers.

The published baseline is the DiT without its condition, under a causal mask: norms without bias,
rotary positions, a feed-forward part with GELU, an output matrix of its own. That is GPT-NeoX in
sequence, whose norms have a bias, here zero, and whose output has none, here given one. So it is
sampled with transformers' own cache, as every causal LM is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.models.dit import MLP_RATIO, DitSettings
from didi_core.models.dit_config import causal_settings, is_autoregressive
from didi_core.models.dit_names import EMBEDDING, published_order
from didi_core.models.lightning_ckpt import read_lightning_checkpoint
from didi_core.models.weight_checks import (
    require_finite,
    require_layers,
    require_same_names,
    require_shapes,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NEVER = -1e6
"""Logit of the mask, which is no token that an autoregressive model writes; as published."""
_IN_BLOCK = {
    "norm1": "input_layernorm",
    "attn_qkv": "attention.query_key_value",
    "attn_out": "attention.dense",
    "norm2": "post_attention_layernorm",
    "mlp.0": "mlp.dense_h_to_4h",
    "mlp.2": "mlp.dense_4h_to_h",
}
_QKV = ".attn_qkv.weight"


def read_causal_checkpoint(path: Path, vocabulary: Vocabulary) -> "PreTrainedModel | None":
    """Read an autoregressive training checkpoint; None where it is of another kind.

    Raises:
        UserError: tensors are missing, unexpected, of another shape or not finite, or their number
            of ids is not the vocabulary's.
    """
    checkpoint = read_lightning_checkpoint(path)
    if not is_autoregressive(checkpoint.config):
        return None
    weights, source = checkpoint.weights, str(path)
    settings = causal_settings(checkpoint.config, source, weights)
    if settings.vocabulary_size != vocabulary.size:
        raise UserError(
            f"{source} has {settings.vocabulary_size:,} ids and its tokenizer "
            f"{vocabulary.size:,}, mask included: give another --tokenizer."
        )
    require_layers(settings.num_layers, weights, source)
    names = published_order(settings.num_layers, causal=True)
    require_same_names(names, (n for n in weights if not n.endswith("inv_freq")), source)
    network = _fresh(settings)
    state = _renamed(weights, names, settings)
    require_shapes(state, {n: t.shape for n, t in network.state_dict().items()}, source)
    require_finite(state, source)
    network.load_state_dict(state)
    head: Any = network.get_output_embeddings()
    with torch.no_grad():
        head.bias[vocabulary.mask_id] = NEVER
    return network.eval()


def _fresh(settings: DitSettings) -> "PreTrainedModel":
    # Imported here: only who opens such a model waits for it.
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    network = GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=settings.vocabulary_size,
            hidden_size=settings.hidden_size,
            num_hidden_layers=settings.num_layers,
            num_attention_heads=settings.num_heads,
            intermediate_size=MLP_RATIO * settings.hidden_size,
            max_position_embeddings=settings.max_tokens,
            hidden_act="gelu_pytorch_tanh",
            rotary_pct=1.0,
            use_parallel_residual=False,
            attention_bias=False,
            tie_word_embeddings=False,
        )
    )
    head: Any = network.get_output_embeddings()
    head.bias = nn.Parameter(torch.zeros(settings.vocabulary_size))
    return network


def _renamed(
    weights: Mapping[str, Tensor], names: list[str], settings: DitSettings
) -> dict[str, Tensor]:
    """Name the tensors as GPT-NeoX does, with the biases of norms, which are zero."""
    state = {}
    for name in names:
        tensor = weights[name].float()
        if name.endswith(_QKV) and tensor.shape == (3 * settings.hidden_size, settings.hidden_size):
            # Published: all queries, all keys, all values; GPT-NeoX: head by head.
            parts = tensor.view(3, settings.num_heads, -1, settings.hidden_size)
            tensor = parts.transpose(0, 1).reshape(tensor.shape)
        state[_neox_name(name)] = tensor
        if "norm" in name:
            state[_neox_name(name).replace(".weight", ".bias")] = torch.zeros_like(tensor)
    return state


def _neox_name(name: str) -> str:
    """
    >>> _neox_name("blocks.3.mlp.0.bias"), _neox_name("output_layer.linear.weight")
    ('gpt_neox.layers.3.mlp.dense_h_to_4h.bias', 'lm_head.weight')
    """
    if name == EMBEDDING:
        return "gpt_neox.embed_in.weight"
    module, _, kind = name.rpartition(".")
    if module.startswith("output_layer."):
        output = {"norm_final": "gpt_neox.final_layer_norm", "linear": "lm_head"}
        return f"{output[module.removeprefix('output_layer.')]}.{kind}"
    _, layer, part = module.split(".", 2)
    return f"gpt_neox.layers.{layer}.{_IN_BLOCK[part]}.{kind}"
