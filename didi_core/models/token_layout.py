"""Where the tokens of a batch stand while a trunk computes: in padded rows, or packed.

Packed, the rows follow each other without padding from the embedding to the head: matrix products
and norms see real tokens alone, and attention goes by a kernel for rows of any length
(`packed_attention`). That is for CUDA in half precision; elsewhere rows stay padded. Full rows have
nothing to pack and stay as they are, [batch, width, ...], in both.
"""

import os
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from didi_core.data.batches import padding_mask
from didi_core.models.attention import self_attention
from didi_core.models.attention_watch import AttentionWatch
from didi_core.models.packed_attention import KERNELS, packed_kernel
from didi_core.models.rotary import RotaryCache, rotate
from didi_core.progress import say_once


@dataclass(frozen=True)
class PaddedTokens:
    """Rows of one width, with a mask for attention."""

    rotary: tuple[Tensor, Tensor]
    """Cosines and sines [width, head_dim]."""
    keep: Bool[Tensor, "batch width"] | None
    """True at real tokens; None when no row is padded."""

    def enter(self, padded: Float[Tensor, "batch width c"]) -> Float[Tensor, "batch width c"]:
        """Return what the first block is given."""
        return padded

    def leave(self, hidden: Float[Tensor, "batch width c"]) -> Float[Tensor, "batch width c"]:
        """Return padded rows, whose values at padding are undefined."""
        return hidden

    def select(
        self, hidden: Float[Tensor, "batch width c"], positions: Int[Tensor, "chosen"]
    ) -> Float[Tensor, "chosen c"]:
        """Return the states at positions, which are counted in row-major order of padded rows."""
        return hidden.flatten(0, 1).index_select(0, positions)

    def by_token(self, per_row: Float[Tensor, "rows c"]) -> Float[Tensor, "rows 1 c"]:
        """Return what belongs to rows so that it broadcasts over their tokens."""
        return per_row.unsqueeze(1)

    def attention(
        self,
        qkv: Float[Tensor, "batch width three_hidden"],
        num_heads: int,
        watch: AttentionWatch | None,
    ) -> Float[Tensor, "batch width hidden"]:
        """Attend within rows."""
        return self_attention(qkv, num_heads, self.rotary, self.keep, watch)


