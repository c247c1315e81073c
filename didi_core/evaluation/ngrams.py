"""n-gram models: what any real model must beat on held-out sequences."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from didi_core.evaluation.entropy import Ids


def ngram_nats(
    training: Sequence[Ids], held_out: Sequence[Ids], num_tokens: int
) -> dict[str, NDArray[np.float64]]:
    """Return the nats [sequences] of each held-out sequence under models that only count.

    `unigram` and `bigram` are add-one estimates of the training sequences; the first token of a
    sequence follows a token of its own.
    """
    unigram = np.ones(num_tokens)
    bigram = np.ones((num_tokens + 1, num_tokens))  # the last row: the sequence's first token
    for sequence in training:
        ids = np.asarray(sequence)
        np.add.at(unigram, ids, 1)
        np.add.at(bigram, (_previous(ids, num_tokens), ids), 1)
    log_unigram = np.log(unigram / unigram.sum())
    log_bigram = np.log(bigram / bigram.sum(1, keepdims=True))
    held = [np.asarray(sequence) for sequence in held_out]
    by_pair = [log_bigram[_previous(ids, num_tokens), ids].sum() for ids in held]
    return {
        "unigram": -np.array([log_unigram[ids].sum() for ids in held]),
        "bigram": -np.array(by_pair),
    }


def _previous(ids: np.ndarray, start: int) -> np.ndarray:
    return np.concatenate([[start], ids[:-1]]).astype(int)
