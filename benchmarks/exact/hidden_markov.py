"""A hidden Markov model that emits a token in every state: forward, backward, sampling.

The forward algorithm [1]_ runs in float64 with its scale in log space, over many sequences of one
length at a time. A position may be unknown: then its emission is left out, which sums over it.

.. [1] Durbin, Eddy, Krogh, Mitchison. "Biological Sequence Analysis", 1998, chapter 3.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from benchmarks.exact.process import UNKNOWN, draw_rows


@dataclass(frozen=True)
class HiddenMarkov:
    """Rows of `transition` with `end` sum to one; `initial` may miss mass: no token at all."""

    initial: Float[np.ndarray, "state"]
    transition: Float[np.ndarray, "state state"]
    end: Float[np.ndarray, "state"]
    emission: Float[np.ndarray, "state token"]

    def log_marginal(self, states: Int[np.ndarray, "n length"]) -> Float[np.ndarray, "n"]:
        """log p(length, known tokens)."""
        _, final, log_scale = self._forward(states)
        with np.errstate(divide="ignore"):
            return np.log(final @ self.end) + log_scale

    def conditionals(
        self, states: Int[np.ndarray, "n length"]
    ) -> Float[np.ndarray, "n length token"]:
        """p(token | length, all *other* known tokens) at every position."""
        before, _, _ = self._forward(states)
        after = np.broadcast_to(self.end, before[0].shape)
        result = np.empty((*states.shape, self.emission.shape[1]))
        for place in reversed(range(states.shape[1])):
            chances = (before[place] * after) @ self.emission
            result[:, place] = chances / chances.sum(-1, keepdims=True)
            after = (after * self._emitted(states[:, place])) @ self.transition.T
            after = after / after.max(-1, keepdims=True)
        return result

    def _forward(
        self, states: Int[np.ndarray, "n length"]
    ) -> tuple[list[np.ndarray], Float[np.ndarray, "n state"], Float[np.ndarray, "n"]]:
        """Weight of each state [n, state] before each token is emitted, and after the last one.

        Every weight is to be multiplied by a scale of its row; the last one's is returned, as log.
        """
        weight = np.broadcast_to(self.initial, (len(states), len(self.initial)))
        before, log_scale = [], np.zeros(len(states))
        for place in range(states.shape[1]):
            before.append(weight)
            emitted = weight * self._emitted(states[:, place])
            scale = emitted.sum(-1, keepdims=True)
            emitted = emitted / scale
            log_scale += np.log(scale[:, 0])
            if place + 1 < states.shape[1]:
                weight = emitted @ self.transition
        return before, emitted, log_scale

    def _emitted(self, tokens: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n state"]:
        """p(token | state); 1 where the token is unknown."""
        table = np.concatenate([self.emission.T, np.ones((1, len(self.end)))])
        return table[np.where(tokens == UNKNOWN, len(table) - 1, tokens)]

    def sample(
        self, count: int, max_length: int, generator: np.random.Generator
    ) -> list[Int[np.ndarray, "length"] | None]:
        """`count` draws; None for one without a token or with more than `max_length`."""
        tokens = np.full((count, max_length), UNKNOWN)
        lengths = np.zeros(count, dtype=int)
        stop = len(self.end)  # index of "no further token" beside the states
        alive = np.arange(count)
        state = draw_rows(np.broadcast_to(self.initial, (count, stop)), generator, missing=True)
        for place in range(max_length):
            alive, state = alive[state < stop], state[state < stop]
            tokens[alive, place] = draw_rows(self.emission[state], generator)
            lengths[alive] += 1
            state = draw_rows(self.transition[state], generator, missing=True)
        lengths[alive[state < stop]] = 0  # it would go on past the longest
        return [
            row[:length] if length else None for row, length in zip(tokens, lengths, strict=True)
        ]
