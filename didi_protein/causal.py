"""Autoregressive models over residues: built, saved and opened as Hugging Face causal LMs."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from didi_core.files import write_text
from didi_core.models.causal_folder import write_causal_folder
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
    model: PreTrainedModel,
    vocabulary: Vocabulary,
    card: str,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write vocab.txt, README.md, model.safetensors and config.json, each file atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "vocab.txt", "\n".join(vocabulary.tokens) + "\n")
    write_causal_folder(folder, model, card, dtype)
