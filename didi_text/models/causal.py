"""Autoregressive models of text, in GPT-2's layout: judges of small models, and baselines."""

from pathlib import Path

from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from didi_core.models.causal_folder import write_causal_folder
from didi_text.settings import ModelSettings
from didi_text.tokenizers.tokenizer import TextTokenizer


def build_causal_model(
    model: ModelSettings, tokenizer: TextTokenizer, block_length: int
) -> GPT2LMHeadModel:
    """Build a freshly initialised network; weights come from torch's global seed.

    It has no mask token, and no dropout: a resumed run could not draw the same.
    """
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=tokenizer.size,
            n_positions=block_length,
            n_embd=model.hidden_size,
            n_layer=model.num_layers,
            n_head=model.num_heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=tokenizer.end_id,
            eos_token_id=tokenizer.end_id,
        )
    )


def save_causal_folder(
    folder: Path, model: PreTrainedModel, tokenizer: TextTokenizer, card: str
) -> None:
    """Write the tokenizer, README.md, model.safetensors and config.json, each file atomically."""
    tokenizer.save(folder)
    write_causal_folder(folder, model, card)
