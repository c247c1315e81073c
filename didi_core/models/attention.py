"""One entry point for attention, with a fast and a plain backend that agree.

`scaled_dot_product_attention` of torch everywhere; flash-attn's variable-length kernel on CUDA in
half precision when it is installed. Importing this module never needs flash-attn.
"""

import importlib.util
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from didi_core.models.attention_watch import AttentionWatch
from didi_core.models.rotary import rotate


@cache
def flash_attention_installed() -> bool:
    return importlib.util.find_spec("flash_attn") is not None


def attention_backend(device: torch.device, dtype: torch.dtype) -> str:
    """Name the backend that `attend` will use: "flash", "sdpa" or "plain"."""
    half = dtype in (torch.float16, torch.bfloat16)
    if device.type == "cuda" and half and flash_attention_installed():
        return "flash"
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
    backend = attention_backend(query.device, query.dtype)
    if backend == "flash":
        return _attend_flash(query, key, value, keep, scale)
    if backend == "plain":
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


def _attend_flash(
    query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None, scale: float | None
) -> Tensor:
    from flash_attn import flash_attn_func, flash_attn_varlen_func

    packed = [tensor.transpose(1, 2) for tensor in (query, key, value)]
    if keep is None:
        return flash_attn_func(*packed, softmax_scale=scale).transpose(1, 2)
    lengths = keep.sum(-1, dtype=torch.int32)
    starts = F.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    longest = keep.shape[1]
    attended = flash_attn_varlen_func(
        *(tensor[keep] for tensor in packed), starts, starts, longest, longest, softmax_scale=scale
    )
    output = torch.zeros_like(packed[0])
    output[keep] = attended
    return output.transpose(1, 2)
