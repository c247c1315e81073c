"""A small ESMFold and ESMFold2 in which every tensor is drawn at random, and sequences for them."""

import torch
from scoring_fixtures import random_sequences
from transformers import EsmConfig, EsmFold2Config, EsmFold2Model, EsmForProteinFolding

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


ATOMS = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 24,
    "num_spatial_rope_pairs_per_axis": 1,
    "num_uid_rope_pairs": 4,
}
ESMFOLD2 = {
    "hidden_size": 16,
    "pairwise_hidden_size": 12,
    "single_inputs_size": 16 + 67,
    "pair_transition_intermediate_size": 16,
    "sliding_window": 32,
    "chunk_size": 16,
    "num_relative_residx_bins": 4,
    "num_loops": 2,
    "folding_trunk_num_hidden_layers": 2,
    "parcae_num_coda_layers": 1,
    "atom_encoder": ATOMS | {"output_dim": 16},
    "structure_head": {
        "diffusion_module": {
            "hidden_size": 24,
            "fourier_dim": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "pair_intermediate_size": 16,
            "atom_encoder": ATOMS | {"output_dim": 24},
        },
        "num_distogram_bins": 8,
        "num_diffusion_samples": 3,
        "noise_scale": 1.0,
        "inference_num_steps": 4,
    },
    "confidence_head": {"num_hidden_layers": 1, "distogram_bins": 16},
    "msa_encoder": {
        "hidden_size": 8,
        "outer_hidden_size": 4,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_dim": 4,
        "intermediate_size": 12,
    },
    "lm_encoder": {"num_hidden_layers": 1},
    "esmc_config": {
        "model_type": "esmc",
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 40,
        "max_position_embeddings": 66,
    },
}


def build_esmfold2(seed=1, **changes):
    """As `build_folding_network`; the buffers that its folder holds too."""
    network = EsmFold2Model(EsmFold2Config(**ESMFOLD2 | changes)).float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        fourier = network.structure_head.conditioning.fourier.named_buffers()
        for name, tensor in (*network.named_parameters(), *fourier):
            drawn = torch.randn(tensor.shape, generator=generator)
            if "norm" in name and name.endswith("weight"):
                tensor.copy_(1 + 0.3 * drawn)
            elif tensor.ndim > 1:
                tensor.copy_(drawn * tensor.shape[-1] ** -0.5)
            else:
                tensor.copy_(0.2 * drawn)
        for head in (network.confidence_head.plddt_weight, network.confidence_head.pae_head.weight):
            head.mul_(4)
    return network


def write_esmfold2(folder, seed=1, **changes):
    """The same as a model folder."""
    build_esmfold2(seed, **changes).save_pretrained(folder)
    return folder
