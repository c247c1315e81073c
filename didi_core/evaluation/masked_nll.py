"""What a masked model finds of the masked tokens of a batch: the sum every bound is made of."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from didi_core.batches import TokenBatch
from didi_core.models.denoiser import time_input
from didi_core.rows import row_sum
from didi_core.vocabulary import Vocabulary

POSITIONS_AT_ONCE = 4_096
"""Positions whose log-probabilities stand in memory, beside the logits of the whole batch."""


def row_nll(
    denoiser: nn.Module,
    vocabulary: Vocabulary,
    batch: TokenBatch,
    masked: Bool[Tensor, "batch width"],
    t: Float[Tensor, "batch"],
    autocast: torch.dtype | None,
) -> Float[Tensor, "batch"]:
    """Sum over masked positions of -log p(token | the rest), in nats, float64 on the CPU.

    Probabilities are over the generable ids, in float32 or better.

    Args:
        t: time of each row, from 0 (data) to 1; only networks conditioned on it look at it.
        autocast: compute the network in this type.
    """
    noised = batch.tokens.masked_fill(masked, vocabulary.mask_id)
    told = time_input(denoiser, (1 - t).to(batch.tokens.device))
    with torch.autocast(noised.device.type, autocast, enabled=autocast is not None):
        logits = denoiser.logits_at(noised, batch.lengths, masked, **told)
    ranks = vocabulary.rank_of_id.to(noised.device)[batch.tokens[masked]]
    values = [
        -vocabulary.log_probs(some).gather(-1, rank.unsqueeze(-1)).squeeze(-1).double()
        for some, rank in zip(
            logits.split(POSITIONS_AT_ONCE), ranks.split(POSITIONS_AT_ONCE), strict=True
        )
    ]
    return row_sum(torch.cat(values), masked.nonzero()[:, 0], len(batch)).cpu()
