"""Pseudo-likelihood of sequences under a masked model [1]_.

Exact: each position in turn is masked and predicted from all others, one forward pass a token.
One pass: every position is predicted from the whole sequence, itself included, in a single
forward pass. That approximation only means something for a model that was also trained to predict
positions it can see (BERT, ESM-2), and it flatters every sequence.

.. [1] Salazar et al. "Masked Language Model Scoring", ACL 2020.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from didi_core.data.batches import pad_batch
from didi_core.data.vocabulary import Vocabulary
from didi_core.evaluation.judge import BATCH_TOKENS
from didi_core.sampling.batching import plan_batches


@torch.no_grad()
def exact_pseudo_nll(
    denoiser: Any,
    vocabulary: Vocabulary,
    sequence: Sequence[int],
    batch_tokens: int = BATCH_TOKENS,
    autocast: torch.dtype | None = None,
) -> float:
    """Average -log p(token | all others) over positions, in nats; one forward row a position.

    Probabilities are over the generable ids: the others are never written.

    Args:
        denoiser: has `trunk` and `head` (see `didi_core.models.esm`).
        sequence: ids without framing, generable ones, at least one.
        batch_tokens: bound on rows times padded width of one forward pass.
    """
    if not len(sequence):
        raise ValueError("an empty sequence has no likelihood per token")
    framed = pad_batch([vocabulary.frame(sequence)], vocabulary)
    first = int(vocabulary.bos_id is not None)
    positions = torch.arange(first, first + len(sequence))
    rows_at_once = max(1, batch_tokens // framed.tokens.shape[1])
    total = 0.0
    for chosen in positions.split(rows_at_once):
        tokens = framed.tokens.repeat(len(chosen), 1)
        rows = torch.arange(len(chosen))
        tokens[rows, chosen] = vocabulary.mask_id
        lengths = framed.lengths.repeat(len(chosen))
        targets = framed.tokens[0, chosen]
        total += float(
            _nll_at(denoiser, vocabulary, tokens, lengths, (rows, chosen), targets, autocast).sum()
        )
    return total / len(sequence)


@torch.no_grad()
def one_pass_pseudo_nll(
    denoiser: Any,
    vocabulary: Vocabulary,
    sequences: Sequence[Sequence[int]],
    batch_tokens: int = BATCH_TOKENS,
    autocast: torch.dtype | None = None,
) -> NDArray[np.float64]:
    """Average -log p(token | whole sequence) over each sequence's positions, in nats."""
    framed = [vocabulary.frame(sequence) for sequence in sequences]
    result = np.empty(len(sequences))
    for records in plan_batches([len(each) for each in framed], batch_tokens):
        batch = pad_batch([framed[record] for record in records], vocabulary)
        row, column = batch.maskable.nonzero(as_tuple=True)
        at, targets = (row, column), batch.tokens[row, column]
        nll = _nll_at(denoiser, vocabulary, batch.tokens, batch.lengths, at, targets, autocast)
        sums = torch.zeros(len(records), dtype=torch.float64).index_add_(0, row, nll)
        result[records] = (sums / batch.maskable.sum(-1)).numpy()
    return result


def _nll_at(
    denoiser: Any,
    vocabulary: Vocabulary,
    tokens: Int[Tensor, "batch width"],
    lengths: Int[Tensor, "batch"],
    at: tuple[Int[Tensor, "n"], Int[Tensor, "n"]],
    targets: Int[Tensor, "n"],
    autocast: torch.dtype | None,
) -> Float[Tensor, "n"]:
    """Return -log p(target) at the positions `at` (row, column), float64 on the CPU."""
    device = next(denoiser.parameters()).device
    row, column = (index.to(device) for index in at)
    with torch.autocast(device.type, autocast, enabled=autocast is not None):
        hidden = denoiser.trunk(tokens.to(device), lengths.to(device))
        logits = denoiser.head(hidden[row, column])
    ranks = vocabulary.rank_of_id[targets].to(device)
    log_probs = vocabulary.log_probs(logits.float() if autocast is not None else logits)
    return -log_probs.gather(-1, ranks.unsqueeze(-1)).squeeze(-1).double().cpu()
