"""Process (a): a mixture of profile hidden Markov models, with insertions and deletions.

The architecture is that of profile HMMs [1]_: match, insert and delete states a column. Delete
states emit nothing; they are summed out beforehand, which leaves a model that emits in every state
(`hidden_markov`), with the same law over sequences.

.. [1] Durbin, Eddy, Krogh, Mitchison. "Biological Sequence Analysis", 1998, chapter 5.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from benchmarks.exact.hidden_markov import HiddenMarkov
from benchmarks.exact.process import Draws, ExactProcess, draw_rows, softmax


@dataclass(frozen=True)
class Indels:
    """Probabilities of insertions and deletions, the same at every column."""

    open_insertion: float = 0.03
    extend_insertion: float = 0.5
    open_deletion: float = 0.02
    extend_deletion: float = 0.4


def profile_model(
    matches: Float[np.ndarray, "column token"],
    background: Float[np.ndarray, "token"],
    indels: Indels,
) -> HiddenMarkov:
    """The emitting model of a profile: matches 1 .. m, then insertions 0 .. m."""
    columns = len(matches)
    size = 2 * columns + 1
    rows = np.zeros((columns + 1, size))  # from match k, where match 0 is the beginning
    ends = np.zeros(columns + 1)
    for column in range(columns + 1):
        rows[column, columns + column] = indels.open_insertion
        skip = indels.open_deletion if column < columns else 0.0
        onwards = 1.0 - indels.open_insertion - skip
        if column == columns:
            ends[column] = onwards
            continue
        rows[column, column] = onwards  # match column + 1 stands at place `column`
        for later in range(column + 1, columns):
            rows[column, later] = skip * (1.0 - indels.extend_deletion)
            skip *= indels.extend_deletion
        ends[column] = skip  # the last delete state goes nowhere else
    transition, end = np.zeros((size, size)), np.zeros(size)
    transition[:columns], end[:columns] = rows[1:], ends[1:]
    for column in range(columns + 1):
        insertion = columns + column
        transition[insertion, insertion] = indels.extend_insertion
        if column < columns:
            transition[insertion, column] = 1.0 - indels.extend_insertion
        else:
            end[insertion] = 1.0 - indels.extend_insertion
    emission = np.concatenate([matches, np.tile(background, (columns + 1, 1))])
    return HiddenMarkov(rows[0], transition, end, emission)


def column_laws(
    width: int,
    conserved: float,
    background: Float[np.ndarray, "token"],
    generator: np.random.Generator,
) -> Float[np.ndarray, "column token"]:
    """Laws of a family's columns, each from a Dirichlet around the background.

    Its concentration, summed over the alphabet, is 0.5 in a conserved column (mostly one residue)
    and 6 in a loose one. No residue is impossible anywhere: every sequence has a likelihood.
    """
    concentration = np.where(generator.random(width) < conserved, 0.5, 6.0)
    laws = np.stack([generator.dirichlet(each * background) for each in concentration])
    return 0.98 * laws + 0.02 * background


class ProfileFamilies(ExactProcess):
    """Families of different columns, lengths and weights, fixed by a seed.

    Args:
        columns: fewest and most match columns of a family.
        conserved: share of columns that are strongly conserved; the rest are loosely so.
    """

    def __init__(
        self,
        num_families: int = 10,
        columns: tuple[int, int] = (24, 44),
        conserved: float = 0.6,
        indels: Indels | None = None,
        num_tokens: int = 20,
        max_length: int = 64,
        seed: int = 1,
    ) -> None:
        self.name = "profiles"
        self.num_tokens, self.max_length = num_tokens, max_length
        self.num_families = num_families
        generator = np.random.default_rng(seed)
        background = generator.dirichlet(np.full(num_tokens, 10.0))
        self.weights = generator.dirichlet(np.full(num_families, 8.0))
        self.models = []
        for width in generator.integers(columns[0], columns[1] + 1, num_families):
            matches = column_laws(width, conserved, background, generator)
            self.models.append(profile_model(matches, background, indels or Indels()))

    def joint(self, states: Int[np.ndarray, "n length"]) -> Float[np.ndarray, "n family"]:
        columns = [model.log_marginal(states) for model in self.models]
        return np.stack(columns, axis=-1) + np.log(self.weights)

    def conditionals(
        self, states: Int[np.ndarray, "n length"]
    ) -> Float[np.ndarray, "n length token"]:
        chance = softmax(self.joint(states))
        mixed = sum(
            chance[:, family, None, None] * model.conditionals(states)
            for family, model in enumerate(self.models)
        )
        known = states >= 0
        return np.where(known[..., None], np.eye(self.num_tokens)[states * known], mixed)

    def sample(self, count: int, seed: int) -> Draws:
        generator = np.random.default_rng(seed)
        sequences: list[np.ndarray] = []
        families: list[int] = []
        while len(sequences) < count:  # family and sequence are redrawn together: one exact cut
            wanted = draw_rows(np.tile(self.weights, (count, 1)), generator)
            drawn: list[np.ndarray | None] = [None] * count
            for family, model in enumerate(self.models):
                places = np.flatnonzero(wanted == family)
                made = model.sample(len(places), self.max_length, generator)
                for place, sequence in zip(places, made, strict=True):
                    drawn[place] = sequence
            kept = [i for i, sequence in enumerate(drawn) if sequence is not None]
            sequences += [drawn[i] for i in kept]
            families += wanted[kept].tolist()
        return Draws(sequences[:count], np.array(families[:count]))
