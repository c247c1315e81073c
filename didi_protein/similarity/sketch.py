"""Sketches of training sequences: how near a design comes to one, without the sequences.

    sketch = Sketch.of(training)
    sketch.nearest(Sketch.of(designs))      # identity to the nearest, and which it is

A sequence is the set of its words of three residues. Of two sets the smallest of a random hash is
the same with a probability of their Jaccard index J, the share of common words among all [1]_; of
each of 512 such minima one bit is kept, 64 bytes a sequence, and bits of unlike minima agree half
of the time [2]_: J = 2 (share of equal bits) - 1, within sqrt((1 - J^2) / 512). Common words over
those of the smaller set are the share of words without a difference, and its third root that of
residues [3]_. `benchmarks/training_sketch.py` measures how good the estimate is.

.. [1] Broder. "On the resemblance and containment of documents", SEQUENCES 1997.
.. [2] Li, Koenig. "b-Bit minwise hashing", WWW 2010.
.. [3] Ondov et al. "Mash: fast genome and metagenome distance estimation using MinHash", Genome
   Biology 17, 2016.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from didi_core.errors import UserError
from didi_core.io.files import atomic_path
from didi_protein.sequences.residues import CANONICAL_RESIDUES

WORD = 3
"""Residues of a word, which the format stands for: measured against 2 and 4."""
NUM_HASHES = 512
"""Minima of a sequence, of each of which one bit is kept: measured against 128 to 2,048."""
FORMAT = "didi training sketch 1"
"""Raised when words, hashes or the file change: other sketches are then not read."""
LEAST_COVERAGE = 0.7
"""Share of a design's words that a nearest sequence has at least: as alignments are asked for."""

_QUERIES, _REFERENCES = 1_024, 8_192
"""Rows and columns of a block of pairs."""


