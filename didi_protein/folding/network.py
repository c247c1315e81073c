"""Open ESMFold, a folder or a hub id, through transformers alone, every tensor accounted for."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import EsmConfig, EsmForProteinFolding
from transformers.models.esm.openfold_utils import residue_constants
from transformers.utils import logging as transformers_logging

from didi_core.errors import UserError
from didi_core.models.fingerprint import weights_digest
from didi_core.models.hub import find_folder
from didi_core.models.weight_files import read_folder_weights
from didi_protein.folding import ESMFOLD, ESMFOLD_HUB_ID
from didi_protein.models.load import BUNDLED_MODELS

PRECISIONS = {"float32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_NEVER_REQUIRED = (".inv_freq", ".position_ids", "af2_to_esm")
_UNUSED = (".contact_head.", ".pooler.", ".position_embeddings.")


@dataclass(frozen=True)
class FoldingModel:
    """ESMFold, ready to fold."""

    name: str
    """What the user called it."""
    network: EsmForProteinFolding
    """In evaluation mode; the language-model half in `precision`, all else in float32."""
    precision: str
    fingerprint: str
    """Of its weights: confidences of different weights never mix."""

    @property
    def device(self) -> torch.device:
        return self.network.esm_s_combine.device

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())

    @property
    def default_recycles(self) -> int:
        """Passes after the first that the model was trained with."""
        return self.network.config.esmfold_config.trunk.max_recycles - 1

    def encode(self, sequence: str) -> Tensor:
        """Return AlphaFold's residue numbers [length] of the residues, on the network's device."""
        order = residue_constants.restype_order
        return torch.tensor([order[residue] for residue in sequence], device=self.device)


def open_folding_model(
    name: str,
    device: torch.device | str = "cpu",
    *,
    precision: str = "auto",
    offline: bool = False,
) -> FoldingModel:
    """Open the model that `--fold` names.

    Args:
        name: `esmfold`, a folder, or a hub id.
        precision: of the language-model half: float32, fp16, bf16, or auto (fp16, as published, on
            a GPU, float32 on a CPU).

    Raises:
        UserError: there is none of that name on this machine, it is no ESMFold, or its weights do
            not fit.
    """
    hub_id = ESMFOLD_HUB_ID if name == ESMFOLD else name
    place = BUNDLED_MODELS.path_of(hub_id)  # none of them folds, and that is the clearer message
    folder = find_folder(place, offline=offline, program="didi-protein", flag="--fold")
    network = _load(_read_config(folder, name), read_folder_weights(folder), f"--fold {name}")
    network.esm.contact_head = None  # unused; drawn at random where the file has none
    fingerprint = weights_digest(network)
    network = network.to(device).eval().requires_grad_(False)
    precision = resolve_precision(precision, torch.device(device))
    # Parameters alone: the rotary frequencies are no weights, and half of their digits would be
    # lost where the file still has them.
    for parameter in network.esm.parameters():
        parameter.data = parameter.data.to(PRECISIONS[precision])
    return FoldingModel(name, network, precision, fingerprint)


def resolve_precision(precision: str, device: torch.device) -> str:
    """Choose the precision of the language-model half.

    Raises:
        UserError: it is unknown.
    """
    if precision == "auto":
        return "fp16" if device.type == "cuda" else "float32"
    if precision not in PRECISIONS:
        raise UserError(f"--fold-precision {precision}: use auto, {', '.join(PRECISIONS)}.")
    return precision


def _read_config(folder: Path, name: str) -> EsmConfig:
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"--fold {name}: {folder} has no config.json: it is no model folder.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        is_esmfold = content["model_type"] == "esm" and content["is_folding_model"] is True
    except (ValueError, KeyError, TypeError):
        is_esmfold = False
    if not is_esmfold:
        raise UserError(
            f"--fold {name}: {path} describes no ESMFold (model_type esm, is_folding_model true); "
            f"use {ESMFOLD}, which is {ESMFOLD_HUB_ID}, or a folder of that layout."
        )
    config = EsmConfig.from_dict(content)
    settings = config.esmfold_config
    if settings.bypass_lm or settings.esm_ablate_sequence:
        raise UserError(f"--fold {name}: a model without its language-model half is not folded.")
    settings.fp16_esm = False  # all is read in float32 first; `precision` decides afterwards
    return config


def _load(config: EsmConfig, weights: dict[str, Tensor], flag: str) -> EsmForProteinFolding:
    with _quiet():
        network, report = EsmForProteinFolding.from_pretrained(
            None,
            config=config,
            state_dict=dict(weights),
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in the report, and refused below
        )
    wrong = _mismatches(report)
    if wrong:
        raise UserError(f"{flag}: the weights do not fit its config.json: {'; '.join(wrong)}.")
    bad = [key for key, value in network.state_dict().items() if not value.isfinite().all()]
    if bad:
        raise UserError(f"{flag}: weights that are not finite: {', '.join(bad)}.")
    return network


def _mismatches(report: dict[str, Any]) -> list[str]:
    """List missing, unexpected and misshapen tensors, save those not needed or not used."""
    missing = [key for key in report["missing_keys"] if not _is_optional(key, _NEVER_REQUIRED)]
    unexpected = [key for key in report["unexpected_keys"] if not _is_optional(key)]
    # Each entry is the name of a tensor, or that and both shapes, by the version of transformers.
    misshapen = [
        each if isinstance(each, str) else str(each[0]) for each in report["mismatched_keys"]
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    return [f"{kind} {', '.join(sorted(keys))}" for kind, keys in kinds.items() if keys]


def _is_optional(key: str, endings: tuple[str, ...] = _NEVER_REQUIRED) -> bool:
    return key.endswith(endings) or any(part in f".{key}" for part in _UNUSED)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's own bar and its report, which we check ourselves."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()
