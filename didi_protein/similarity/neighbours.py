"""Nearest natural neighbours of designs, clusters of a set, and the shares that follow.

A *neighbour* of a sequence aligns with at least 70% of the sequence's own length, and its score is
significant whatever the size of the set it was found in (`similarity.mmseqs`); its identity is
that of the aligned part, gaps counting as differences. Scores are corrected for composition, so
that simple repeats have no neighbour merely for being repeats.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from didi_protein.similarity import mmseqs

NEIGHBOUR_IDENTITY = 0.40
"""Least identity of a natural neighbour: about where homology stops being a matter of opinion."""
COPY_IDENTITY = 0.95
"""Least identity to a training sequence of a design that counts as copied."""
CLUSTER_IDENTITIES = (NEIGHBOUR_IDENTITY, 0.50, COPY_IDENTITY)
"""Least identities of neighbours that share a cluster: ours, and those that papers print."""


@dataclass(frozen=True)
class Neighbour:
    """The reference most like a sequence."""

    index: int
    """Its place among the references."""
    identity: float
    """0 to 1, in steps of 0.001."""
    coverage: float
    """Share of the sequence's own length that is aligned, 0.7 to 1."""
    bits: float


def nearest_neighbours(
    sequences: Sequence[str],
    references: Sequence[str],
    threads: int | None = None,
    *,
    excluded: Sequence[frozenset[int]] | None = None,
    near_only: bool = False,
) -> list[Neighbour | None]:
    """Find the neighbour of highest identity of each sequence; None where there is none.

    Among equals the one of higher bit score is taken, then the first in the file. A reference that
    is the sequence itself is always found, however short or repetitive it is.

    Args:
        sequences: canonical residues, each at least one long.
        references: the same.
        threads: of MMseqs2; all available when None. The result does not depend on it.
        excluded: of each sequence, places of references that are not compared with it.
        near_only: where there are many references, look only among those with similar words: half
            the time, and distant relatives may be missed.

    Raises:
        UserError: MMseqs2 is missing or failed.
    """
    if not sequences or not references:
        return [None] * len(sequences)
    left_out = excluded or [frozenset()] * len(sequences)
    best: dict[int, Neighbour] = {}
    # So many more are aligned that none of the likeliest is lost to those left out.
    count = mmseqs.MOST_ALIGNED + max(map(len, left_out))
    flags = (*mmseqs.NEIGHBOUR_FLAGS, "--max-seqs", str(count))
    for prefilter in prefilters(sequences, references, near_only):
        hits = mmseqs.search(sequences, references, flags, threads, prefilter)
        _keep_best(best, (hit for hit in hits if hit[1] not in left_out[hit[0]]))
    places_of: dict[str, list[int]] = {}
    for place, reference in enumerate(references):
        places_of.setdefault(reference, []).append(place)
    for index, sequence in enumerate(sequences):
        equal = (each for each in places_of.get(sequence, ()) if each not in left_out[index])
        if (twin := next(equal, None)) is not None:
            best[index] = Neighbour(twin, 1.0, 1.0, best[index].bits if index in best else 0.0)
    return [best.get(index) for index in range(len(sequences))]


def prefilters(
    sequences: Sequence[str], references: Sequence[str], near_only: bool = False
) -> list[tuple[str, ...]]:
    """Choose how candidates are found; see `mmseqs.EXHAUSTIVE_FLAGS`."""
    usual = mmseqs.prefilter_flags(sequences, references)
    if len(references) <= mmseqs.MOST_ALIGNED or usual == mmseqs.FAST_FLAGS:
        return [usual]
    return [mmseqs.FAST_FLAGS] if near_only else [usual, mmseqs.FAST_FLAGS]


def near_relatives(
    sequences: Sequence[str],
    references: Sequence[str],
    identity: float,
    threads: int | None = None,
) -> list[frozenset[int]]:
    """Return of each sequence the places of all references of at least this identity.

    References that are the sequence itself are among them.
    """
    found: list[set[int]] = [
        {place for place, reference in enumerate(references) if reference == sequence}
        for sequence in sequences
    ]
    if sequences and references:
        flags = (*mmseqs.NEIGHBOUR_FLAGS, "--max-seqs", str(len(references)))
        every = mmseqs.all_pairs_flags(sequences, references)
        for query, place, share, *_ in mmseqs.search(sequences, references, flags, threads, every):
            if share >= identity:
                found[query].add(place)
    return [frozenset(each) for each in found]


