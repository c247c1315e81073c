"""The published sampling loops in their plain form, written from the papers.

Every step calls the network on the whole padded batch, takes logits at all positions over the
whole vocabulary, and draws all of them in float64: vectorised, but without anything of ours.
Randomness is torch's own.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.data.vocabulary import Vocabulary

Network = Callable[[Tensor, Tensor], Tensor]
"""Tokens [batch, width] and lengths [batch] to logits [batch, width, vocabulary]."""

MAX_SHARE = 0.25
TOP_P = 0.95


def allowed_logits(
    logits: Float[Tensor, "*n vocabulary"], vocabulary: Vocabulary
) -> Float[Tensor, "*n vocabulary"]:
    """Logits in float32 or better, with those of ids that are never written out of reach."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    forbidden = torch.ones(vocabulary.size, dtype=torch.bool, device=logits.device)
    forbidden[vocabulary.generable.to(logits.device)] = False
    return wide.masked_fill(forbidden, -1e6)


@torch.no_grad()
def plain_ancestral(
    network: Network,
    tokens: Int[Tensor, "batch width"],
    lengths: Int[Tensor, "batch"],
    vocabulary: Vocabulary,
    steps: int,
    cached: bool = False,
) -> Int[Tensor, "batch width"]:
    """MDLM's ancestral loop (arXiv 2406.07524, section 4) on an even grid that ends at alpha = 1.

    Args:
        cached: as MDLM's faster sampler, keep the prediction after a step that changed nothing
            in the whole batch.
    """
    state, probabilities = tokens.clone(), None
    for step in range(steps):
        if probabilities is None:
            logits = allowed_logits(network(state, lengths), vocabulary)
            probabilities = logits.log_softmax(-1).exp().double()
        posterior = probabilities * (1 / steps)
        posterior[..., vocabulary.mask_id] = 1 - (step + 1) / steps
        # The largest of p / Exponential(1) is the largest of log p + Gumbel.
        drawn = (posterior / -torch.rand_like(posterior).log()).argmax(-1)
        after = torch.where(state == vocabulary.mask_id, drawn, state)
        if not (cached and torch.equal(after, state)):
            probabilities = None
        state = after
    return state


@torch.no_grad()
def plain_dplm(
    network: Network,
    tokens: Int[Tensor, "batch width"],
    lengths: Int[Tensor, "batch"],
    vocabulary: Vocabulary,
    steps: int,
) -> Int[Tensor, "batch width"]:
    """DPLM's loop (arXiv 2402.18567): predict all positions, mask the least confident again."""
    mask_id = vocabulary.mask_id
    state, free = tokens.clone(), tokens == mask_id
    for step in range(1, steps + 1):
        guess, score = _noised_best(network(state, lengths), vocabulary)
        guess = torch.where(free, guess, state)
        repeated = _repeated(guess, free, vocabulary.size)
        rows = repeated.any(-1).nonzero()[:, 0]
        if len(rows):
            again = guess.masked_fill(repeated, mask_id)[rows]
            logits = _nucleus(allowed_logits(network(again, lengths[rows]), vocabulary))
            fresh, fresh_score = _noised_best(logits, vocabulary)
            guess[rows] = torch.where(repeated[rows], fresh, guess[rows])
            score[rows] = torch.where(repeated[rows], fresh_score, score[rows])
        score = score.masked_fill(~free, torch.inf)
        count = free.sum(-1, keepdim=True) * (steps - step) // steps
        lowest = score < score.sort(-1).values.gather(-1, count.clamp_max(score.shape[1] - 1))
        state = torch.where(state == mask_id, guess, state).masked_fill(lowest, mask_id)
    return state


def _noised_best(logits: Tensor, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    """Arg-max token of Gumbel-noised log-probabilities at all positions, and its score."""
    log_probs = allowed_logits(logits, vocabulary).double().log_softmax(-1)
    noise = -(-torch.rand_like(log_probs).log()).log()
    score, best = (log_probs + noise).log_softmax(-1).max(-1)
    return best, score


def _repeated(
    guess: Int[Tensor, "batch width"], free: Bool[Tensor, "batch width"], size: int
) -> Bool[Tensor, "batch width"]:
    """Free positions whose token fills more than a quarter of the row's prediction."""
    counts = guess.new_zeros(len(guess), size).scatter_add(1, guess, free.to(guess.dtype))
    return free & (counts.gather(1, guess) > MAX_SHARE * free.sum(-1, keepdim=True))


def _nucleus(logits: Float[Tensor, "*n vocabulary"]) -> Float[Tensor, "*n vocabulary"]:
    """The fewest most probable tokens whose mass is at least `TOP_P`."""
    ordered, order = logits.double().softmax(-1).sort(-1, descending=True)
    out = (ordered.cumsum(-1) - ordered) >= TOP_P
    return logits.masked_fill(torch.zeros_like(out).scatter(-1, order, out), -1e6)
