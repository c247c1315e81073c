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
    revealed = draw_revealed(masked, reveal_probability, seed, rows, step, index)
    row, position = masked.nonzero(as_tuple=True)
    keys = (rows.to(tokens.device)[row], position)
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


def draw_revealed(
    masked: Bool[Tensor, "batch width"],
    reveal_probability: Float[Tensor, "batch"],
    seed: int,
    rows: Int[Tensor, "batch"],
    step: int,
    index: int,
) -> Bool[Tensor, "masked"]:
    """Draw which masked positions a reverse step reveals: no matter what the network says there."""
    row, position = masked.nonzero(as_tuple=True)
    keys = (rows.to(masked.device)[row], position, step, index)
    uniform = keyed_uniform(seed, Stream.REVEAL, *keys, device=masked.device)
    return uniform < reveal_probability[row]


def all_masked(batch: TokenBatch, mask_id: int) -> Int[Tensor, "batch width"]:
    """Return the prior: every maskable position masked, all else kept."""
    return torch.where(batch.maskable, mask_id, batch.tokens)


@torch.no_grad()
def on_policy_tokens(
    student: Predictor,
    batch: TokenBatch,
    progress: Float[Tensor, "batch width"],
    num_steps: int,
    keys: tuple[int, Int[Tensor, "batch"], int],
    in_step: bool = False,
) -> Int[Tensor, "batch width"]:
    """Return the state `batch` with every visible token drawn by the student (ours).

    Trained on masked references alone, a student never sees its own early mistakes; and the noise
    of a row has nothing to do with the tokens it stands beside, although in sampling it chose them.
    So some rows keep the positions that the masks left visible and fill them with the student's own
    draws, in its own steps, with the very noise that the step to be trained will use.

    Args:
        batch: references, masked in part.
        progress: when each position is revealed, from 0 to 1: step k of `num_steps` reveals those
            in [k, k + 1) / num_steps, among the visible ones.
        keys: seed, key of each row, training step. Steps count from 1: the step to be trained is
            number 0 of these keys, and must not draw the same numbers.
        in_step: make every step's call, also for no position: the student's tensors are spread
            over processes that must make the same calls.
    """
    seed, rows, update = keys
    mask_id = student.vocabulary.mask_id
    visible = batch.maskable & (batch.tokens != mask_id)
    tokens = all_masked(batch, mask_id)
    step_of = (progress * num_steps).long().clamp_max(num_steps - 1)
    for step in range(num_steps):
        # What this step reveals is drawn together, from what the steps before made.
        now = visible & (step_of == step)
        active = now.any(-1).nonzero()[:, 0]
        if not len(active):
            if not in_step:
                continue
            # A call for no position, on any row: the other processes make theirs now.
            active = torch.zeros(1, dtype=torch.long, device=rows.device)
        noise = NoiseKeys(seed, rows[active], step + 1, update)
        log_probs = student.log_probs(tokens[active], batch.lengths[active], now[active], noise)
        row, position = now.nonzero(as_tuple=True)
        key = (rows[row], position, update, step + 1)
        drawn = draw_categorical(
            log_probs, keyed_uniform(seed, Stream.TOKEN, *key, device=rows.device)
        )
        tokens[row, position] = student.vocabulary.generable.to(rows.device)[drawn]
    return tokens


def with_own_tokens(
    student: Predictor,
    batch: TokenBatch,
    chosen: Bool[Tensor, "batch"],
    progress: Float[Tensor, "batch width"],
    num_steps: int,
    keys: tuple[int, Int[Tensor, "batch"], int],
    in_step: bool = False,
) -> Int[Tensor, "batch width"]:
    """Return the tokens of `batch`, those of the chosen rows drawn as `on_policy_tokens` does."""
    own = chosen.nonzero()[:, 0]
    if not len(own):
        if not in_step:
            return batch.tokens
        own = torch.zeros(1, dtype=torch.long, device=chosen.device)
    seed, rows, update = keys
    tokens = on_policy_tokens(
        student, batch.rows(own), progress[own], num_steps, (seed, rows[own], update), in_step
    )
    tokens = torch.where(chosen[own, None], tokens, batch.tokens[own])
    return batch.tokens.index_copy(0, own, tokens)


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
