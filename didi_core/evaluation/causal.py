"""Log-likelihood of every token under a causal language model, for whole rows of ids.

`didi_core.evaluation.judge` gives means of sequences that start after a begin token; here each
row's own first token is the context of the rest, and each token's figure is kept.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from didi_core.data.batches import bucket_width
from didi_core.models.causal import position_limit
from didi_core.sampling.batching import ALONE, Share, plan_batches

POSITIONS_AT_ONCE = 4_096
"""Positions whose float32 logits stand in memory, beside the network's own of the batch."""


def token_nll(
    model: nn.Module,
    rows: Sequence[Sequence[int]],
    batch_tokens: int = 8_192,
    autocast: torch.dtype | None = None,
    show: Callable[[float], object] = float,
    share: Share = ALONE,
) -> list[NDArray[np.float64]]:
    """Return the nats of each token but the first, given those before it, for each row in order.

    Args:
        model: a causal LM: `model(input_ids=...)` has `logits` [batch, width, vocabulary].
        rows: ids, no more than the model has positions for.
        batch_tokens: bound on rows times padded width of one forward pass.
        autocast: compute the network in this type; log-probabilities stay float32.
        show: told how many rows are done.
        share: the processes that compute the rows together; each returns all of them.

    Returns:
        For each row an array [length - 1]; an empty one for rows of one token or none.
    """
    scored = [index for index, row in enumerate(rows) if len(row) >= 2]
    done = len(rows) - len(scored)

    def compute(batch: list[int]) -> list[NDArray[np.float64]]:
        nonlocal done
        chosen = [rows[scored[place]] for place in batch]
        values = _batch_nll(model, chosen, autocast)
        done += len(batch) * share.count
        show(min(done, len(rows)))
        return [nats[: len(row) - 1] for row, nats in zip(chosen, values, strict=True)]

    result = [np.empty(0) for _ in rows]
    batches = plan_batches([len(rows[index]) for index in scored], batch_tokens)
    for batch, values in zip(batches, share.results(batches, compute), strict=True):
        for place, nats in zip(batch, values, strict=True):
            result[scored[place]] = nats
    return result


@torch.no_grad()
def _batch_nll(
    model: nn.Module, rows: Sequence[Sequence[int]], autocast: torch.dtype | None
) -> NDArray[np.float64]:
    device = next(model.parameters()).device
    inputs = _padded(rows, position_limit(model)).to(device)
    # Without an attention mask: padding stands to the right, where a causal model never looks.
    with torch.autocast(device.type, autocast, enabled=autocast is not None):
        logits = model(input_ids=inputs[:, :-1], use_cache=False).logits
    parts = [
        F.cross_entropy(some.float(), target, reduction="none").double()
        for some, target in zip(
            logits.flatten(0, 1).split(POSITIONS_AT_ONCE),
            inputs[:, 1:].flatten().split(POSITIONS_AT_ONCE),
            strict=True,
        )
    ]
    return torch.cat(parts).view(len(rows), -1).cpu().numpy()


def _padded(rows: Sequence[Sequence[int]], max_length: int | None) -> Int[Tensor, "batch width"]:
    """Pad rows to one array; the last column is a target only, so inputs have a bucket's width."""
    longest = max(len(row) for row in rows)
    edge = bucket_width(longest - 1)
    width = 1 + (edge if max_length is None else max(longest - 1, min(edge, max_length)))
    padded = torch.zeros(len(rows), width, dtype=torch.long)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = torch.as_tensor(row)
    return padded
