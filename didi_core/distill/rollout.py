"""The student's reverse steps with their log-probabilities (score decomposition, METHODS 2 step 2).

One gradient-carrying forward a step: tokens are drawn from its detached probabilities. Rows that
are one input to the network share it: the first state of a rollout is all mask, the same for all
rows of one length, of a group at least.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.data.batches import TokenBatch
from didi_core.diffusion.draws import Stream, draw_categorical, keyed_uniform
from didi_core.models.noise import NoiseKeys
from didi_core.sampling.predictor import Predictor


@dataclass(frozen=True)
class UniqueRows:
    """Says which rows to call a network on, and where its answers belong."""

    called: Int[Tensor, "distinct"]
    """The first row of each kind."""
    entry: Int[Tensor, "chosen"]
    """For each chosen position of the whole batch, in row-major order, its place among the chosen
    positions of the rows called."""


@dataclass(frozen=True)
class ReverseStep:
    """Holds one reverse step of a batch."""

    before: Int[Tensor, "batch width"]
    masked: Bool[Tensor, "batch width"]
    """Masked before the step, whether or not revealed by it."""
    log_probs: Float[Tensor, "entries generable"]
    """The student's, with gradient, at the masked positions in row-major order: of all rows, or of
    those in `equal.called`."""
    after: Int[Tensor, "batch width"]
    revealed: Bool[Tensor, "masked"]
    """Which of the masked positions the step reveals."""
    drawn: Int[Tensor, "masked"]
    """Rank drawn at each masked position; 0 where it was not asked for."""
    equal: UniqueRows | None = None
    """How rows share `log_probs`; None where each has its own."""

    @property
    def row(self) -> Int[Tensor, "masked"]:
        """Return the row of each masked position."""
        return self.masked.nonzero()[:, 0]

    def drawn_log_prob(self) -> Float[Tensor, "masked"]:
        """Return log p of the drawn token where revealed, 0 elsewhere; carries the gradient."""
        if self.equal is not None:
            return self.log_probs[self.equal.entry, self.drawn] * self.revealed
        chosen = self.log_probs.gather(-1, self.drawn.unsqueeze(-1)).squeeze(-1)
        return chosen * self.revealed

    def at_masked(self, entries: Float[Tensor, "entries *rest"]) -> Float[Tensor, "masked *rest"]:
        """Spread what was computed for each row of `log_probs` to every masked position."""
        return entries if self.equal is None else entries[self.equal.entry]


def reverse_step(
    student: Predictor,
    batch: TokenBatch,
    mask_id: int,
    reveal_probability: Float[Tensor, "batch"],
    seed: int,
    rows: Int[Tensor, "batch"],
    step: int,
    index: int,
    draw_all: bool = False,
    share: bool = False,
) -> ReverseStep:
    """Take one reverse step: each masked position is revealed with its row's probability.

    Args:
        batch: state before the step.
        rows: keys of the rows' random numbers.
        step: training step, part of the key.
        index: number of this reverse step within the training step.
        draw_all: draw also where the token stays masked; a draw over 50,000 tokens has its price.
        share: call the student once for rows that are equal. A student with a noise input makes
            no two rows equal, and is called on all.
    """
    tokens = batch.tokens
    masked = (tokens == mask_id) & batch.maskable
    noise = NoiseKeys(seed, rows, index, update=step)
    equal = None
    if share and student.noise is None:
        equal = deduplicate(tokens, batch.lengths, masked)
        called = equal.called
        log_probs = student.log_probs(tokens[called], batch.lengths[called], masked[called])
    else:
        log_probs = student.log_probs(tokens, batch.lengths, masked, noise)
    # What is revealed, and which token is drawn, are independent: a stream of numbers each.
    row, position = masked.nonzero(as_tuple=True)
    keys = (rows.to(tokens.device)[row], position)
    uniform = keyed_uniform(seed, Stream.REVEAL, *keys, step, index, device=tokens.device)
    revealed = uniform < reveal_probability[row]
    asked = torch.ones_like(revealed) if draw_all else revealed
    own = [key[asked] for key in keys]
    token_uniform = keyed_uniform(seed, Stream.TOKEN, *own, step, index, device=tokens.device)
    # Place of each asked position among `log_probs`, of which equal rows share one.
    drawn = torch.zeros_like(row)
    entry = asked if equal is None else equal.entry[asked]
    drawn[asked] = draw_categorical(log_probs.detach()[entry], token_uniform)
    ids = student.vocabulary.generable.to(tokens.device)[drawn]
    after = tokens.clone()
    after[row[revealed], position[revealed]] = ids[revealed]
    return ReverseStep(tokens, masked, log_probs, after, revealed, drawn, equal)


def all_masked(batch: TokenBatch, mask_id: int) -> Int[Tensor, "batch width"]:
    """Return the prior: every maskable position masked, all else kept."""
    return torch.where(batch.maskable, mask_id, batch.tokens)


def deduplicate(
    tokens: Int[Tensor, "batch width"],
    lengths: Int[Tensor, "batch"],
    at: Bool[Tensor, "batch width"],
) -> UniqueRows:
    """Group the rows whose tokens, length and chosen positions are all equal."""
    whole = torch.cat([lengths[:, None], tokens, at.to(tokens.dtype)], dim=1)
    kinds, kind = torch.unique(whole, dim=0, return_inverse=True)
    # Of each kind of row the first is called: the least row number that has the kind.
    row = torch.arange(len(tokens), device=tokens.device)
    called = row.new_full((len(kinds),), len(tokens)).scatter_reduce(0, kind, row, "amin")
    count = at.sum(-1)
    chosen_row = at.nonzero()[:, 0]
    # Place of a chosen position within its own row, from 0: answers come row by row, so that it
    # lies as far behind the start of the row that was called in its stead.
    place = torch.arange(len(chosen_row), device=tokens.device) - _starts(count)[chosen_row]
    return UniqueRows(called, _starts(count[called])[kind[chosen_row]] + place)


def _starts(count: Int[Tensor, "rows"]) -> Int[Tensor, "rows"]:
    """Return the number of chosen positions in the rows before each."""
    return count.cumsum(0) - count
