"""Likelihood bound of a diffusion model on held-out sequences, beside n-gram baselines."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from didi_core.diffusion.process import DEFAULT_PROCESS
from didi_core.evaluation.bounds import bound_samples
from didi_core.vocabulary import Vocabulary


def likelihood_bound(
    denoiser: nn.Module,
    vocabulary: Vocabulary,
    sequences: Sequence[Sequence[int]],
    seed: int = 0,
    tokens_per_batch: int = 16_384,
    device: torch.device | str = "cpu",
    process: str = DEFAULT_PROCESS,
) -> float:
    """Monte-Carlo estimate of the bound, in nats a token, with eps = 0.

    Every sequence gets one time; together they cover (0, 1) evenly. Randomness is keyed by the
    sequence's place, so the figure does not depend on the batch size.

    Args:
        device: where `denoiser` is.
        process: name of the process that it reverses.
    """
    samples = bound_samples(
        denoiser,
        vocabulary,
        sequences,
        process=process,
        seed=seed,
        tokens_per_batch=tokens_per_batch,
        device=device,
    )
    return samples.estimate().nats_per_token


def ngram_baselines(
    training: Sequence[Sequence[int]], held_out: Sequence[Sequence[int]], num_tokens: int
) -> dict[str, float]:
    """Nats a token of add-one unigram and bigram models: what any real model must beat."""
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
