"""The mathematics of a scan: log-odds of every substitution, and the tolerance of each position.

A substitution's score is log p(mutant) - log p(wild type) in nats, its position masked and all else
as it stands (masked marginals [1]_): one row of a forward pass a position gives all 19 of it.

The tolerance of a position is 1 - p(wild type) there: the probability that the model, which does
not see the residue, would write another one. The number of residues that fit there, the
exponential of the entropy of the same law, asks nothing of the residue that stands there, and says
less of measured fitness (`docs/scan.md`).

.. [1] Meier et al. "Language models enable zero-shot prediction of the effects of mutations on
   protein function", NeurIPS 2021.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from didi_core.data.vocabulary import Vocabulary
from didi_core.evaluation.judge import BATCH_TOKENS
from didi_core.evaluation.pseudo import masked_log_probs
from didi_protein.sequences.residues import CANONICAL_RESIDUES

ALPHABETICAL = sorted(CANONICAL_RESIDUES)


@dataclass(frozen=True)
class Substitution:
    """One residue put in the place of another."""

    position: int
    """From 0."""
    wild_type: str
    mutant: str
    score: float
    """log p(mutant) - log p(wild type), nats."""
    rank: int
    """1 is the best of its scan."""

    def __str__(self) -> str:
        return f"{self.wild_type}{self.position + 1}{self.mutant}"


@dataclass(frozen=True)
class SequenceScan:
    """All substitutions of a sequence at some positions, scored."""

    wild_types: str
    """The residue that stands at each position scanned."""
    positions: tuple[int, ...]
    """From 0, in ascending order."""
    log_odds: NDArray[np.float64]
    """[positions, 20] nats, in the order of `CANONICAL_RESIDUES`; 0 of the wild type itself."""

    @cached_property
    def tolerance(self) -> NDArray[np.float64]:
        """[positions] 1 - p(wild type), 0 to 1."""
        # All p sum to 1, so the odds p / p(wild type) sum to 1 / p(wild type).
        return -np.expm1(-self.own_nats)

    @cached_property
    def own_nats(self) -> NDArray[np.float64]:
        """[positions] -log p(wild type)."""
        return np.logaddexp.reduce(self.log_odds, axis=1)

    @property
    def mean_nll(self) -> float:
        """-log p(wild type) over the positions, nats a residue."""
        return float(self.own_nats.mean())

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """[positions, 20] from 1, the best; equal scores in order of position; wild types <= 0."""
        scores = self.log_odds.copy()
        scores[range(len(self.positions)), _columns(self.wild_types)] = np.inf
        order = np.argsort(-scores, axis=None, kind="stable")
        ranks = np.empty(scores.size, dtype=np.int64)
        ranks[order] = np.arange(scores.size) - len(self.positions) + 1
        return ranks.reshape(scores.shape)

    def substitutions(self) -> Iterator[Substitution]:
        """Yield every substitution, by position and letter."""
        for row, (position, wild_type) in enumerate(
            zip(self.positions, self.wild_types, strict=True)
        ):
            scores, ranks = self.log_odds[row].tolist(), self.ranks[row].tolist()
            for mutant in ALPHABETICAL:
                if mutant != wild_type:
                    column = CANONICAL_RESIDUES.index(mutant)
                    yield Substitution(position, wild_type, mutant, scores[column], ranks[column])

    def best(self, number: int) -> list[Substitution]:
        """Return the substitutions of highest score, the highest first."""
        return sorted(self.substitutions(), key=lambda each: each.rank)[:number]

    def most_tolerant(self, number: int) -> tuple[int, ...]:
        """Return the positions of highest tolerance, the highest first; equal ones in order."""
        order = np.argsort(-self.tolerance, kind="stable")[:number]
        return tuple(self.positions[row] for row in order.tolist())

    def least_tolerant(self, number: int) -> tuple[int, ...]:
        """Return the positions of lowest tolerance, the lowest first; equal ones in order."""
        order = np.argsort(self.tolerance, kind="stable")[:number]
        return tuple(self.positions[row] for row in order.tolist())


def scan_sequences(
    denoiser: Any,
    vocabulary: Vocabulary,
    sequences: Sequence[str],
    positions: Sequence[tuple[int, ...]] | None = None,
    batch_tokens: int = BATCH_TOKENS,
    autocast: torch.dtype | None = None,
) -> list[SequenceScan]:
    """Score every substitution of sequences of canonical residues.

    Args:
        denoiser: a masked model that has `trunk` and `head` (see `didi_core.models.esm`).
        vocabulary: its own; it writes the 20 residues and nothing else.
        positions: those of each sequence, ascending, from 0; None for all.
        batch_tokens: bound on rows times padded width of one forward pass.
    """
    ranks = vocabulary.rank_of_id
    column_of = [int(ranks[vocabulary.id_of_token[letter]]) for letter in CANONICAL_RESIDUES]
    ids = [[vocabulary.id_of_token[letter] for letter in each] for each in sequences]
    if positions is None:
        positions = [tuple(range(len(each))) for each in sequences]
    found = masked_log_probs(denoiser, vocabulary, ids, positions, batch_tokens, autocast)
    return [
        scan_of(sequence, where, log_probs.numpy()[:, column_of])
        for sequence, where, log_probs in zip(sequences, positions, found, strict=True)
    ]


def scan_of(
    sequence: str, positions: tuple[int, ...], log_probs: NDArray[np.float64]
) -> SequenceScan:
    """Return the scan that follows from log-probabilities of the residues at masked positions.

    Args:
        log_probs: [positions, 20] nats, in the order of `CANONICAL_RESIDUES`.
    """
    wild_types = "".join(sequence[at] for at in positions)
    own = log_probs[range(len(positions)), _columns(wild_types)]
    return SequenceScan(wild_types, positions, log_probs - own[:, None])


def _columns(residues: str) -> list[int]:
    return [CANONICAL_RESIDUES.index(letter) for letter in residues]


END = 3
"""Positions from either end of a sequence at which tolerance says little: context is one-sided."""


def near_ends(length: int) -> frozenset[int]:
    """Return the positions, from 0, that lie within `END` of an end of so many residues.

    >>> sorted(near_ends(8)), sorted(near_ends(2))
    ([0, 1, 2, 5, 6, 7], [0, 1])
    """
    return frozenset([*range(length)][:END] + [*range(length)][-END:])


FEWEST_POSITIONS = 30
"""Below these it is chance whether a model guesses residues better than counting does."""


LEAST_GAIN = 0.1
"""Nats a residue by which a model that knows a protein beats counting, at least."""


def is_known(sequence: str, scan: SequenceScan) -> bool | None:
    """Return whether the model guesses the residues of a sequence better than counting them does.

    Better by chance, or hardly, is not better: the mean difference must be above its standard
    error and `LEAST_GAIN`. (The bundled teacher on members held out: 0.9 to 1.5 nats; on the whole
    of TEM-1, of whose family it knows the core alone: 0.03.)

    Args:
        scan: of the sequence; with fewer positions than `FEWEST_POSITIONS` the answer is None.
    """
    if len(scan.positions) < FEWEST_POSITIONS:
        return None
    gain = composition_nats(sequence, scan.positions) - scan.own_nats
    return bool(gain.mean() > max(LEAST_GAIN, gain.std(ddof=1) / math.sqrt(len(gain))))


def composition_nats(sequence: str, positions: Sequence[int]) -> NDArray[np.float64]:
    """Return the nats of each residue [positions], guessed by counting the others of its sequence.

    A residue of which the sequence has n among L is guessed with (n - 1 + 1) / (L - 1 + 20): it is
    left out of the count, and one more of each of the 20 is put in. A model that does no better
    knows nothing of the order of this protein.
    """
    count, room = Counter(sequence), len(sequence) + 19
    return np.array([-math.log(count[sequence[at]] / room) for at in positions])
