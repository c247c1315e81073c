"""Rows of a batch that are one input to a network, which is then called on one of them.

The first state of a rollout is all mask, the same for all rows of one length: of a group at least.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class UniqueRows:
    """Which rows to call a network on, and where its answers belong."""

    called: Int[Tensor, "distinct"]
    """The first row of each kind."""
    entry: Int[Tensor, "chosen"]
    """For each chosen position of the whole batch, in row-major order, its place among the chosen
    positions of the rows called."""


def deduplicate(
    tokens: Int[Tensor, "batch width"],
    lengths: Int[Tensor, "batch"],
    at: Bool[Tensor, "batch width"],
) -> UniqueRows:
    """Group the rows whose tokens, length and chosen positions are all equal."""
    whole = torch.cat([lengths[:, None], tokens, at.to(tokens.dtype)], dim=1)
    kinds, kind = torch.unique(whole, dim=0, return_inverse=True)
    row = torch.arange(len(tokens), device=tokens.device)
    called = row.new_full((len(kinds),), len(tokens)).scatter_reduce(0, kind, row, "amin")
    count = at.sum(-1)
    chosen_row = at.nonzero()[:, 0]
    place = torch.arange(len(chosen_row), device=tokens.device) - _starts(count)[chosen_row]
    return UniqueRows(called, _starts(count[called])[kind[chosen_row]] + place)


def _starts(count: Int[Tensor, "rows"]) -> Int[Tensor, "rows"]:
    """Number of chosen positions in the rows before each."""
    return count.cumsum(0) - count
