"""Contacts inferred from a set of aligned sequences alone, against known distances.

Couplings by the mean-field inversion of the residue covariances [1]_, scored by the Frobenius norm
of each pair's block in zero-sum gauge with the average-product correction [2]_.

.. [1] Morcos et al. "Direct-coupling analysis of residue coevolution captures native contacts
   across many protein families", PNAS 108, 2011.
.. [2] Ekeberg et al. "Improved contact prediction in proteins: using pseudolikelihoods to infer
   Potts models", Physical Review E 87, 2013.
"""

import csv
import math
import os
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from didi_core.errors import UserError
from didi_core.io.text_files import damage_explained, open_text
from didi_protein.families.covariances import (
    NUM_RESIDUES,
    Rows,
    moment_strips,
    resampled_frequencies,
)

CONTACT_DISTANCE = 8.0
"""Angstrom; closer columns are in contact."""
MIN_SEPARATION = 5
"""Columns; nearer ones along the chain are in contact whatever the family."""
PSEUDOCOUNT = 0.5
"""Share of the uniform law over the 20 residues and the gap in the frequencies."""
MAX_COLUMNS = 500
"""Above this the matrix of couplings and its inverse would take more than 2 GB."""
_HEADER = ("column_i", "column_j", "distance_angstrom")


@dataclass(frozen=True)
class ContactMap:
    """Distances of the pairs of match columns."""

    distances: Float[ndarray, "columns columns"]
    """Angstrom, symmetric; NaN where not known."""

    @property
    def num_columns(self) -> int:
        return len(self.distances)

    def pairs(self) -> tuple[ndarray, ndarray]:
        """Return the columns i and j (from 0) of pairs that count: j - i > 4, distance known."""
        first, second = np.triu_indices(self.num_columns, MIN_SEPARATION)
        known = ~np.isnan(self.distances[first, second])
        return first[known], second[known]

    def in_contact(self) -> ndarray:
        """Return whether each pair of `pairs` is in contact."""
        return self.distances[self.pairs()] < CONTACT_DISTANCE

    @classmethod
    def read(
        cls, path: str | os.PathLike[str], num_columns: int, name: str = "--contacts"
    ) -> "ContactMap":
        """Read a table with tabs: column_i, column_j (from 1) and distance_angstrom.

        Args:
            num_columns: match columns of the family.
            name: how messages call the file: the flag it came from.

        Raises:
            UserError: the file is no such table, or numbers other columns than the family's.
        """
        distances = np.full((num_columns, num_columns), np.nan)
        last = 0
        for line, first, second, distance in _read_pairs(path, name):
            last = max(last, first, second)
            if last > num_columns:
                raise UserError(
                    f"{name} {path}, line {line}: column {last}, but the alignment given as "
                    f"--family has {num_columns} match columns: the two must be of one family."
                )
            known = distances[first - 1, second - 1]
            distance = distance if math.isnan(known) else min(known, distance)
            distances[first - 1, second - 1] = distances[second - 1, first - 1] = distance
        if 2 * last < num_columns:
            raise UserError(
                f"{name} {path} ends at column {last}, but the alignment given as --family has "
                f"{num_columns} match columns: the two must be of one family."
            )
        return cls(distances)


def _read_pairs(path: str | os.PathLike[str], name: str) -> list[tuple[int, int, int, float]]:
    """Read line number, columns and distance of every row."""
    pairs = []
    with open_text(path, name) as stream, damage_explained(f"{name} {path}"):
        try:
            table = csv.reader(stream, delimiter="\t")
            header = [each.strip() for each in next(table, [])]
            missing = [each for each in _HEADER if each not in header]
            if missing:
                raise UserError(
                    f"{name} {path} has no column {missing[0]}: its first line names "
                    f"{', '.join(_HEADER)}, with tabs between them."
                )
            places = [header.index(each) for each in _HEADER]
            for row in table:
                if row:
                    pairs.append((table.line_num, *_pair(row, places, table.line_num, path, name)))
        except csv.Error as error:
            raise UserError(f"{name} {path} is no table with tabs ({error}).") from error
    if not pairs:
        raise UserError(f"{name} {path} holds no pair of columns.")
    return pairs


def _pair(
    row: list[str], places: list[int], line: int, path: str | os.PathLike[str], name: str
) -> tuple[int, int, float]:
    try:
        words = [row[place] for place in places]
        first, second, distance = int(words[0]), int(words[1]), float(words[2])
        if min(first, second) < 1 or first == second or not 0 <= distance < math.inf:
            raise ValueError
    except (ValueError, IndexError) as error:
        shown = " ".join(row)[:60]
        raise UserError(
            f"{name} {path}, line {line}: {shown!r} is no pair of two different columns, counted "
            "from 1, with a distance in angstrom."
        ) from error
    return first, second, distance


