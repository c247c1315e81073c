"""What a denoiser finds of the tokens of a noised batch: the sums every bound is made of."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.data.batches import TokenBatch, segment_sum
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.process import Process
from didi_core.models.denoiser import time_input

POSITIONS_AT_ONCE = 4_096
"""Positions whose log-probabilities stand in memory, beside the logits of the whole batch."""

Score = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Nats at each position, from generable logits, ranks of true and noised tokens, and its row."""


def row_nll(
    denoiser: Any,
    vocabulary: Vocabulary,
    batch: TokenBatch,
    masked: Bool[Tensor, "batch width"],
    t: Float[Tensor, "batch"],
    autocast: torch.dtype | None,
) -> Float[Tensor, "batch"]:
    """Sum over masked positions -log p(token | the rest), in nats, float64 on the CPU.

    Probabilities are over the generable ids, in float32 or better.

    Args:
        t: time of each row, from 0 (data) to 1; only networks conditioned on it look at it.
        autocast: compute the network in this type.
    """

    def score(logits: Tensor, clean: Tensor, noised: Tensor, row: Tensor) -> Tensor:
        del noised, row
        return -logits.log_softmax(-1).gather(-1, clean.unsqueeze(-1)).squeeze(-1)

    noised = batch.tokens.masked_fill(masked, vocabulary.mask_id)
    return _row_sums(denoiser, vocabulary, batch, noised, masked, 1 - t, autocast, score)


def row_bound(
    denoiser: Any,
    vocabulary: Vocabulary,
    process: Process,
    batch: TokenBatch,
    t: Float[Tensor, "batch"],
    uniform: Float[Tensor, "batch width"],
    autocast: torch.dtype | None,
) -> Float[Tensor, "batch"]:
    """Estimate each row's likelihood bound by one sample, in nats, float64 on the CPU.

    Args:
        t: time of each row in (0, 1).
        uniform: what `process` noises the tokens by.
        autocast: compute the network in this type.
    """
    device = batch.tokens.device
    t = t.to(device)

    def score(logits: Tensor, clean: Tensor, noised: Tensor, row: Tensor) -> Tensor:
        return process.bound_terms(process.log_prediction(logits), clean, noised, t[row])

    noised = process.corrupt(batch.tokens, batch.maskable, t, uniform.to(device))
    at = process.predicted(noised, batch.maskable)
    alpha = process.schedule.alpha(t)
    return _row_sums(denoiser, vocabulary, batch, noised, at, alpha, autocast, score)


def _row_sums(
    denoiser: Any,
    vocabulary: Vocabulary,
    batch: TokenBatch,
    noised: Int[Tensor, "batch width"],
    at: Bool[Tensor, "batch width"],
    alpha: Float[Tensor, "batch"],
    autocast: torch.dtype | None,
    score: Score,
) -> Float[Tensor, "batch"]:
    """Sum the scores at the positions `at` of each row."""
    condition = time_input(denoiser, alpha.to(noised.device))
    with torch.autocast(noised.device.type, autocast, enabled=autocast is not None):
        logits = denoiser.logits_at(noised, batch.lengths, at, **condition)
    rank_of_id = vocabulary.rank_of_id.to(noised.device)
    row = at.nonzero()[:, 0]
    columns = (logits, rank_of_id[batch.tokens[at]], rank_of_id[noised[at]], row)
    values = [
        score(vocabulary.generable_logits(some), *rest).double()
        for some, *rest in zip(*(each.split(POSITIONS_AT_ONCE) for each in columns), strict=True)
    ]
    return segment_sum(torch.cat(values), row, len(batch)).cpu()
