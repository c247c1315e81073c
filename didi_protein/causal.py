"""Autoregressive models over residues: built, saved and opened as Hugging Face causal LMs."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from didi_core.files import atomic_path, write_json, write_text
from didi_core.vocabulary import Vocabulary
from didi_protein.pretrain_settings import ModelSettings


def build_causal_model(model: ModelSettings, vocabulary: Vocabulary) -> LlamaForCausalLM:
    """A freshly initialised Llama-layout network; weights come from torch's global seed."""
    config = LlamaConfig(
        vocab_size=vocabulary.size,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_heads,
        num_key_value_heads=model.num_heads,
        max_position_embeddings=model.max_residues + vocabulary.num_special_per_sequence,
        bos_token_id=vocabulary.bos_id,
        eos_token_id=vocabulary.eos_id,
        pad_token_id=vocabulary.pad_id,
        tie_word_embeddings=True,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def save_causal_folder(
    folder: Path,
    model: nn.Module,
    vocabulary: Vocabulary,
    card: str,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write config.json, vocab.txt, README.md and model.safetensors, each file atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "vocab.txt", "\n".join(vocabulary.tokens) + "\n")
    write_text(folder / "README.md", card)
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    config = json.loads(model.config.to_json_string())
    config |= {"architectures": ["LlamaForCausalLM"], "dtype": str(dtype).removeprefix("torch.")}
    write_json(folder / "config.json", config)