def coupling_scores(
    rows: Rows, weights: Float[ndarray, "sequences"] | None = None
) -> Float[ndarray, "columns columns"]:
    """Score how strongly each pair of columns is coupled in a set.

    Args:
        weights: how often each sequence counts; once when None.

    Returns:
        Frobenius norms after the average-product correction, symmetric, zero on the diagonal.
    """
    import torch

    mixed = torch.from_numpy(_mixed_covariances(rows, weights))
    # The pseudocount makes the matrix positive definite; by Cholesky its inverse takes a quarter of
    # the time of a general one. Couplings are -C^-1, and norms do not see the sign.
    norms = _block_norms(torch.cholesky_inverse(torch.linalg.cholesky(mixed)).numpy())
    np.fill_diagonal(norms, 0)
    num_columns = len(norms)
    if num_columns < 2:
        return norms
    # Average-product correction: score_ij - mean_i mean_j / mean, over the other columns.
    means = norms.sum(axis=1) / (num_columns - 1)
    overall = means.mean()
    corrected = norms - (np.outer(means, means) / overall if overall > 0 else 0)
    np.fill_diagonal(corrected, 0)
    return corrected


def _mixed_covariances(
    rows: Rows, weights: Float[ndarray, "sequences"] | None
) -> Float[ndarray, "states states"]:
    """Return C of frequencies mixed in half with uniform ones, in float32, for all columns."""
    num_columns, letters = rows.shape[1], NUM_RESIDUES + 1
    num_states = num_columns * NUM_RESIDUES
    counted = np.ones(len(rows), dtype=np.float32) if weights is None else weights
    plain = resampled_frequencies(rows, counted[None])[0]
    sites = ((1 - PSEUDOCOUNT) * plain + PSEUDOCOUNT / letters).astype(np.float32)
    mixed = np.empty((num_states, num_states), dtype=np.float32)
    for start, moments in moment_strips(rows, weights):
        size = len(moments)
        strip = (1 - PSEUDOCOUNT) * moments + np.float32(PSEUDOCOUNT / letters**2)
        strip -= np.outer(sites[start : start + size], sites[start:])
        mixed[start : start + size, start:] = strip
        mixed[start:, start : start + size] = strip.T
    for column in range(num_columns):
        # Within a column two residues exclude each other: f_ii(a, b) = f_i(a) if a = b, else 0.
        block = slice(column * NUM_RESIDUES, (column + 1) * NUM_RESIDUES)
        mixed[block, block] = np.diag(sites[block]) - np.outer(sites[block], sites[block])
    return mixed


def _block_norms(couplings: Float[ndarray, "states states"]) -> Float[ndarray, "columns columns"]:
    """Return the Frobenius norm of every 20 x 20 block in zero-sum gauge, in float64."""
    num_columns = len(couplings) // NUM_RESIDUES
    norms = np.empty((num_columns, num_columns))
    for column in range(num_columns):
        strip = couplings[column * NUM_RESIDUES : (column + 1) * NUM_RESIDUES]
        blocks = strip.reshape(NUM_RESIDUES, num_columns, NUM_RESIDUES).transpose(1, 0, 2)
        # Zero-sum gauge: J(a, b) - J(., b) - J(a, .) + J(., .), so that no field hides in it.
        blocks = blocks - blocks.mean(axis=1, keepdims=True)
        blocks = blocks - blocks.mean(axis=2, keepdims=True)
        norms[column] = np.sqrt((blocks.astype(np.float64) ** 2).sum(axis=(1, 2)))
    return (norms + norms.T) / 2


def contact_precision(
    scores: Float[ndarray, "columns columns"], contacts: ContactMap, top: int | None = None
) -> float:
    """Return the share of contacts among the `top` best pairs that count (L when None).

    NaN where no pair counts.
    """
    best = strongest_pairs(scores, contacts, top)
    return float(contacts.in_contact()[best].mean()) if len(best) else math.nan


def strongest_pairs(
    scores: Float[ndarray, "columns columns"], contacts: ContactMap, top: int | None = None
) -> Int[ndarray, "pairs"]:
    """Return the places, in `contacts.pairs()`, of the `top` best pairs (L when None), best first.

    Of equal scores the first pair is taken.
    """
    first, second = contacts.pairs()
    best = np.argsort(-scores[first, second], kind="stable")
    return best[: top or contacts.num_columns]
