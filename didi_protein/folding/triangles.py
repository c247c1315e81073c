"""The two kinds of triangle layer of ESMFold's trunk, over a padded batch, a few rows at a time.

The weights and the arithmetic are those of transformers' modules (AlphaFold 2 supplement [1]_,
algorithms 11 to 14). What differs is memory: the library attends with a tensor of length^3 for each
head, and copies the bias once a row as soon as a batch holds several sequences; here the bias is
shared by all rows of a sequence, the pair representation is updated in place, and only `rows` rows
are expanded at once.

.. [1] Jumper et al. 2021, Highly accurate protein structure prediction with AlphaFold, Nature.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.esm.modeling_esmfold import (
    EsmFoldAttention,
    EsmFoldTriangleAttention,
    EsmFoldTriangleMultiplicativeUpdate,
)


def row_slices(width: int, rows: int) -> Iterator[slice]:
    """Yield consecutive slices of at most `rows` rows."""
    return (slice(start, min(start + rows, width)) for start in range(0, width, rows))


def add_triangle_update(
    module: EsmFoldTriangleMultiplicativeUpdate,
    pair: Float[Tensor, "batch width width channels"],
    pair_mask: Bool[Tensor, "batch width width"],
    rows: int,
    *,
    outgoing: bool,
) -> None:
    """Add the triangle multiplication to `pair` in place (algorithms 11 and 12).

    Args:
        pair_mask: True where both positions are residues; padding takes no part in any sum.
        outgoing: sum over the edges that leave both residues; else those that arrive.
    """
    batch, width, _, channels = pair.shape
    left, right = (pair.new_empty(batch, channels, width, width) for _ in range(2))
    for part in row_slices(width, rows):
        normed = module.layer_norm_in(pair[:, part])
        valid = pair_mask[:, part, :, None]
        edges = module.linear_a_g(normed).sigmoid_().mul_(module.linear_a_p(normed)).mul_(valid)
        left[:, :, part] = edges.permute(0, 3, 1, 2)
        edges = module.linear_b_g(normed).sigmoid_().mul_(module.linear_b_p(normed)).mul_(valid)
        right[:, :, part] = edges.permute(0, 3, 1, 2)
    product = left @ right.mT if outgoing else left.mT @ right
    del left, right
    for part in row_slices(width, rows):
        update = module.linear_z(module.layer_norm_out(product[:, :, part].permute(0, 2, 3, 1)))
        gate = module.linear_g(module.layer_norm_in(pair[:, part])).sigmoid_()
        pair[:, part] += update.mul_(gate)


def add_triangle_attention(
    module: EsmFoldTriangleAttention,
    pair: Float[Tensor, "batch width width channels"],
    mask: Bool[Tensor, "batch width"],
    rows: int,
) -> None:
    """Add the triangle attention to `pair` in place (algorithms 13 and 14).

    Args:
        module: its `starting` says which axis.
        mask: True at residues; what follows is padding, which no residue attends to.
    """
    # A view: around ending nodes the columns of the pair representation are the rows.
    axis = pair if module.starting else pair.transpose(1, 2)
    width = axis.shape[1]
    bias = axis.new_empty(axis.shape[0], module.no_heads, width, width)
    for part in row_slices(width, rows):
        bias[:, :, part] = module.linear(module.layer_norm(axis[:, part])).permute(0, 3, 1, 2)
    bias.masked_fill_(~mask[:, None, None, :], -torch.inf)
    # A row attends within itself, and the bias is known: each may be overwritten when it is done.
    for part in row_slices(width, rows):
        axis[:, part] += _attend(module.mha, module.layer_norm(axis[:, part]), bias)


def _attend(
    attention: EsmFoldAttention,
    normed: Float[Tensor, "batch rows width channels"],
    bias: Float[Tensor, "batch heads width width"],
) -> Float[Tensor, "batch rows width channels"]:
    """Attend, gated, along the last axis but one, with the sequence's bias for all its rows."""
    split = (*normed.shape[:-1], attention.no_heads, attention.c_hidden)
    query, key, value = (
        linear(normed).view(split).transpose(-2, -3)
        for linear in (attention.linear_q, attention.linear_k, attention.linear_v)
    )
    # One sequence at a time: the fused kernels share a bias among rows, not among some of them.
    mixed = torch.stack(
        [
            scaled_dot_product_attention(query[i], key[i], value[i], attn_mask=bias[i : i + 1])
            for i in range(len(bias))
        ]
    )
    gate = attention.linear_g(normed).sigmoid_()
    return attention.linear_o(mixed.transpose(-2, -3).flatten(-2).mul_(gate))
