"""Identity of aligned sequences: identical residues over columns in which either has a residue.

Gaps count as differences, insertions are dropped. Computed for all pairs by counting, exactly.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from didi_protein.families.covariances import NUM_RESIDUES, Rows, one_hot

_AT_ONCE = 1_024  # rows of either side: 8 MB of identities, 80 kB of one-hot a column


def nearest_identities(
    rows: Rows, references: UInt8[ndarray, "references columns"]
) -> Float[ndarray, "sequences"]:
    """Return the identity of each row to the reference most like it, 0 to 1."""
    nearest = np.zeros(len(rows))
    for start, hot, filled in _blocks(rows):
        for _, other, other_filled in _blocks(references):
            identities = _identities(hot, filled, other, other_filled).max(axis=1)
            part = nearest[start : start + len(hot)]
            np.maximum(part, identities, out=part)
    return nearest


def mean_identities(rows: Rows) -> Float[ndarray, "sequences"]:
    """Return the mean identity of each row to all others; the set's is their mean.

    Raises:
        ValueError: there is one row or none.
    """
    if len(rows) < 2:
        raise ValueError(f"pairs need two sequences, got {len(rows)}")
    totals = np.zeros(len(rows))
    for start, hot, filled in _blocks(rows):
        for other_start, other, other_filled in _blocks(rows):
            identities = _identities(hot, filled, other, other_filled)
            if start == other_start:
                np.fill_diagonal(identities, 0)  # not with itself
            totals[start : start + len(hot)] += identities.sum(axis=1)
    return totals / (len(rows) - 1)


def _blocks(rows: Rows) -> Iterator[tuple[int, ndarray, ndarray]]:
    """Yield place, one-hot residues [block, states], filled columns [block, columns] of blocks."""
    for start in range(0, len(rows), _AT_ONCE):
        block = rows[start : start + _AT_ONCE]
        yield start, one_hot(block), (block < NUM_RESIDUES).astype(np.float32)


def _identities(hot: ndarray, filled: ndarray, other: ndarray, other_filled: ndarray) -> ndarray:
    """Return identities [block, other block] in float64, where 19 of 20 is 0.95; exact counts."""
    both = filled @ other_filled.T
    either = filled.sum(axis=1)[:, None] + other_filled.sum(axis=1)[None] - both
    return (hot @ other.T).astype(np.float64) / np.maximum(either, 1)
