"""ESMFold behind the interface of folding models: opened from a folder, folding padded batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import EsmConfig, EsmForProteinFolding
from transformers.models.esm.openfold_utils import residue_constants

from didi_core.errors import UserError
from didi_core.models.fingerprint import weights_digest
from didi_core.models.weight_files import read_folder_weights
from didi_protein.folding.confidence import read_folds
from didi_protein.folding.fold import Fold, FoldRequest
from didi_protein.folding.loading import PRECISIONS, load_network
from didi_protein.folding.memory import bytes_per_pair, require_memory
from didi_protein.folding.trunk import run_network

_NEVER_REQUIRED = (".inv_freq", ".position_ids", "af2_to_esm")
_UNUSED = (".contact_head.", ".pooler.", ".position_embeddings.")


@dataclass(frozen=True)
class EsmFold:
    """ESMFold, ready to fold."""

    name: str
    """What the user called it."""
    network: EsmForProteinFolding
    """In evaluation mode; the language-model half in `precision`, all else in float32."""
    precision: str
    fingerprint: str
    """Of its weights."""
    recycles: int
    """Passes after the first."""

    @property
    def draws(self) -> bool:
        return False

    @property
    def settings(self) -> dict[str, Any]:
        return {"recycles": self.recycles}

    def fold_batch(self, sequences: Sequence[str], chunk_size: int | None) -> list[Fold]:
        """Fold sequences in one padded batch, in chunks of this size."""
        width = max(map(len, sequences))
        pair_bytes = bytes_per_pair(self.network.config)
        require_memory(pair_bytes, len(sequences), width, self.network.device)
        encoded = [self._encode(each) for each in sequences]
        batch = run_network(self.network, encoded, self.recycles, chunk_size)
        return read_folds(self.network, batch)

    def _encode(self, sequence: str) -> Tensor:
        """Return AlphaFold's residue numbers [length] of the residues, on the network's device."""
        order = residue_constants.restype_order
        return torch.tensor([order[residue] for residue in sequence], device=self.network.device)


def open_esmfold(
    name: str,
    folder: Path,
    content: Mapping[str, Any],
    device: torch.device,
    precision: str,
    request: FoldRequest,
) -> EsmFold:
    """Open ESMFold.

    Args:
        name: what the user called it.
        content: of its config.json.
        precision: of the language-model half, or auto: fp16, as published, on a GPU, float32 on a
            CPU.

    Raises:
        UserError: it has no language-model half, or its weights do not fit.
    """
    flag = f"--fold {name}"
    network = load_network(
        EsmForProteinFolding,
        _config_from(content, flag),
        read_folder_weights(folder),
        flag,
        _is_ignored,
    )
    network.esm.contact_head = None  # unused; drawn at random where the file has none
    fingerprint = weights_digest(network)
    network = network.to(device).eval().requires_grad_(False)
    if precision == "auto":
        precision = "fp16" if device.type == "cuda" else "float32"
    # Parameters alone: the rotary frequencies are no weights, and half of their digits would be
    # lost where the file still has them.
    for parameter in network.esm.parameters():
        parameter.data = parameter.data.to(PRECISIONS[precision])
    default = network.config.esmfold_config.trunk.max_recycles - 1
    recycles = default if request.recycles is None else request.recycles
    return EsmFold(name, network, precision, fingerprint, recycles)


def _is_ignored(key: str) -> bool:
    return key.endswith(_NEVER_REQUIRED) or any(part in f".{key}" for part in _UNUSED)


def _config_from(content: Mapping[str, Any], flag: str) -> EsmConfig:
    config = EsmConfig.from_dict(dict(content))
    settings = config.esmfold_config
    if settings.bypass_lm or settings.esm_ablate_sequence:
        raise UserError(f"{flag}: a model without its language-model half is not folded.")
    settings.fp16_esm = False  # all is read in float32 first; the precision is settled afterwards
    return config
