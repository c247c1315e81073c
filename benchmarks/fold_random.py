"""ESMFold with every tensor at random, sequences for it, and the library's own path through it."""

import argparse
import random
from typing import Any

import torch
from transformers import EsmConfig, EsmForProteinFolding

from didi_core.models.fingerprint import count_parameters
from didi_protein.folding.esmfold import EsmFold
from didi_protein.folding.loading import PRECISIONS
from didi_protein.sequences.alphabet import ESM_TOKENS
from didi_protein.sequences.fasta import ProteinRecord
from didi_protein.sequences.residues import CANONICAL_RESIDUES

MODERATE = {
    "language_model": {
        "hidden_size": 320,
        "num_hidden_layers": 6,
        "num_attention_heads": 20,
        "intermediate_size": 1280,
    },
    "trunk": {
        "num_blocks": 4,
        "sequence_state_dim": 256,
        "pairwise_state_dim": 64,
        "structure_module": {"sequence_dim": 192, "pairwise_dim": 64, "num_blocks": 2},
    },
}
FULL_SIZE = {
    "language_model": {
        "hidden_size": 2560,
        "num_hidden_layers": 36,
        "num_attention_heads": 40,
        "intermediate_size": 10240,
    },
    "trunk": {"num_blocks": 48, "structure_module": {}},
}
"""`facebook/esmfold_v1`."""


def build_model(
    sizes: dict[str, Any], arguments: argparse.Namespace, device: torch.device
) -> EsmFold:
    """Every tensor at random, scaled so that activations neither vanish nor overflow."""
    trunk = dict(sizes["trunk"])
    if arguments.blocks is not None:
        trunk["num_blocks"] = arguments.blocks
    language_model = dict(sizes["language_model"])
    if arguments.layers is not None:
        language_model["num_hidden_layers"] = arguments.layers
    config = EsmConfig(
        **language_model,
        vocab_size=len(ESM_TOKENS),
        vocab_list=list(ESM_TOKENS),
        mask_token_id=ESM_TOKENS.index("<mask>"),
        pad_token_id=ESM_TOKENS.index("<pad>"),
        position_embedding_type="rotary",
        token_dropout=True,
        emb_layer_norm_before=False,
        is_folding_model=True,
        esmfold_config={
            "fp16_esm": False,
            "trunk": {**trunk, "max_recycles": arguments.recycles + 1},
        },
    )
    with device:
        network = EsmForProteinFolding(config).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(arguments.seed)
    for name, parameter in network.named_parameters():
        scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.1
        parameter.normal_(0, scale, generator=generator)
        if "norm" in name.lower() and name.endswith("weight"):
            parameter.add_(1)
    precision = arguments.precision or ("fp16" if device.type == "cuda" else "float32")
    for parameter in network.esm.parameters():
        parameter.data = parameter.data.to(PRECISIONS[precision])
    return EsmFold("random", network, precision, "random", arguments.recycles)


def random_record(generator: random.Random, length: int) -> ProteinRecord:
    sequence = "".join(generator.choices(CANONICAL_RESIDUES, k=length))
    return ProteinRecord(f"random_{length}", sequence)


def single_confidence(model: EsmFold, sequence: str) -> tuple[torch.Tensor, float, torch.Tensor]:
    """pLDDT (0 to 100) by atom, pTM, and PAE by residue, from `infer`."""
    output = model.network.infer([sequence])
    pae = output.predicted_aligned_error[0].mean(0).cpu()
    return 100 * output.plddt[0].float().cpu(), float(output.ptm), pae


def describe_model(model: EsmFold, arguments: argparse.Namespace) -> dict[str, Any]:
    trunk = model.network.config.esmfold_config.trunk
    return {
        "weights": "random, every tensor",
        "full_size": arguments.full_size,
        "language_model_layers": model.network.config.num_hidden_layers,
        "language_model_width": model.network.config.hidden_size,
        "trunk_blocks": trunk.num_blocks,
        "sequence_channels": trunk.sequence_state_dim,
        "pair_channels": trunk.pairwise_state_dim,
        "structure_blocks": trunk.structure_module.num_blocks,
        "num_parameters": count_parameters(model.network),
        "language_model_precision": model.precision,
        "recycles": arguments.recycles,
        "chunk_size": arguments.chunk_size,
    }
