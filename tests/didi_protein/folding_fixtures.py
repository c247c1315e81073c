"""A small ESMFold in which every tensor is drawn at random, and sequences for it."""

import torch
from scoring_fixtures import random_sequences
from transformers import EsmConfig, EsmForProteinFolding

from didi_protein.sequences.alphabet import ESM_TOKENS

STRUCTURE = {
    "sequence_dim": 24,
    "pairwise_dim": 16,
    "ipa_dim": 4,
    "resnet_dim": 16,
    "num_heads_ipa": 3,
    "num_qk_points": 2,
    "num_v_points": 3,
    "num_blocks": 2,
}
TRUNK = {
    "num_blocks": 2,
    "sequence_state_dim": 32,
    "pairwise_state_dim": 16,
    "sequence_head_width": 8,
    "pairwise_head_width": 4,
    "position_bins": 8,
    "max_recycles": 2,
    "structure_module": STRUCTURE,
}


def build_folding_network(seed=1, **trunk):
    """No norm at one, no bias at zero, no output layer at zero: zeros agree with anything.

    Heads and norms are scaled so that confidences differ widely between residues, and coordinates
    stay within a protein's size.
    """
    config = EsmConfig(
        vocab_size=33,
        mask_token_id=32,
        pad_token_id=1,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        position_embedding_type="rotary",
        token_dropout=True,
        emb_layer_norm_before=False,
        is_folding_model=True,
        vocab_list=list(ESM_TOKENS),
        esmfold_config={"fp16_esm": True, "lddt_head_hid_dim": 16, "trunk": TRUNK | trunk},
    )
    network = EsmForProteinFolding(config).float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.copy_(1 + 0.3 * drawn)
            elif parameter.ndim > 1:
                parameter.copy_(drawn * parameter.shape[-1] ** -0.5)
            else:
                parameter.copy_(0.2 * drawn)
        for head in (network.lddt_head[-1], network.ptm_head):
            head.weight.mul_(4)
    return network


def write_folding_model(folder, seed=1, **trunk):
    """The same as a model folder."""
    network = build_folding_network(seed, **trunk)
    network.save_pretrained(folder)
    return folder


def fold_sequences(count=9, shortest=5, longest=40, seed=3):
    """Of all lengths between, the shortest and the longest among them."""
    inner = random_sequences(count - 2, shortest, longest, seed)
    ends = [random_sequences(1, n, n, seed + n)[0] for n in (longest, shortest)]
    return [*ends, *inner]
