"""A process with known likelihood: what every generator of exact sequences offers.

Sequences are ranks 0 .. K - 1 (numpy, one array a sequence). Everything is conditional on length,
because a generated set is asked for by length; the length's own probability is known as well.
A *state* is a sequence in which some positions are UNKNOWN: they are summed over.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

UNKNOWN = -1
"""Stands at a position whose token is not known."""

Ranks = Int[np.ndarray, "length"]


@dataclass(frozen=True)
class Draws:
    """Sequences drawn from a process."""

    sequences: list[Ranks]
    families: Int[np.ndarray, "n"]
    """The family each was drawn from; a measure must never look at it."""

    @property
    def lengths(self) -> Int[np.ndarray, "n"]:
        return np.array([len(each) for each in self.sequences])


class ExactProcess(ABC):
    """A mixture of families over sequences of 1 to `max_length` tokens."""

    name: str
    num_tokens: int
    num_families: int
    max_length: int

    @abstractmethod
    def joint(self, states: Int[np.ndarray, "n length"]) -> Float[np.ndarray, "n family"]:
        """log p(family, length, known tokens): unknown positions are summed over."""

    @abstractmethod
    def conditionals(
        self, states: Int[np.ndarray, "n length"]
    ) -> Float[np.ndarray, "n length token"]:
        """p(token | length, known tokens) at every position; one-hot where the token is known."""

    @abstractmethod
    def sample(self, count: int, seed: int) -> Draws:
        """`count` independent draws, length included; the same ones for the same seed."""

    @cached_property
    def log_lengths(self) -> Float[np.ndarray, "family max_length_plus_1"]:
        """log p(family, length), cut at `max_length` and normalised; length 0 has none."""
        table = np.full((self.num_families, self.max_length + 1), -np.inf)
        for length in range(1, self.max_length + 1):
            table[:, length] = self.joint(np.full((1, length), UNKNOWN))[0]
        return table - log_sum_exp(table.ravel())

    @cached_property
    def length_log_prob(self) -> Float[np.ndarray, "max_length_plus_1"]:
        """log p(length)."""
        return log_sum_exp(self.log_lengths, axis=0)

    @cached_property
    def family_prior(self) -> Float[np.ndarray, "family"]:
        """p(family) of a draw, the cut at `max_length` included."""
        return np.exp(log_sum_exp(self.log_lengths, axis=1))

    def log_prob(self, sequences: Sequence[Ranks]) -> Float[np.ndarray, "n"]:
        """log p(sequence | its length), in nats.

        Raises:
            ValueError: a sequence has a length that the process never draws.
        """
        result = np.empty(len(sequences))
        for records, states in by_length(sequences):
            unconditional = log_sum_exp(self.joint(np.full((1, states.shape[1]), UNKNOWN))[0])
            if not np.isfinite(unconditional):
                raise ValueError(f"{self.name} has no sequence of length {states.shape[1]}")
            result[records] = log_sum_exp(self.joint(states), axis=1) - unconditional
        return result

    def family_posterior(self, sequences: Sequence[Ranks]) -> Float[np.ndarray, "n family"]:
        """p(family | sequence). Its mean over draws of the process is the prior, exactly."""
        result = np.empty((len(sequences), self.num_families))
        for records, states in by_length(sequences):
            result[records] = softmax(self.joint(states))
        return result


def by_length(sequences: Sequence[Ranks]) -> Iterator[tuple[Int[np.ndarray, "m"], np.ndarray]]:
    """Places and stacked tokens [m, length] of the sequences of each length in turn."""
    lengths = np.array([len(each) for each in sequences])
    for length in np.unique(lengths):
        records = np.flatnonzero(lengths == length)
        yield records, np.stack([np.asarray(sequences[i]) for i in records])


def log_sum_exp(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """log of the sum of exponentials; -inf where all of them are."""
    peak = values.max(axis, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(values - peak).sum(axis, keepdims=True)) + peak
    return total.squeeze(axis)


def softmax(values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Probabilities in proportion to the exponentials of each row."""
    weights = np.exp(values - values.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def draw_rows(
    probabilities: Float[np.ndarray, "n k"], generator: np.random.Generator, missing: bool = False
) -> Int[np.ndarray, "n"]:
    """One index a row, by the inverse cumulative distribution.

    Args:
        missing: the mass that a row lacks to 1 stands for one more outcome, index k.
    """
    cumulative = probabilities.cumsum(-1)
    total = 1.0 if missing else cumulative[:, -1:]
    threshold = generator.random((len(probabilities), 1)) * total
    return (cumulative <= threshold).sum(-1)
