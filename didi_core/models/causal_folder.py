"""Writing a Hugging Face causal LM as a model folder that `transformers` opens by itself."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from didi_core.files import atomic_path, write_json, write_text


def write_causal_folder(
    folder: Path, model: PreTrainedModel, card: str, dtype: torch.dtype = torch.float32
) -> None:
    """Write README.md, model.safetensors and, last, config.json; each file appears whole.

    The vocabulary or tokenizer is the caller's to write, before.
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
    }
    write_json(folder / "config.json", config)
