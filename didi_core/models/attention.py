"""Attention over padded rows, and which backend computes attention here.

`scaled_dot_product_attention` of torch, or written out. On CUDA in half precision tokens are packed
instead where a kernel for that is there (`didi_core.models.packed_attention`).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from didi_core.models.attention_watch import AttentionWatch
from didi_core.models.packed_attention import packed_kernel
from didi_core.models.rotary import rotate

USUAL_HEAD = 64
"""Channels of a head for which the backend is named where no network is given."""


def attention_backend(device: torch.device, dtype: torch.dtype, head_dim: int = USUAL_HEAD) -> str:
    """Name what computes attention: "flash" or "varlen" (tokens packed), "sdpa" or "plain"."""
    return packed_kernel(device, dtype, head_dim) or _padded_backend(device, dtype)


def _padded_backend(device: torch.device, dtype: torch.dtype) -> str:
    half = dtype in (torch.float16, torch.bfloat16)
    # On the CPU, torch's fused kernel multiplies half-precision blocks in float32: written out,
    # forward and backward take a third of the time.
    return "plain" if device.type == "cpu" and half else "sdpa"


def self_attention(
    qkv: Float[Tensor, "batch width three_hidden"],
    num_heads: int,
    rotary: tuple[Tensor, Tensor],
    keep: Bool[Tensor, "batch width"] | None,
    watch: AttentionWatch | None,
) -> Float[Tensor, "batch width hidden"]:
    """Attend as a block of ours does: rotary positions, all heads beside one another.

    Args:
        qkv: the three projections, one after the other.
        keep: see `attend`.
        watch: what is told the queries and keys.
    """
    batch, width, size = qkv.shape
    heads = qkv.view(batch, width, 3, num_heads, size // (3 * num_heads))
    # [batch, width, 3, heads, head_dim] to three of [batch, heads, width, head_dim].
    query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
    query, key = rotate(query, *rotary), rotate(key, *rotary)
    if watch is not None:
        watch.add(query, key, keep)
    return attend(query, key, value, keep).transpose(1, 2).reshape(batch, width, size // 3)


def attend(
    query: Float[Tensor, "batch heads width head_dim"],
    key: Float[Tensor, "batch heads width head_dim"],
    value: Float[Tensor, "batch heads width head_dim"],
    keep: Bool[Tensor, "batch width"] | None,
    scale: float | None = None,
) -> Float[Tensor, "batch heads width head_dim"]:
    """Attend by softmax over the positions of each row that `keep` marks.

    Args:
        keep: True at real tokens; None when no row is padded. Outputs at padding are undefined.
        scale: factor on the scores; 1/sqrt(head_dim) when None.
    """
    if _padded_backend(query.device, query.dtype) == "plain":
        return _attend_plain(query, key, value, keep, scale)
    mask = None if keep is None else keep[:, None, None, :]
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


def _attend_plain(
    query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None, scale: float | None
) -> Tensor:
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query * scale) @ key.transpose(-1, -2)
    if keep is not None:
        # Added, not filled in: the gradient then has no mask to go through.
        never = torch.zeros(keep.shape, dtype=scores.dtype, device=keep.device)
        never = never.masked_fill(~keep, torch.finfo(scores.dtype).min)
        scores = scores + never[:, None, None, :]
    return scores.float().softmax(-1).to(value.dtype) @ value