def _keep_best(
    best: dict[int, Neighbour], hits: Iterable[tuple[int, int, float, float, float]]
) -> None:
    """Add the best hit of each query to those found before."""
    for query, reference, identity, coverage, bits in hits:
        hit = Neighbour(reference, identity, coverage, bits)
        if query not in best or _rank(hit) > _rank(best[query]):
            best[query] = hit


def _rank(hit: Neighbour) -> tuple[float, float, int]:
    return hit.identity, hit.bits, -hit.index


def has_neighbour(
    neighbours: Sequence[Neighbour | None], identity: float = NEIGHBOUR_IDENTITY
) -> list[bool]:
    """Tell which sequences have a neighbour of at least this identity."""
    return [each is not None and each.identity >= identity for each in neighbours]


def cluster_numbers(sequences: Sequence[str], threads: int | None = None) -> list[int]:
    """Return the cluster of each sequence at 40% identity; see `clusters_at`."""
    return clusters_at(sequences, (NEIGHBOUR_IDENTITY,), threads)[NEIGHBOUR_IDENTITY]


def clusters_at(
    sequences: Sequence[str],
    identities: Sequence[float] = CLUSTER_IDENTITIES,
    threads: int | None = None,
) -> dict[float, list[int]]:
    """Return the cluster of each sequence, numbered from 1 in order of first appearance.

    Greedy set cover, as MMseqs2's: the sequence with most neighbours not yet in a cluster founds
    the next one with all of them. Neighbours here have at least so much identity over at least 70%
    of both lengths. Equal sequences always share a cluster.

    Args:
        identities: at least 0.4 each; the sequences are aligned once for all of them.

    Returns:
        The clusters at each identity.
    """
    distinct = list(dict.fromkeys(sequences))
    near = _neighbourhoods(distinct, identities, threads)
    return {each: _numbered(sequences, distinct, near[each]) for each in identities}


def _numbered(
    sequences: Sequence[str], distinct: Sequence[str], neighbourhoods: Sequence[set[int]]
) -> list[int]:
    founder_of = dict(zip(distinct, _set_cover(neighbourhoods), strict=True))
    number_of: dict[int, int] = {}
    return [number_of.setdefault(founder_of[each], len(number_of) + 1) for each in sequences]


def _neighbourhoods(
    sequences: Sequence[str], identities: Sequence[float], threads: int | None
) -> dict[float, list[set[int]]]:
    """Return the neighbours' indices of each sequence, itself among them; made symmetric."""
    found = {each: [{index} for index in range(len(sequences))] for each in identities}
    if len(sequences) > 1:
        flags = (*mmseqs.CLUSTER_FLAGS, "--max-seqs", str(max(1_000, len(sequences))))
        every = mmseqs.all_pairs_flags(sequences, sequences)
        for first, second, share, *_ in mmseqs.search(sequences, sequences, flags, threads, every):
            for identity in identities:
                if share >= identity:
                    found[identity][first].add(second)
                    found[identity][second].add(first)
    return found


def _set_cover(neighbourhoods: Sequence[set[int]]) -> list[int]:
    """Choose the founder of each sequence's cluster; ties go to the sequence that comes first."""
    founder = [-1] * len(neighbourhoods)
    queue = [(-len(members), index) for index, members in enumerate(neighbourhoods)]
    heapq.heapify(queue)
    while queue:
        negative_size, index = heapq.heappop(queue)
        if founder[index] >= 0:
            continue
        free = [member for member in neighbourhoods[index] if founder[member] < 0]
        if len(free) < -negative_size:  # some were taken since: look again in its new place
            heapq.heappush(queue, (-len(free), index))
            continue
        for member in free:
            founder[member] = index
    return founder
