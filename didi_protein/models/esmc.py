"""ESMC through transformers, behind our denoiser interface: for pseudo-perplexity and embeddings.

Its first 33 tokens are ESM-2's but for three that no protein holds, so that the vocabulary is ours.
Code of a model folder is never run, and every tensor is accounted for.
"""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
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
    """Return whether the config of a model folder says that it is an ESMC."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return content.get("model_type") == "esmc"
    except (OSError, ValueError, AttributeError):
        return False


def load_esmc(folder: Path, device: torch.device | str, called: str) -> EsmcDenoiser:
    """Load an ESMC in evaluation mode, in float32.

    Args:
        called: flag and name, for messages.

    Raises:
        UserError: transformers is too old, or the weights do not fit the config.
    """
    if not hasattr(transformers, "EsmcForMaskedLM"):
        raise UserError(
            f"{called} is an ESMC, which transformers {transformers.__version__} does not have: "
            "pip install -U 'transformers>=5.16'"
        )
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    network = transformers.EsmcForMaskedLM(transformers.EsmcConfig.from_dict(content))
    weights = read_folder_weights(folder)
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
