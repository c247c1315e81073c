"""How likely an autoregressive model finds sequences: the judge of generated sets.

The model is a Hugging Face causal LM. Its input is bos and the ids, its targets are the ids
themselves; the end token is not scored, so that a sequence is not judged by where it stops.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from didi_core.data.batches import bucket_width
from didi_core.models.causal import position_limit
from didi_core.sampling.batching import plan_batches

BATCH_TOKENS = 8_192


def causal_nll(
    model: nn.Module,
    sequences: Sequence[Sequence[int]],
    bos_id: int,
    batch_tokens: int = BATCH_TOKENS,
    autocast: torch.dtype | None = None,
) -> NDArray[np.float64]:
    """Return the negative log-likelihood a token, in nats, of each sequence, in input order.

    Args:
        model: a causal LM: `model(input_ids=...)` has `logits` [batch, width, vocabulary].
        sequences: ids without framing, each at least one long.
        bos_id: put before every sequence.
        batch_tokens: bound on rows times padded width of one forward pass.
        autocast: compute the network in this type; the log-probabilities stay float32.

    Returns:
        Array [len(sequences)]. Perplexity is its exponential.

    Raises:
        ValueError: a sequence is empty.
    """
    if any(not len(sequence) for sequence in sequences):
        raise ValueError("an empty sequence has no likelihood per token")
    result = np.empty(len(sequences))
    for records in plan_batches([len(sequence) for sequence in sequences], batch_tokens):
        rows = [sequences[record] for record in records]
        result[records] = _batch_nll(model, rows, bos_id, autocast)
    return result


@torch.no_grad()
def _batch_nll(
    model: nn.Module,
    rows: Sequence[Sequence[int]],
    bos_id: int,
    autocast: torch.dtype | None,
) -> NDArray[np.float64]:
    nll = row_nll(model, rows, bos_id, autocast).cpu()
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.float64)
    return (nll / lengths).numpy()


def row_nll(
    model: nn.Module,
    rows: Sequence[Sequence[int]],
    bos_id: int,
    autocast: torch.dtype | None = None,
) -> Float[Tensor, "batch"]:
    """Sum the negative log-likelihood of each row's tokens, in nats; carries a gradient."""
    device = next(model.parameters()).device
    inputs, targets = _shifted(rows, bos_id, _width(model, rows))
    inputs, targets = inputs.to(device), targets.to(device)
    # Without an attention mask: padding stands to the right, where a causal model never looks.
    with torch.autocast(device.type, autocast, enabled=autocast is not None):
        logits = model(input_ids=inputs).logits
    nll = F.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), reduction="none", ignore_index=_IGNORED
    ).view_as(targets)
    return nll.double().sum(-1)


_IGNORED = -100


def _width(model: nn.Module, rows: Sequence[Sequence[int]]) -> int:
    """Return a fixed bucket edge, but within the positions that the model has embeddings for."""
    longest = max(len(row) for row in rows)
    max_length, edge = position_limit(model), bucket_width(longest)
    return edge if max_length is None else max(longest, min(edge, max_length))


def _shifted(
    rows: Sequence[Sequence[int]], bos_id: int, width: int
) -> tuple[Int[Tensor, "batch width"], Int[Tensor, "batch width"]]:
    """Return inputs (bos, then all ids but the last) and targets (the ids), padded on the right."""
    inputs = torch.full((len(rows), width), bos_id)  # any id would do as padding
    targets = torch.full((len(rows), width), _IGNORED)
    for index, row in enumerate(rows):
        ids = torch.as_tensor(row)
        inputs[index, 1 : len(row)] = ids[:-1]
        targets[index, : len(row)] = ids
    return inputs, targets
