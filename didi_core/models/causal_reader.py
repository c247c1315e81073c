"""Open a Hugging Face causal language model: a judge, or an autoregressive baseline.

From safetensors alone, without code of the folder's own, and with every tensor accounted for.
"""

from pathlib import Path

import torch
from torch import nn

from didi_core.errors import UserError


def load_causal_model(folder: Path, what: str) -> nn.Module:
    """The network in float32 and evaluation mode.

    Args:
        folder: holds `config.json` and the weights.
        what: how messages begin: the flag and its value, as in "--judge gpt2-large".

    Raises:
        UserError: no causal language model, or weights that do not fit or are not finite.
    """
    # Imported here: the library takes a second, and most verbs open no such model.
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{what}: {folder} has no weights (model.safetensors).")
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
    except (ValueError, OSError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{what} is no causal language model we can open: {reason}") from error
    wrong = {kind: sorted(map(str, keys)) for kind, keys in report.items() if keys}
    if wrong:
        listed = "; ".join(f"{kind}: {', '.join(keys)}" for kind, keys in wrong.items())
        raise UserError(f"{what}: the weights do not fit its config.json: {listed}.")
    bad = [key for key, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise UserError(f"{what}: weights that are not finite: {', '.join(bad)}.")
    return model.eval()
