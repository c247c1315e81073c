"""Sums and means of ragged values over the rows of a batch."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def row_sum(
    values: Float[Tensor, "n"], row: Int[Tensor, "n"], num_rows: int
) -> Float[Tensor, "rows"]:
    """Sum of the values that belong to each row."""
    return values.new_zeros(num_rows).index_add(0, row, values)


def mean_or_zero(values: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """Mean of the values; 0 where there are none."""
    return values.sum() / max(1, len(values))


def row_mean(
    values: Float[Tensor, "n"], row: Int[Tensor, "n"], num_rows: int
) -> Float[Tensor, "rows"]:
    """Mean of the values that belong to each row; 0 for a row without values."""
    count = row_sum(torch.ones_like(values), row, num_rows)
    return row_sum(values, row, num_rows) / count.clamp_min(1)