@dataclass(frozen=True)
class Sketch:
    """Signatures of sequences."""

    bits: NDArray[np.uint8]
    """One bit of each minimum, packed [sequences, NUM_HASHES / 8]."""
    num_words: NDArray[np.int32]
    """Different words of each sequence [sequences]; 0 where it has fewer residues than a word."""

    @classmethod
    def of(cls, sequences: Sequence[str]) -> "Sketch":
        """Return the signatures of canonical sequences, in their order."""
        minima, num_words = minimum_hashes(sequences, WORD, NUM_HASHES)
        return cls(np.packbits((minima & 1).astype(np.uint8), axis=1), num_words)

    def __len__(self) -> int:
        return len(self.num_words)

    @property
    def num_bytes(self) -> int:
        """Return the size in memory, which is about that of the file."""
        return self.bits.nbytes + self.num_words.nbytes

    def only(self, chosen: NDArray[Any]) -> "Sketch":
        """Return the signatures at some places, or those of a mask."""
        return Sketch(self.bits[chosen], self.num_words[chosen])

    def joined(self, *others: "Sketch") -> "Sketch":
        """Return the signatures of all, each that is there more than once only once, sorted."""
        bits = np.concatenate([self.bits, *(other.bits for other in others)])
        words = np.concatenate([self.num_words, *(other.num_words for other in others)])
        rows = np.column_stack([bits, words[:, None].view(np.uint8)])
        _, first = np.unique(rows, axis=0, return_index=True)
        return Sketch(bits[first], words[first])

    def nearest(
        self, queries: "Sketch", left_out: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Estimate the identity of each query to the nearest sequence of this sketch.

        Args:
            left_out: a place of this sketch for each query, with which it is not compared.

        Returns:
            Identity [queries], 0 to 1, 0 where nothing is alike; and the place of the nearest
            [queries], the first of equals.
        """
        best = np.zeros(len(queries))
        place = np.zeros(len(queries), dtype=np.int64)
        for rows, columns, identity in self._blocks(queries):
            if left_out is not None:
                apart = left_out[rows] - columns.start
                inside = np.flatnonzero((apart >= 0) & (apart < identity.shape[1]))
                identity[inside, apart[inside]] = 0
            here = identity.argmax(axis=1)
            found = identity[np.arange(len(here)), here]
            better = found > best[rows]
            best[rows] = np.where(better, found, best[rows])
            place[rows] = np.where(better, columns.start + here, place[rows])
        return best, place

    def identities(self, query: "Sketch") -> NDArray[np.float64]:
        """Estimate the identity of one query to each sequence of this sketch."""
        parts = [identity[0] for _, _, identity in self._blocks(query)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _blocks(self, queries: "Sketch") -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
        """Yield identities [queries, references] block by block, by places of the queries first."""
        for row in range(0, len(queries), _QUERIES):
            rows = slice(row, min(row + _QUERIES, len(queries)))
            asked, words = _signs(queries.bits[rows]), queries.num_words[rows]
            for column in range(0, len(self), _REFERENCES):
                columns = slice(column, min(column + _REFERENCES, len(self)))
                # Equal bits less unequal ones, of all: 2 (share of equal bits) - 1.
                jaccard = asked @ _signs(self.bits[columns]).T / np.float32(NUM_HASHES)
                yield rows, columns, identity_of(jaccard, words, self.num_words[columns], WORD)

    def save(self, path: Path) -> None:
        """Write the sketch, whole or not at all: safetensors, with its format in the metadata."""
        tensors: dict[str, NDArray[Any]] = {"bits": self.bits, "num_words": self.num_words}
        metadata = {"format": FORMAT}  # of several keys the order would be left to chance
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Sketch":
        """Read what `save` wrote.

        Raises:
            UserError: no sketch, a damaged one, or one of another version.
        """
        try:
            with safe_open(path, framework="numpy") as stored:
                if (stored.metadata() or {}).get("format") != FORMAT:
                    raise UserError(f"{path} is no sketch that this version reads ({FORMAT}).")
                sketch = cls(stored.get_tensor("bits"), stored.get_tensor("num_words"))
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} cannot be read as a sketch: {error}.") from error
        wanted = (len(sketch), NUM_HASHES // 8)
        if sketch.bits.shape != wanted or sketch.bits.dtype != np.uint8:
            raise UserError(f"{path} is damaged: its signatures are not {wanted} bytes.")
        return sketch


def minimum_hashes(
    sequences: Sequence[str], word: int, num_hashes: int
) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Return the least hash of each sequence's words under each of many hash functions.

    Args:
        sequences: of canonical residues.
        word: residues of a word.

    Returns:
        Minima [sequences, hashes], the largest number where there is no word; and the number of
        different words [sequences].
    """
    table = _hash_table(word, num_hashes)
    minima = np.full((len(sequences), num_hashes), np.iinfo(table.dtype).max, dtype=table.dtype)
    num_words = np.zeros(len(sequences), dtype=np.int32)
    for place, sequence in enumerate(sequences):
        words = _words_of(sequence, word)
        if len(words):
            table[words].min(axis=0, out=minima[place])
            num_words[place] = len(words)
    return minima, num_words


def identity_of(
    jaccard: NDArray[np.float32],
    query_words: NDArray[np.int32],
    reference_words: NDArray[np.int32],
    word: int,
) -> NDArray[np.float32]:
    """Estimate identities [queries, references] from Jaccard indices and numbers of words.

    Of J = |A and B| / |A or B| follows |A and B| = (|A| + |B|) J / (1 + J). It is held against the
    smaller set, so that a copy with its ends cut off, or with a tag, is one; but against half of
    the larger where that is more, as the error of J would make copies of short parts by chance.
    """
    queries = query_words[:, None].astype(np.float32)
    references = reference_words[None, :].astype(np.float32)
    jaccard = np.clip(jaccard, 0, 1)
    common = (queries + references) * (jaccard / (1 + jaccard))
    smaller, larger = np.minimum(queries, references), np.maximum(queries, references)
    share = np.minimum(common / np.maximum(smaller, np.maximum(larger, 1) / 2), 1)
    nothing = (smaller == 0) | (references < LEAST_COVERAGE * queries)
    return np.where(nothing, np.float32(0), share ** np.float32(1 / word))


_RANKS = np.zeros(256, dtype=np.int64)
_RANKS[list(CANONICAL_RESIDUES.encode("ascii"))] = range(len(CANONICAL_RESIDUES))


def _words_of(sequence: str, word: int) -> NDArray[np.int64]:
    """Return the codes of a sequence's different words."""
    ranks = _RANKS[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]
    if len(ranks) < word:
        return np.empty(0, dtype=np.int64)
    base = len(CANONICAL_RESIDUES) ** np.arange(word)
    return np.unique(np.lib.stride_tricks.sliding_window_view(ranks, word) @ base)


@lru_cache(maxsize=1)
def _hash_table(word: int, num_hashes: int) -> NDArray[np.uint32]:
    """Return the hashes of every word [codes, hashes]: SplitMix64 of code and function [1]_.

    .. [1] Steele, Lea, Flood. "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    codes = np.arange(len(CANONICAL_RESIDUES) ** word, dtype=np.uint64) << np.uint64(32)
    table = np.empty((len(codes), num_hashes), dtype=np.uint32)
    for function in range(num_hashes):
        mixed = (codes + np.uint64(function + 1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        table[:, function] = (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32)
    return table


def _signs(bits: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return packed bits as +1 and -1 [sequences, hashes]."""
    return np.unpackbits(bits, axis=1).astype(np.float32) * 2 - 1