@dataclass(frozen=True)
class PackedTokens:
    """Rows one after the other; hidden states are [tokens, c], of full rows [batch, width, c]."""

    kernel: str
    """A name of `packed_attention.KERNELS`."""
    shape: tuple[int, int]
    """Batch and width of the padded rows."""
    starts: Int[Tensor, "rows_and_end"]
    """Place of the first token of each row, then the number of tokens; int32."""
    row: Int[Tensor, "tokens"] | None
    """Row of each token; None where rows are full."""
    places: Int[Tensor, "tokens"] | None
    """Where each token stands in padded rows, in row-major order; None where rows are full."""
    rotary: tuple[Tensor, Tensor]
    """Cosines and sines at the position of each token in its row: [tokens, 1, head_dim]."""

    def enter(self, padded: Float[Tensor, "batch width c"]) -> Float[Tensor, "*n c"]:
        """Return what the first block is given: real tokens alone."""
        if self.places is None:
            return padded
        return padded.flatten(0, 1).index_select(0, self.places)

    def leave(self, hidden: Float[Tensor, "*n c"]) -> Float[Tensor, "batch width c"]:
        """Return padded rows, with zeros at padding."""
        return hidden if self.places is None else self._padded(hidden)

    def select(
        self, hidden: Float[Tensor, "*n c"], positions: Int[Tensor, "chosen"]
    ) -> Float[Tensor, "chosen c"]:
        """Return the states at positions, which are counted in row-major order of padded rows."""
        tokens = hidden.reshape(-1, hidden.shape[-1])
        if self.places is not None:
            row, column = positions // self.shape[1], positions % self.shape[1]
            # Padding may be asked for, too, and has no value.
            positions = (self.starts[row] + column).clamp_max(len(tokens) - 1)
        return tokens.index_select(0, positions)

    def by_token(self, per_row: Float[Tensor, "rows c"]) -> Float[Tensor, "*rows_of_n c"]:
        """Return what belongs to rows so that it broadcasts over, or stands at, their tokens."""
        if self.row is None:
            return per_row.unsqueeze(1)
        if len(per_row) == 1:
            return per_row
        # A product, not an index: its gradient is summed over tokens in float32, in one order.
        return F.one_hot(self.row, len(per_row)).to(per_row.dtype) @ per_row

    def attention(
        self, qkv: Float[Tensor, "*n three_hidden"], num_heads: int, watch: AttentionWatch | None
    ) -> Float[Tensor, "*n hidden"]:
        """Attend within rows."""
        size = qkv.shape[-1] // 3
        # [..., 3 hidden] to three of [tokens, heads, head_dim].
        heads = qkv.reshape(-1, 3, num_heads, size // num_heads)
        query, key, value = heads.unbind(1)
        query, key = rotate(query, *self.rotary), rotate(key, *self.rotary)
        if watch is not None:
            padded = [self._padded(states).transpose(1, 2) for states in (query, key)]
            watch.add(padded[0], padded[1], self.keep)
        attended = KERNELS[self.kernel](query, key, value, self.starts, self.shape[1])
        return attended.reshape(*qkv.shape[:-1], size)

    @property
    def keep(self) -> Bool[Tensor, "batch width"]:
        """Mark the real tokens of padded rows."""
        return padding_mask(self.starts.diff(), self.shape[1])

    def _padded(self, tokens: Float[Tensor, "tokens *c"]) -> Float[Tensor, "batch width *c"]:
        batch, width = self.shape
        if self.places is not None:
            empty = tokens.new_zeros(batch * width, *tokens.shape[1:])
            tokens = empty.index_copy(0, self.places, tokens)
        return tokens.view(batch, width, *tokens.shape[1:])


TokenLayout = PaddedTokens | PackedTokens


@dataclass(frozen=True)
class TrunkStates:
    """Hidden states of a trunk, in the layout they were computed in."""

    hidden: Tensor
    layout: TokenLayout

    def padded(self) -> Float[Tensor, "batch width hidden"]:
        """Return them in padded rows; values at padding are undefined."""
        return self.layout.leave(self.hidden)

    def at(self, positions: Int[Tensor, "chosen"]) -> Float[Tensor, "chosen hidden"]:
        """Return those at positions, which are counted in row-major order of padded rows."""
        return self.layout.select(self.hidden, positions)


def choose_layout(
    lengths: Int[Tensor, "batch"],
    width: int,
    rotary: RotaryCache,
    weight: Tensor,
    *,
    mask_full_rows: bool,
) -> TokenLayout:
    """Return the layout for rows of these lengths: packed where a kernel is there for it.

    Says in a line on standard error which path a GPU takes, once.

    Args:
        weight: of the network: its device, and its type where autocast chooses no other.
        mask_full_rows: whether a mask is made where no row is padded, too.
    """
    device, dtype = weight.device, computing_dtype(weight)
    kernel = packed_kernel(device, dtype, rotary.head_dim)
    if device.type == "cuda" and os.environ.get("LOCAL_RANK", "0") == "0":
        path = "sdpa, rows padded" if kernel is None else f"{kernel}, tokens packed"
        say_once(f"Attention: {path} ({str(dtype).removeprefix('torch.')}).")
    table = rotary.table(width, device)
    if kernel is not None:
        return _packed(kernel, lengths, width, table)
    # Without a mask attention has faster kernels; whole blocks of text never need one.
    full = not mask_full_rows and bool((lengths == width).all())
    return PaddedTokens(table, None if full else padding_mask(lengths, width))


def _packed(kernel: str, lengths: Tensor, width: int, table: tuple[Tensor, Tensor]) -> PackedTokens:
    batch, device = len(lengths), lengths.device
    starts = torch.zeros(batch + 1, dtype=torch.int32, device=device)
    starts[1:] = lengths.cumsum(0)
    total = int(starts[-1])  # a GPU is waited for here alone
    if total == batch * width:
        full = tuple(part.repeat(batch, 1).unsqueeze(1) for part in table)
        return PackedTokens(kernel, (batch, width), starts, None, None, (full[0], full[1]))
    rows = torch.arange(batch, device=device)
    row = rows.repeat_interleave(lengths, output_size=total)
    position = torch.arange(total, device=device) - starts[row]
    cosine, sine = (part.index_select(0, position).unsqueeze(1) for part in table)
    places = row * width + position
    return PackedTokens(kernel, (batch, width), starts, row, places, (cosine, sine))


def computing_dtype(weight: Tensor) -> torch.dtype:
    """Return the type in which matrices are multiplied: autocast's where it is on."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
