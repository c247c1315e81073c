"""n-gram models: what any real model must beat on held-out sequences."""

import math
from collections.abc import Sequence

import numpy as np

from didi_core.evaluation.entropy import Ids


def ngram_baselines(
    training: Sequence[Ids],
    held_out: Sequence[Ids],
    num_tokens: int,
) -> dict[str, float]:
    """Return nats a token of add-one unigram and bigram models: what any real model must beat."""
    unigram = np.ones(num_tokens)
    bigram = np.ones((num_tokens + 1, num_tokens))  # the last row: the sequence's first token
    for sequence in training:
        ids = np.asarray(sequence)
        np.add.at(unigram, ids, 1)
        np.add.at(bigram, (_previous(ids, num_tokens), ids), 1)
    log_unigram = np.log(unigram / unigram.sum())
    log_bigram = np.log(bigram / bigram.sum(1, keepdims=True))
    count = sum(len(sequence) for sequence in held_out)
    held = [np.asarray(sequence) for sequence in held_out]
    return {
        "unigram": -math.fsum(log_unigram[ids].sum() for ids in held) / count,
        "bigram": -math.fsum(log_bigram[_previous(ids, num_tokens), ids].sum() for ids in held)
        / count,
    }


def _previous(ids: np.ndarray, start: int) -> np.ndarray:
    return np.concatenate([[start], ids[:-1]]).astype(int)
