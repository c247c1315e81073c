"""ESMFold's forward pass over a padded batch, in which padding and neighbours do not matter.

The network is transformers' `EsmForProteinFolding` and its weights are used through its own
modules [1]_. Where its batched call would let a sequence see its batch, or would hold more than is
needed, this file goes another way:

- the language-model half reads one sequence at a time, so that in half precision, where every
  change of shape changes the rounding, a sequence gets the same representation in any batch;
- the triangle layers keep one bias a sequence (`didi_protein.folding.triangles`);
- the heads are applied to each sequence alone (`didi_protein.folding.confidence`).

.. [1] Lin et al. 2023, Evolutionary-scale prediction of atomic-level protein structure with a
   language model, Science.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import EsmForProteinFolding
from transformers.models.esm.modeling_esmfold import (
    EsmFoldingTrunk,
    EsmFoldTriangularSelfAttentionBlock,
)

from didi_core.data.batches import padding_mask
from didi_protein.folding.triangles import add_triangle_attention, add_triangle_update, row_slices

_DISTOGRAM = (3.375, 21.375)
"""First and last edge of the distance bins that are fed back, in angstrom."""
_BLOCK_ENTRIES = {"cpu": 1 << 13, "cuda": 1 << 18}
"""Pair entries expanded at once where the chunk size does not ask for fewer: what stays in a
processor's cache; on a GPU enough to keep it busy."""


@dataclass(frozen=True)
class FoldedBatch:
    """What the heads need, padding included."""

    residues: Int[Tensor, "batch width"]
    """AlphaFold's residue numbers; 0 at padding."""
    lengths: list[int]
    pair: Float[Tensor, "batch width width pair_channels"]
    states: Float[Tensor, "batch width state_channels"]
    """Of the last block of the structure module."""
    positions: Float[Tensor, "batch width 14 3"]
    """Atoms in angstrom, in the 14-atom layout."""


@torch.no_grad()
def run_network(
    network: EsmForProteinFolding,
    sequences: Sequence[Int[Tensor, "length"]],
    recycles: int | None = None,
    chunk_size: int | None = None,
) -> FoldedBatch:
    """Fold sequences together.

    Args:
        network: `EsmForProteinFolding` in evaluation mode.
        sequences: AlphaFold's residue numbers (0 to 19) of each, on the network's device.
        recycles: passes after the first; None for as many as the model was trained with.
        chunk_size: most rows of the pair representation expanded at once, over the whole batch;
            None for as many as suit the device. Fewer need less memory.
    """
    lengths = [len(each) for each in sequences]
    embedded = nn.utils.rnn.pad_sequence(
        [_embed(network, each) for each in sequences], batch_first=True
    )
    residues = nn.utils.rnn.pad_sequence(list(sequences), batch_first=True)
    mask = padding_mask(torch.tensor(lengths, device=residues.device), residues.shape[1])
    rows = _rows_at_once(mask, chunk_size)
    pair, states, positions = _run_trunk(network.trunk, embedded, residues, mask, recycles, rows)
    return FoldedBatch(residues, lengths, pair, states, positions)


def _rows_at_once(mask: Bool[Tensor, "batch width"], chunk_size: int | None) -> int:
    """Choose how many rows of each sequence are expanded at once."""
    batch, width = mask.shape
    entries = _BLOCK_ENTRIES.get(mask.device.type, _BLOCK_ENTRIES["cuda"])
    rows = entries // width if chunk_size is None else min(chunk_size, entries // width)
    return max(1, rows // batch)


def _embed(
    network: EsmForProteinFolding, residues: Int[Tensor, "length"]
) -> Float[Tensor, "length channels"]:
    """Weigh the language model's layers, through an MLP, and add the residues' own embedding."""
    residues = residues.unsqueeze(0)
    tokens = network.af2_idx_to_esm_idx(residues, torch.ones_like(residues))
    layers = network.compute_language_model_representations(tokens)
    layers = layers.to(network.esm_s_combine.dtype)  # the trunk is float32, whatever this half is
    weights = network.esm_s_combine.softmax(0).unsqueeze(0)
    embedded = network.esm_s_mlp((weights @ layers).squeeze(2))
    if network.config.esmfold_config.embed_aa:
        embedded = embedded + network.embedding(residues)
    return embedded.squeeze(0)


def _run_trunk(
    trunk: EsmFoldingTrunk,
    embedded: Float[Tensor, "batch width channels"],
    residues: Int[Tensor, "batch width"],
    mask: Bool[Tensor, "batch width"],
    recycles: int | None,
    rows: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return pair representation, last states and atom positions after all passes."""
    batch, width = residues.shape
    pair_mask = mask.unsqueeze(2) & mask.unsqueeze(1)
    place = torch.arange(width, device=residues.device).expand(batch, width)
    single = torch.zeros_like(embedded)
    pair = embedded.new_zeros(batch, width, width, trunk.config.pairwise_state_dim)
    bins = torch.zeros_like(pair_mask, dtype=torch.int64)
    passes = trunk.config.max_recycles if recycles is None else recycles + 1
    for _ in range(passes):
        single = embedded + trunk.recycle_s_norm(single)
        pair = trunk.recycle_z_norm(pair)
        pair += trunk.recycle_disto(bins)
        pair += trunk.pairwise_positional_embedding(place, mask=mask)
        for block in trunk.blocks:
            single = _run_block(block, single, pair, mask, pair_mask, rows)
        inputs = {"single": trunk.trunk2sm_s(single), "pair": trunk.trunk2sm_z(pair)}
        structure = trunk.structure_module(inputs, residues, mask.float())
        positions = structure["positions"][-1]
        bins = trunk.distogram(positions[:, :, :3], *_DISTOGRAM, trunk.recycle_bins)
    return pair, structure["states"][-1], positions


def _run_block(
    block: EsmFoldTriangularSelfAttentionBlock,
    single: Float[Tensor, "batch width channels"],
    pair: Float[Tensor, "batch width width pair_channels"],
    mask: Bool[Tensor, "batch width"],
    pair_mask: Bool[Tensor, "batch width width"],
    rows: int,
) -> Float[Tensor, "batch width channels"]:
    """Run one block: return the new single representation, and update `pair` in place."""
    update, _ = block.seq_attention(
        block.layernorm_1(single), mask=mask, bias=block.pair_to_sequence(pair)
    )
    single = block.mlp_seq(single + update)
    pair += block.sequence_to_pair(single)
    add_triangle_update(block.tri_mul_out, pair, pair_mask, rows, outgoing=True)
    add_triangle_update(block.tri_mul_in, pair, pair_mask, rows, outgoing=False)
    add_triangle_attention(block.tri_att_start, pair, mask, rows)
    add_triangle_attention(block.tri_att_end, pair, mask, rows)
    for part in row_slices(pair.shape[1], rows):
        pair[:, part] = block.mlp_pair(pair[:, part])
    return single
