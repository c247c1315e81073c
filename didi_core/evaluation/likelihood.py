"""Likelihood bound of a masked model on held-out sequences, beside n-gram baselines."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from didi_core.batches import TokenBatch, pad_batch
from didi_core.diffusion.absorbing import AbsorbingProcess, low_discrepancy_times
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.vocabulary import Vocabulary


@torch.no_grad()
def masked_bound(
    denoiser: nn.Module,
    vocabulary: Vocabulary,
    sequences: Sequence[Sequence[int]],
    seed: int = 0,
    tokens_per_batch: int = 16_384,
    device: torch.device | str = "cpu",
) -> float:
    """Monte-Carlo estimate of the bound, in nats a token (MDLM equation 10, eps = 0).

    Every sequence gets one time; together they cover (0, 1) evenly. Randomness is keyed by the
    sequence's place, so the figure does not depend on the batch size.
    """
    process = AbsorbingProcess(vocabulary.mask_id)
    times = low_discrepancy_times(len(sequences), float(keyed_uniform(seed, Stream.TIME, 0)))
    # Lengths and times must not be correlated by the file's order.
    shuffle = torch.randperm(len(sequences), generator=torch.Generator().manual_seed(seed))
    times = times[shuffle]
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    total = 0.0
    for records in _chunks(order, sequences, tokens_per_batch):
        batch = pad_batch([vocabulary.frame(sequences[i]) for i in records], vocabulary).to(device)
        index = torch.tensor(records)
        total += float(_terms(denoiser, vocabulary, process, batch, times, index, seed).sum())
    return total / sum(len(sequence) for sequence in sequences)


def _terms(
    denoiser: nn.Module,
    vocabulary: Vocabulary,
    process: AbsorbingProcess,
    batch: TokenBatch,
    times: torch.Tensor,
    records: torch.Tensor,
    seed: int,
) -> torch.Tensor:
    device = batch.tokens.device
    position = torch.arange(batch.tokens.shape[1])
    uniform = keyed_uniform(seed, Stream.CORRUPT, records[:, None], position, 0).to(device)
    t = times[records].to(device)
    noised = process.corrupt(batch.tokens, batch.maskable, t, uniform)
    masked = noised == vocabulary.mask_id
    log_probs = vocabulary.log_probs(denoiser.logits_at(noised, batch.lengths, masked))
    ranks = vocabulary.rank_of_id.to(device)[batch.tokens[masked]]
    token_log_prob = log_probs.gather(-1, ranks.unsqueeze(-1)).squeeze(-1)
    return process.bound_terms(token_log_prob, masked.nonzero()[:, 0], t)


def _chunks(order: list[int], sequences: Sequence[Sequence[int]], budget: int) -> list[list[int]]:
    chunks: list[list[int]] = [[]]
    for index in order:
        if chunks[-1] and (len(chunks[-1]) + 1) * (len(sequences[index]) + 2) > budget:
            chunks.append([])
        chunks[-1].append(index)
    return chunks


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
