"""Small random models and sequences for tests of scoring."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_core.models.folder import save_model_folder
from didi_protein.models.causal import save_causal_folder
from didi_protein.scoring.options import ScoreOptions
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.residues import CANONICAL_RESIDUES

MAX_LENGTH = 64


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every tensor, norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.25 + 0.1)
    return model.eval()


def write_judge(folder, seed=0, max_length=MAX_LENGTH):
    """A judge of random weights that reads 64 residues, or so many."""
    config = LlamaConfig(
        vocab_size=PROTEIN.size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=max_length,
        bos_token_id=PROTEIN.bos_id,
        eos_token_id=PROTEIN.eos_id,
        pad_token_id=PROTEIN.pad_id,
        tie_word_embeddings=True,
        use_cache=False,
    )
    save_causal_folder(folder, randomise(LlamaForCausalLM(config), seed), PROTEIN, "random")
    return folder


def write_masked(folder, seed=0):
    """A masked model of random weights that reads 64 residues."""
    return _write_denoiser(folder, seed)


def write_uniform(folder, seed=0):
    """The same, of the uniform-state process."""
    process = {"didi": {"process": "uniform"}}
    return _write_denoiser(folder, seed, extra_config=process, time_conditioned=True)


def _write_denoiser(folder, seed, extra_config=None, **more):
    settings = EsmSettings(
        vocabulary_size=PROTEIN.size,
        num_layers=1,
        hidden_size=16,
        num_heads=2,
        intermediate_size=32,
        mask_id=PROTEIN.mask_id,
        max_tokens=MAX_LENGTH + 2,
        **more,
    )
    model = randomise(EsmDenoiser(settings), seed)
    save_model_folder(folder, model, PROTEIN, card="random", extra_config=extra_config)
    return folder


def random_sequences(count, shortest=5, longest=MAX_LENGTH, seed=0):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(shortest, longest + 1, size=count)
    return ["".join(generator.choice(list(CANONICAL_RESIDUES), size=n)) for n in lengths]


def quick_scores(inputs: Path, out: Path, **more: object) -> ScoreOptions:
    """Properties alone, on one thread of the processor, unless `more` says otherwise."""
    plain = {"judge": "none", "pseudo": "none", "device": "cpu", "threads": 1, "quiet": True}
    return ScoreOptions(inputs=[str(inputs)], out=out, **{**plain, **more})
