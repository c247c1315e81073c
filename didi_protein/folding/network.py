"""Open the folding model that `--fold` names, a folder or a hub id, through transformers alone."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

from didi_core.errors import UserError
from didi_core.models.hub import find_folder
from didi_protein.folding import ESMFOLD2, HUB_IDS
from didi_protein.folding.esmfold import open_esmfold
from didi_protein.folding.fold import FoldingModel, FoldRequest
from didi_protein.folding.loading import PRECISIONS
from didi_protein.models.load import BUNDLED_MODELS


def open_folding_model(
    name: str,
    device: torch.device | str = "cpu",
    *,
    precision: str = "auto",
    offline: bool = False,
    request: FoldRequest | None = None,
) -> FoldingModel:
    """Open the model that `--fold` names.

    Args:
        name: `esmfold`, `esmfold2`, `esmfold2-fast`, a folder, or a hub id.
        precision: of the language-model half: float32, fp16, bf16, or auto (half precision on a
            GPU, float32 on a CPU).
        request: how sequences are folded.

    Raises:
        UserError: there is none of that name on this machine, it does not fold, transformers is
            too old for it, its weights do not fit, or it cannot be asked for this.
    """
    if precision not in ("auto", *PRECISIONS):
        raise UserError(f"--fold-precision {precision}: use auto, {', '.join(PRECISIONS)}.")
    hub_id = HUB_IDS.get(name, name)
    if name.startswith(ESMFOLD2) and name in HUB_IDS:
        _require_esmfold2(name)  # before gigabytes are fetched
    place = BUNDLED_MODELS.path_of(hub_id)  # none of them folds, and that is the clearer message
    folder = find_folder(place, offline=offline, program="didi-protein", flag="--fold")
    content = _read_config(folder, name)
    request = request or FoldRequest()
    if content["model_type"] == "esm":
        return open_esmfold(name, folder, content, torch.device(device), precision, request)
    _require_esmfold2(name)
    from didi_protein.folding.esmfold2 import open_esmfold2  # transformers of old lacks its network

    return open_esmfold2(name, folder, content, torch.device(device), precision, request)


def _require_esmfold2(name: str) -> None:
    if not hasattr(transformers, "EsmFold2Model"):
        raise UserError(
            f"--fold {name} is an ESMFold2, which transformers {transformers.__version__} does not "
            "have: pip install -U 'transformers>=5.16'"
        )


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"--fold {name}: {folder} has no config.json: it is no model folder.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind = content["model_type"]
        folds = kind == "esmfold2" or (kind == "esm" and content["is_folding_model"] is True)
    except (ValueError, KeyError, TypeError):
        folds = False
    if not folds:
        published = ", ".join(f"{short} ({hub_id})" for short, hub_id in HUB_IDS.items())
        raise UserError(
            f"--fold {name}: {path} describes no ESMFold (model_type esm, is_folding_model true) "
            f"and no ESMFold2 (model_type esmfold2); use {published}, or a folder of such a layout."
        )
    return content
