"""ESMC through transformers, behind our denoiser interface: for pseudo-perplexity and embeddings.

Its first 33 tokens are ESM-2's but for three that no protein holds, so that the vocabulary is ours.
Code of a model folder is never run, and every tensor is accounted for. FastPLMs' ESM++ is the same
network under other names, in which projections of one input are one matrix.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from didi_core.errors import UserError
from didi_core.models.weight_files import read_folder_weights

HUB_IDS = {
    "esmc_300m": "biohub/ESMC-300M",
    "esmc_600m": "biohub/ESMC-600M",
    "esmc_6b": "biohub/ESMC-6B",
}
"""The published ones, by their short names."""
_FRAMING = 2
_VOCABULARY = 64
_PLUS_TYPE = "ESMplusplus"
_PLUS_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
_PLUS_NAMES = {
    "embed": "esmc.embed_tokens",
    "transformer.norm": "esmc.norm",
    "sequence_head.0": "lm_head.dense",
    "sequence_head.2": "lm_head.layer_norm",
    "sequence_head.3": "lm_head.decoder",
}
_PLUS_BLOCK_NAMES = {
    "attn.layernorm_qkv.0": ("input_layernorm",),
    "attn.layernorm_qkv.1": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn.q_ln": ("self_attn.q_norm",),
    "attn.k_ln": ("self_attn.k_norm",),
    "attn.out_proj": ("self_attn.o_proj",),
    "ffn.0": ("post_attention_layernorm",),
    "ffn.1": ("mlp.gate_proj", "mlp.up_proj"),
    "ffn.3": ("mlp.down_proj",),
}
_PLUS_BLOCK = re.compile(r"transformer\.blocks\.(\d+)\.(.+)")
_NOT_WEIGHTS = ("rotary_emb.inv_freq", "rotary_emb.original_inv_freq")


class EsmcDenoiser(nn.Module):
    """ESMC as a trunk, and a head at chosen positions."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    @property
    def max_residues(self) -> int:
        """Return the longest sequence it has positions for, without framing."""
        return self.network.config.max_position_embeddings - _FRAMING

    def trunk(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return hidden states [batch, width, hidden] after the final norm.

        Args:
            tokens: framed and padded ids [batch, width].
            lengths: tokens of each row [batch], framing included.
        """
        places = torch.arange(tokens.shape[1], device=tokens.device)
        attended = (places < lengths[:, None]).long()  # padding is neither read nor written
        return self.network.esmc(input_ids=tokens, attention_mask=attended).last_hidden_state

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits [n, 64] of hidden states [n, hidden]."""
        return self.network.lm_head(hidden)


def is_esmc(folder: Path) -> bool:
    """Return whether the config of a model folder says that it is an ESMC, or an ESM++."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return content.get("model_type") in ("esmc", _PLUS_TYPE)
    except (OSError, ValueError, AttributeError):
        return False


def load_esmc(folder: Path, device: torch.device | str, called: str) -> EsmcDenoiser:
    """Load an ESMC in evaluation mode, in float32.

    Args:
        called: flag and name, for messages.

    Raises:
        UserError: transformers is too old, or the config or the weights are not an ESMC's.
    """

    if not hasattr(transformers, "EsmcForMaskedLM"):
        raise UserError(
            f"{called} is an ESMC, which transformers {transformers.__version__} does not have: "
            "pip install -U 'transformers>=5.16'"
        )
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = read_folder_weights(folder)
    if content["model_type"] == _PLUS_TYPE:
        content, weights = _sizes_of_plus(content, called), _names_of_library(weights)
    network = transformers.EsmcForMaskedLM(_library_config(content, called))
    weights = {name: each for name, each in weights.items() if not name.endswith(_NOT_WEIGHTS)}
    expected = {name: each.shape for name, each in network.state_dict().items()}
    found = {name: each.shape for name, each in weights.items()}
    if wrong := sorted(name for name in expected | found if expected.get(name) != found.get(name)):
        raise UserError(
            f"{called}: the weights of {folder} do not fit its config.json; missing, unexpected or "
            f"of another shape: {', '.join(wrong)}."
        )
    network.load_state_dict(weights)
    return EsmcDenoiser(network).float().to(device).eval()


def _library_config(content: dict[str, Any], called: str) -> Any:
    """Return the library's config, which checks the sizes, of an ESMC with the vocabulary of all.

    Raises:
        UserError: the sizes do not go together, or the vocabulary is another.
    """
    from transformers import EsmcConfig

    try:
        config = EsmcConfig.from_dict(content)
    except (StrictDataclassError, ArithmeticError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"{called}: its config.json describes no ESMC: {why}") from error
    if config.vocab_size != _VOCABULARY:
        raise UserError(
            f"{called} has another vocabulary: vocab_size in config.json is {config.vocab_size}, "
            f"not {_VOCABULARY}."
        )
    return config


def _sizes_of_plus(content: Mapping[str, Any], called: str) -> dict[str, Any]:
    """Return the library's config of an ESM++, which leaves out what follows from the width."""
    wrong = [key for key in _PLUS_SIZES if type(content.get(key)) is not int or content[key] < 1]
    if wrong:
        raise UserError(f"{called}: config.json states no positive {', '.join(wrong)}.")
    # Eight thirds of the width, up to a multiple of 256.
    inner = -(-8 * content["hidden_size"] // (3 * 256)) * 256
    return {key: content[key] for key in _PLUS_SIZES} | {"intermediate_size": inner}


def _names_of_library(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of an ESM++, its stacked matrices cut; unknown ones keep their names."""
    renamed = {}
    for name, tensor in weights.items():
        module, _, kind = name.rpartition(".")
        block = _PLUS_BLOCK.fullmatch(module)
        if block and block[2] in _PLUS_BLOCK_NAMES and tensor.ndim:
            parts = _PLUS_BLOCK_NAMES[block[2]]
            for part, cut in zip(parts, tensor.chunk(len(parts)), strict=False):
                renamed[f"esmc.layers.{block[1]}.{part}.{kind}"] = cut
        else:
            renamed[f"{_PLUS_NAMES.get(module, module)}.{kind}"] = tensor
    return renamed
