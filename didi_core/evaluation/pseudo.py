"""Pseudo-likelihood of sequences under a masked model [1]_.

Exact: each position in turn is masked and predicted from all others, one forward pass a token.
One pass: every position is predicted from the whole sequence, itself included, in a single
forward pass. That approximation only means something for a model that was also trained to predict
positions it can see (BERT, ESM-2), and it flatters every sequence.

.. [1] Salazar et al. "Masked Language Model Scoring", ACL 2020.
"""

from collections.abc import Iterator, Sequence
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
    ranks, total = vocabulary.rank_of_id[torch.as_tensor(sequence)], 0.0
    masked = [(0, position) for position in range(len(sequence))]
    passes = _masked_passes(denoiser, vocabulary, [sequence], masked, batch_tokens, autocast)
    for rows, log_probs in passes:
        own = ranks[[position for _, position in (masked[row] for row in rows)]].unsqueeze(-1)
        total += float((-log_probs.gather(-1, own)).squeeze(-1).double().sum())
    return total / len(sequence)


def masked_log_probs(
    denoiser: Any,
    vocabulary: Vocabulary,
    sequences: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]] | None = None,
    batch_tokens: int = BATCH_TOKENS,
    autocast: torch.dtype | None = None,
) -> list[Float[Tensor, "positions generable"]]:
    """Return log p(each generable token | all others) at positions, each masked alone, in nats.

    The log-odds of a substitution against the token that stands there score its effect without
    any measurement of it (Meier et al., "Language models enable zero-shot prediction of the
    effects of mutations on protein function", NeurIPS 2021, their masked marginals).

    Rows of several sequences share a forward pass. What a row gives depends on neither its
    neighbours nor their number, save for the rounding of the network's own type.

    Args:
        sequences: ids without framing.
        positions: those to mask of each sequence, from 0; None for all.
        batch_tokens: bound on rows times padded width of one forward pass.

    Returns:
        For each sequence float64, in the order of its positions and of the generable ids.
    """
    if positions is None:
        positions = [range(len(sequence)) for sequence in sequences]
    masked = [(which, at) for which, places in enumerate(positions) for at in places]
    found = torch.empty(len(masked), vocabulary.num_generable, dtype=torch.float64)
    passes = _masked_passes(denoiser, vocabulary, sequences, masked, batch_tokens, autocast)
    for rows, log_probs in passes:
        found[rows] = log_probs.double()
    return list(found.split([len(places) for places in positions]))


@torch.no_grad()
def _masked_passes(
    denoiser: Any,
    vocabulary: Vocabulary,
    sequences: Sequence[Sequence[int]],
    masked: Sequence[tuple[int, int]],
    batch_tokens: int,
    autocast: torch.dtype | None,
) -> Iterator[tuple[list[int], Float[Tensor, "rows generable"]]]:
    """Yield log-probabilities of generable tokens, one forward pass after the other.

    Args:
        masked: sequence and position of each row; nothing else of that sequence is masked.

    Yields:
        Which rows of `masked` the pass was of, and what the network gives at their positions.
    """
    framed = [vocabulary.frame(sequence) for sequence in sequences]
    first = int(vocabulary.bos_id is not None)
    for rows in plan_batches([len(framed[which]) for which, _ in masked], batch_tokens):
        batch = pad_batch([framed[masked[row][0]] for row in rows], vocabulary)
        at = torch.arange(len(rows)), torch.tensor([first + masked[row][1] for row in rows])
        batch.tokens[at] = vocabulary.mask_id
        yield (
            rows,
            _log_probs_at(denoiser, vocabulary, batch.tokens, batch.lengths, at, autocast),
        )


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
        log_probs = _log_probs_at(
            denoiser, vocabulary, batch.tokens, batch.lengths, (row, column), autocast
        )
        ranks = vocabulary.rank_of_id[batch.tokens[row, column]].unsqueeze(-1)
        nll = -log_probs.gather(-1, ranks).squeeze(-1).double()
        sums = torch.zeros(len(records), dtype=torch.float64).index_add_(0, row, nll)
        result[records] = (sums / batch.maskable.sum(-1)).numpy()
    return result


def _log_probs_at(
    denoiser: Any,
    vocabulary: Vocabulary,
    tokens: Int[Tensor, "batch width"],
    lengths: Int[Tensor, "batch"],
    at: tuple[Int[Tensor, "n"], Int[Tensor, "n"]],
    autocast: torch.dtype | None,
) -> Float[Tensor, "n generable"]:
    """Return log p of every generable token at the positions `at` (row, column), on the CPU."""
    device = next(denoiser.parameters()).device
    row, column = (index.to(device) for index in at)
    with torch.autocast(device.type, autocast, enabled=autocast is not None):
        hidden = denoiser.trunk(tokens.to(device), lengths.to(device))
        logits = denoiser.head(hidden[row, column])
    return vocabulary.log_probs(logits.float() if autocast is not None else logits).cpu()
