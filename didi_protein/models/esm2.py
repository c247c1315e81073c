"""ESM-2 through fair-esm, by name, from weights that are already on this machine.

The published files are pickles; they are opened by the safe reader, never by `torch.load` alone.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from didi_core.errors import UserError
from didi_core.models.safe_reader import read_checkpoint
from didi_protein.sequences.alphabet import ESM_TOKENS

MAX_RESIDUES = 1_022
"""Crop of ESM-2's training, without framing."""
PUBLISHED = (
    "esm2_t6_8M_UR50D",
    "esm2_t12_35M_UR50D",
    "esm2_t30_150M_UR50D",
    "esm2_t33_650M_UR50D",
    "esm2_t36_3B_UR50D",
    "esm2_t48_15B_UR50D",
)
"""Smallest first."""
_NAME = re.compile(r"esm2_t\d+_\w+_UR50D")
_PREFIX = re.compile(r"^encoder\.(sentence_encoder\.)?")
_UNUSED = re.compile(r"^contact_head\.")


class FairEsmDenoiser(nn.Module):
    """fair-esm's ESM-2 behind our denoiser interface: a trunk, and a head at chosen positions."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def trunk(self, tokens: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 (it sees the padding)
        """Return hidden states [batch, width, hidden] after the final norm."""
        last = self.network.num_layers
        return self.network(tokens, repr_layers=[last])["representations"][last]

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits [n, 33] of hidden states [n, hidden]."""
        return self.network.lm_head(hidden)


def is_esm2_name(name: str) -> bool:
    """Return whether `name` is one of fair-esm's, such as esm2_t6_8M_UR50D."""
    return _NAME.fullmatch(name) is not None


def esm2_hub_id(name: str) -> str:
    """Return the id of the same ESM-2 on the Hugging Face hub."""
    return f"facebook/{name}"


def weights_path(name: str) -> Path:
    """Return where torch hub, and `didi-protein download`, keep the weights of an ESM-2."""
    return Path(torch.hub.get_dir()) / "checkpoints" / f"{name}.pt"


def load_esm2(
    name: str, device: torch.device | str = "cpu", flag: str = "--pseudo"
) -> FairEsmDenoiser:
    """Load an ESM-2 in evaluation mode.

    Args:
        flag: what messages call the name: the flag it came from.

    Raises:
        UserError: its weights are not here, fair-esm is not installed, or the file is no ESM-2.
    """
    fair_esm = _fair_esm()
    path = weights_path(name)
    if not path.is_file():
        raise UserError(f"{flag} {name}: {_how_to_get(name, path)}")
    content = read_checkpoint(path)
    try:
        shape, tensors = content["cfg"]["model"], content["model"]
        network = _build(fair_esm, shape)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{flag} {name}: {path} is no checkpoint of ESM-2.") from error
    tensors = {_PREFIX.sub("", key): value for key, value in tensors.items()}
    _check_names(network, tensors, path)
    network.load_state_dict(tensors, strict=False)
    return FairEsmDenoiser(network).float().to(device).eval()


def _how_to_get(name: str, path: Path) -> str:
    if name not in PUBLISHED:
        return f"there is no ESM-2 of that name; the published ones are {', '.join(PUBLISHED)}."
    return (
        f"its weights are not on this machine ({path}): on a machine with network run "
        f"`didi-protein download {name}`, and set TORCH_HOME to that cache here."
    )


def _build(fair_esm: Any, shape: Any) -> nn.Module:
    alphabet = fair_esm.data.Alphabet.from_architecture("ESM-1b")
    if tuple(alphabet.all_toks) != ESM_TOKENS:
        raise UserError("The package esm has another alphabet than fair-esm 2: reinstall fair-esm.")
    return fair_esm.ESM2(
        num_layers=shape.encoder_layers,
        embed_dim=shape.encoder_embed_dim,
        attention_heads=shape.encoder_attention_heads,
        alphabet=alphabet,
        token_dropout=shape.token_dropout,
    )


def _check_names(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Require that all tensors are there and known, save the contact head's, which is not used."""
    expected, names = set(network.state_dict()), set(tensors)
    wrong = [key for key in sorted(expected ^ names) if not _UNUSED.match(key)]
    if wrong:
        raise UserError(f"{path} does not fit ESM-2: missing or unexpected {', '.join(wrong)}.")


def _fair_esm() -> Any:
    """Import the package fair-esm, not the newer one that shares its import name."""
    try:
        import esm
    except ImportError as error:
        raise UserError("ESM-2 needs the package fair-esm: pip install fair-esm") from error
    if not hasattr(esm, "ESM2"):
        # Both packages write into one folder: where both are installed, the last one wins, and
        # pip believes that fair-esm is there.
        raise UserError(
            f"The package esm at {getattr(esm, '__file__', None) or 'an unknown place'} is not "
            "fair-esm but the newer one of the same import name: run `pip uninstall --yes esm "
            "fair-esm`, then `pip install fair-esm` (or use two environments)."
        )
    return esm
