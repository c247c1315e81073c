"""Process (b): families with planted long-range pairs, between tails of varying length.

A family has a core of fixed columns, some of them paired across a long range. The first partner of
a pair is drawn from its column, the second by a coupling: with probability 1 - noise the residue
that a fixed permutation assigns to the first one, else any residue from the background. Before and
after the core stand tails of 0 to T background residues. So a sequence of known length is drawn
from a finite mixture of (family, place of the core), and given those from a product of single
columns and pairs: likelihoods and conditionals are sums of few terms, all exact.

A pair is *broken* when its residues do not match under the permutation. Partners drawn in one step
are drawn independently, and nearly always broken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from benchmarks.exact.process import Draws, ExactProcess, Ranks, by_length, draw_rows, softmax
from benchmarks.exact.profile_families import column_laws


@dataclass(frozen=True)
class Core:
    """One family."""

    columns: Float[np.ndarray, "column token"]
    """Marginal law of each column, second partners included."""
    pairs: Int[np.ndarray, "pair 2"]
    """First and second column of each pair; no column is in two."""


@dataclass(frozen=True)
class Placement:
    """A family with its core at one place of a sequence."""

    family: int
    start: int
    log_weight: float
    """log p(family, tail lengths)."""


class PairedFamilies(ExactProcess):
    """Families whose columns co-evolve in pairs, fixed by a seed.

    Args:
        columns: fewest and most columns of a core.
        pairs: fewest and most pairs of a core.
        least_range: least distance of partners, in columns.
        tail: most residues of a tail; all lengths from 0 are equally likely.
        noise: share of second partners that ignore the first.
        conserved: share of the other columns that are strongly conserved.
    """

    def __init__(
        self,
        num_families: int = 8,
        columns: tuple[int, int] = (28, 40),
        pairs: tuple[int, int] = (6, 8),
        least_range: int = 8,
        tail: int = 4,
        noise: float = 0.05,
        conserved: float = 0.6,
        num_tokens: int = 20,
        max_length: int = 64,
        seed: int = 2,
    ) -> None:
        self.name = "pairs"
        self.num_tokens, self.max_length = num_tokens, max_length
        self.num_families, self.tail, self.noise = num_families, tail, noise
        generator = np.random.default_rng(seed)
        self.background = generator.dirichlet(np.full(num_tokens, 10.0))
        self.weights = generator.dirichlet(np.full(num_families, 8.0))
        self.partner = generator.permutation(num_tokens)
        self.coupling = (1 - noise) * np.eye(num_tokens)[self.partner] + noise * self.background
        self.cores = []
        for width in generator.integers(columns[0], columns[1] + 1, num_families):
            count = generator.integers(pairs[0], pairs[1] + 1)
            chosen = _choose_pairs(int(width), int(count), least_range, generator)
            laws = column_laws(int(width), conserved, self.background, generator)
            laws[chosen[:, 0]] = generator.dirichlet(np.full(num_tokens, 2.0), len(chosen))
            laws[chosen[:, 1]] = laws[chosen[:, 0]] @ self.coupling
            self.cores.append(Core(laws, chosen))
        longest = max(len(core.columns) for core in self.cores) + 2 * tail
        if longest > max_length:
            raise ValueError(f"cores and tails reach {longest} tokens, past {max_length}")

    def placements(self, length: int) -> list[Placement]:
        """Every (family, place) that a sequence of this length can come from."""
        found = []
        for family, core in enumerate(self.cores):
            both_tails = length - len(core.columns)
            for start in range(max(0, both_tails - self.tail), min(both_tails, self.tail) + 1):
                weight = np.log(self.weights[family]) - 2 * np.log(self.tail + 1)
                found.append(Placement(family, start, float(weight)))
        return found

    def joint(self, states: Int[np.ndarray, "n length"]) -> Float[np.ndarray, "n family"]:
        placements = self.placements(states.shape[1])
        result = np.full((len(states), self.num_families), -np.inf)
        if placements:
            each = self._log_placed(states, placements)
            for column, placement in enumerate(placements):
                family = placement.family
                result[:, family] = np.logaddexp(result[:, family], each[:, column])
        return result

    def conditionals(
        self, states: Int[np.ndarray, "n length"]
    ) -> Float[np.ndarray, "n length token"]:
        placements = self.placements(states.shape[1])
        chance = softmax(self._log_placed(states, placements))
        laws = np.stack([self._laws(placement, states.shape[1]) for placement in placements])
        for index, placement in enumerate(placements):
            laws[index, placement.start + self.cores[placement.family].pairs.ravel()] = 0.0
        mixed = np.tensordot(chance, laws, axes=1)
        for index, placement in enumerate(placements):
            core, weight = self.cores[placement.family], chance[:, index, None]
            for first, second in core.pairs:
                one, two = placement.start + first, placement.start + second
                forward, backward = self._given_partner(core.columns[first])
                mixed[:, one] += weight * backward[states[:, two]]
                mixed[:, two] += weight * forward[states[:, one]]
        known = states >= 0
        return np.where(known[..., None], np.eye(self.num_tokens)[states * known], mixed)

    def _log_placed(
        self, states: Int[np.ndarray, "n length"], placements: Sequence[Placement]
    ) -> Float[np.ndarray, "n placement"]:
        """log p(family, tails, known tokens) for each placement."""
        length = states.shape[1]
        # The last column, 0, is what an unknown position adds; UNKNOWN = -1 selects it.
        tables = [
            np.pad(np.log(self._laws(placement, length)), ((0, 0), (0, 1)))
            for placement in placements
        ]
        one_hot = np.eye(self.num_tokens + 1)[states].reshape(len(states), -1)
        result = one_hot @ np.stack(tables).reshape(len(tables), -1).T
        for index, placement in enumerate(placements):
            core = self.cores[placement.family]
            result[:, index] += placement.log_weight
            for first, second in core.pairs:
                ratio = np.log(self.coupling) - np.log(core.columns[second])
                ratio = np.pad(ratio, ((0, 1), (0, 1)))  # nothing unless both are known
                one, two = placement.start + first, placement.start + second
                result[:, index] += ratio[states[:, one], states[:, two]]
        return result

    def _laws(self, placement: Placement, length: int) -> Float[np.ndarray, "length token"]:
        """Marginal law of every position."""
        laws = np.tile(self.background, (length, 1))
        columns = self.cores[placement.family].columns
        laws[placement.start : placement.start + len(columns)] = columns
        return laws

    def _given_partner(
        self, first: Float[np.ndarray, "token"]
    ) -> tuple[Float[np.ndarray, "known token"], Float[np.ndarray, "known token"]]:
        """Law of the second partner given the first, and of the first given the second.

        The last row of each is for a partner that is not known.
        """
        both = first[:, None] * self.coupling
        second = both.sum(0)
        return (
            np.concatenate([self.coupling, second[None]]),
            np.concatenate([(both / second).T, first[None]]),
        )

    def sample(self, count: int, seed: int) -> Draws:
        generator = np.random.default_rng(seed)
        families = draw_rows(np.tile(self.weights, (count, 1)), generator)
        tails = generator.integers(0, self.tail + 1, (count, 2))
        outside = generator.choice(self.num_tokens, (count, 2 * self.tail), p=self.background)
        sequences: list[Ranks] = [np.empty(0, int)] * count
        for family, core in enumerate(self.cores):
            places = np.flatnonzero(families == family)
            drawn = self._draw_core(core, len(places), generator)
            for place, row in zip(places, drawn, strict=True):
                before, after = tails[place]
                parts = (outside[place, :before], row, outside[place, 2 * self.tail - after :])
                sequences[place] = np.concatenate(parts)
        return Draws(sequences, families)

    def _draw_core(
        self, core: Core, count: int, generator: np.random.Generator
    ) -> Int[np.ndarray, "n column"]:
        columns = [draw_rows(np.tile(law, (count, 1)), generator) for law in core.columns]
        tokens = np.stack(columns, axis=-1)
        for first, second in core.pairs:
            tokens[:, second] = draw_rows(self.coupling[tokens[:, first]], generator)
        return tokens

    def broken_share(self, sequences: Sequence[Ranks]) -> Float[np.ndarray, "n"]:
        """Share of broken pairs of each sequence, expected over where its core may lie.

        Its mean over draws of the process is `true_broken_share`, exactly.
        """
        result = np.zeros(len(sequences))
        for records, states in by_length(sequences):
            placements = self.placements(states.shape[1])
            chance = softmax(self._log_placed(states, placements))
            for index, placement in enumerate(placements):
                at = placement.start + self.cores[placement.family].pairs
                broken = self.partner[states[:, at[:, 0]]] != states[:, at[:, 1]]
                result[records] += chance[:, index] * broken.mean(-1)
        return result

    @cached_property
    def true_broken_share(self) -> float:
        """Expected share of broken pairs of a draw of the process."""
        unbroken = self.coupling[np.arange(self.num_tokens), self.partner]
        each = [1 - (core.columns[core.pairs[:, 0]] @ unbroken).mean() for core in self.cores]
        return float(np.dot(self.weights, each))


def _choose_pairs(
    width: int, count: int, least_range: int, generator: np.random.Generator
) -> Int[np.ndarray, "pair 2"]:
    """Disjoint pairs of columns at least `least_range` apart, redrawn until there are enough."""
    if 2 * count > width or width <= least_range:
        raise ValueError(f"{count} pairs {least_range} apart do not fit {width} columns")
    while True:
        chosen = generator.permutation(width)[: 2 * count].reshape(count, 2)
        chosen.sort(axis=-1)
        if (chosen[:, 1] - chosen[:, 0] >= least_range).all():
            return chosen
