"""Variable-length batches in which padding never matters.

Widths are rounded up to fixed bucket edges, so that the shape a record is computed in depends on
its own length and the batch plan alone, never on its neighbours' exact lengths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class TokenBatch:
    """Framed, padded sequences."""

    tokens: Int[Tensor, "batch width"]
    lengths: Int[Tensor, "batch"]
    """Number of tokens of each row, framing included; what follows is padding."""
    maskable: Bool[Tensor, "batch width"]
    """Positions the process may corrupt: never framing, padding or template residues."""

    def to(self, device: torch.device | str) -> "TokenBatch":
        return TokenBatch(self.tokens.to(device), self.lengths.to(device), self.maskable.to(device))

    def rows(self, index: Int[Tensor, "rows"] | slice) -> "TokenBatch":
        return TokenBatch(self.tokens[index], self.lengths[index], self.maskable[index])

    def with_tokens(self, tokens: Int[Tensor, "batch width"]) -> "TokenBatch":
        return replace(self, tokens=tokens)

    def __len__(self) -> int:
        return self.tokens.shape[0]


def bucket_width(length: int) -> int:
    """Return the padded width of a sequence of `length` tokens: the next edge at or above it.

    Edges are 16 apart up to 256, 32 up to 512, then 64: at most an eighth is padding beyond 128.
    """
    gap = 16 if length <= 256 else 32 if length <= 512 else 64
    return -(-length // gap) * gap


def pad_batch(sequences: Sequence[Sequence[int]], vocabulary: Vocabulary) -> TokenBatch:
    """Pad framed id sequences (bos ... eos) to their common bucket width."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    width = bucket_width(int(lengths.max()))
    tokens = torch.full((len(sequences), width), vocabulary.pad_id)
    for row, sequence in enumerate(sequences):
        tokens[row, : len(sequence)] = torch.as_tensor(sequence)
    return TokenBatch(tokens, lengths, maskable_positions(lengths, width, vocabulary))


def maskable_positions(
    lengths: Int[Tensor, "batch"], width: int, vocabulary: Vocabulary
) -> Bool[Tensor, "batch width"]:
    """Mark the positions between the framing tokens of each row."""
    position = torch.arange(width, device=lengths.device)
    first = int(vocabulary.bos_id is not None)
    last = lengths.unsqueeze(-1) - int(vocabulary.eos_id is not None)
    return (position >= first) & (position < last)


def padding_mask(lengths: Int[Tensor, "batch"], width: int) -> Bool[Tensor, "batch width"]:
    """Mark real tokens by True, padding by False."""
    return torch.arange(width, device=lengths.device) < lengths.unsqueeze(-1)


# Sums and means of ragged values over the rows of a batch.


def segment_sum(
    values: Float[Tensor, "n"], row: Int[Tensor, "n"], num_rows: int
) -> Float[Tensor, "rows"]:
    """Sum the values that belong to each row."""
    return values.new_zeros(num_rows).index_add(0, row, values)


def mean_or_zero(values: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """Average the values; 0 where there are none."""
    return values.sum() / max(1, len(values))


def segment_mean(
    values: Float[Tensor, "n"], row: Int[Tensor, "n"], num_rows: int
) -> Float[Tensor, "rows"]:
    """Average the values that belong to each row; 0 for a row without values."""
    count = segment_sum(torch.ones_like(values), row, num_rows)
    return segment_sum(values, row, num_rows) / count.clamp_min(1)
