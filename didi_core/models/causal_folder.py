"""Hugging Face causal LMs as model folders: judges and baselines, read strictly and written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from didi_core.errors import UserError
from didi_core.io.files import (
    atomic_path,
    shown,
    write_json,
    write_text,
)
from didi_core.models.safe_reader import refuse_unreadable
from didi_core.models.weight_files import refuse_adapter, refuse_lone_shards

if TYPE_CHECKING:
    from transformers import PreTrainedModel

REFERENCE_ROWS = "reference_rows.json"
"""What a judge finds of real sequences, in its folder: the scale for generated ones."""


def write_causal_folder(
    folder: Path,
    model: "PreTrainedModel",
    card: str,
    dtype: torch.dtype = torch.float32,
    extra_config: Mapping[str, Any] | None = None,
) -> None:
    """Write README.md, model.safetensors and, last, config.json; each file appears whole.

    The vocabulary or tokenizer is the caller's to write, before.

    Args:
        extra_config: more keys of `config.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "README.md", card)
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in model.state_dict().items()
        if not (name == "lm_head.weight" and model.config.tie_word_embeddings)
    }
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    config = json.loads(model.config.to_json_string())
    config |= {
        "architectures": [type(model).__name__],
        "dtype": str(dtype).removeprefix("torch."),
        **(extra_config or {}),
    }
    write_json(folder / "config.json", config)


def load_causal_model(folder: Path, described: str) -> "PreTrainedModel":
    """Load the network in float32 and evaluation mode, every tensor accounted for.

    Args:
        described: what messages call it: the flag and its value.

    Raises:
        UserError: no causal language model, or weights that are quantised, do not fit it or are not
            finite.
    """
    refuse_adapter(folder)
    if not (files := shown(folder.glob("*.safetensors"))):
        raise UserError(f"{described}: {folder} has no weights (model.safetensors).")
    refuse_lone_shards(folder, files)
    for path in files:
        refuse_unreadable(path)
    # Here, as all of its networks' modules: only who opens such a model waits for them.
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # transformers lets through whatever a wrong config.json leads to
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{described} is no causal language model we can open: {reason}") from error
    wrong = {kind: sorted(map(str, keys)) for kind, keys in report.items() if keys}
    if wrong:
        listed = "; ".join(f"{kind}: {', '.join(keys)}" for kind, keys in wrong.items())
        raise UserError(f"{described}: the weights do not fit its config.json: {listed}.")
    bad = [key for key, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise UserError(f"{described}: weights that are not finite: {', '.join(bad)}.")
    return model.eval()


def read_reference_rows(folder: Path) -> dict[str, Any] | None:
    """Read what the judge in `folder` finds of real and shuffled sequences; None where unknown."""
    path = folder / REFERENCE_ROWS
    try:
        rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}): fetch the judge again.") from error
    return rows if isinstance(rows, dict) else None
