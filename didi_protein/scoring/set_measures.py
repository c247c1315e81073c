"""The numbers that describe a set of proteins, always printed together (see docs/outputs.md).

measures = measure_set(designs, judge=judge, reference=held_out, training=training)
measures.figures["precision"]      # {"mean": 0.71, "low": 0.67, "high": 0.75}
bootstrap_difference(measures.judge_nll, other.judge_nll)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from didi_core.evaluation.bootstrap import Interval, bootstrap_mean
from didi_core.evaluation.entropy import pooled_kmer_entropy
from didi_core.evaluation.judge import BATCH_TOKENS
from didi_protein.models.judges import Judge
from didi_protein.scoring.properties import low_complexity_fraction, repeat_fraction
from didi_protein.sequences.alphabet import CANONICAL_RESIDUES
from didi_protein.similarity import mmseqs
from didi_protein.similarity.neighbours import (
    COPY_IDENTITY,
    Neighbour,
    cluster_numbers,
    has_neighbour,
    nearest_neighbours,
)

KMER = 3


@dataclass(frozen=True)
class SetMeasures:
    """Figures of a set, and the values they are means of."""

    figures: dict[str, Any]
    """As under "set" in `NAME.summary.json`; None where not computed."""
    judge_nll: NDArray[np.float64] | None = None
    """Nats per residue of each sequence."""
    copied: NDArray[np.bool_] | None = None
    """Whether each sequence copies a training sequence."""


def measure_set(
    sequences: Sequence[str],
    *,
    judge: Judge | None = None,
    reference: Sequence[str] | None = None,
    held_out: Sequence[str] | None = None,
    training: Sequence[str] | None = None,
    num_calls: Sequence[float] | None = None,
    judge_nll: Sequence[float] | None = None,
    neighbours: Sequence[Neighbour | None] | None = None,
    clusters: Sequence[int] | None = None,
    seed: int = 0,
    threads: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
    find_clusters: bool = True,
) -> SetMeasures:
    """Measure a set of canonical sequences.

    Args:
        judge: scores each sequence, unless `judge_nll` is given.
        reference: natural sequences in which precision looks for neighbours.
        held_out: natural sequences that recall asks for; those of `reference` when None.
        training: sequences that copies are copies of.
        num_calls: network calls that each sequence took.
        judge_nll: nats per residue of each sequence, where already known.
        neighbours: the nearest reference of each sequence, where already known.
        clusters: cluster number of each sequence, where already known.
        seed: of the bootstrap.
        threads: of MMseqs2; all available when None.
        find_clusters: count clusters where `clusters` is not given and MMseqs2 is installed.
    """
    if not sequences:
        return SetMeasures(_figures([], {}, None, None, None))
    nll = _judge_nll(sequences, judge, judge_nll, batch_tokens)
    if neighbours is None and reference is not None:
        neighbours = nearest_neighbours(sequences, reference, threads)
    asked_for = reference if held_out is None else held_out
    shares = {
        "precision": None if neighbours is None else _flags(has_neighbour(neighbours)),
        "recall": None if asked_for is None else _near(asked_for, sequences, threads),
        "copies": None if training is None else _near(sequences, training, threads, COPY_IDENTITY),
    }
    intervals = {
        "judge_nll": None if nll is None else bootstrap_mean(nll, seed),
        **{
            name: None if flags is None else bootstrap_mean(flags, seed)
            for name, flags in shares.items()
        },
        "pooled_3mer_entropy": _kmer_entropy(sequences, seed),
    }
    if clusters is None and find_clusters and mmseqs.is_available():
        clusters = cluster_numbers(sequences, threads)
    figures = _figures(sequences, intervals, asked_for, clusters, num_calls)
    return SetMeasures(figures, nll, shares["copies"])


def _judge_nll(
    sequences: Sequence[str],
    judge: Judge | None,
    known: Sequence[float] | None,
    batch_tokens: int,
) -> NDArray[np.float64] | None:
    if known is not None:
        return np.asarray(known, dtype=np.float64)
    return None if judge is None else judge.nll(sequences, batch_tokens)


def _near(
    sequences: Sequence[str],
    references: Sequence[str],
    threads: int | None,
    identity: float | None = None,
) -> NDArray[np.bool_]:
    found = nearest_neighbours(sequences, references, threads)
    return _flags(has_neighbour(found) if identity is None else has_neighbour(found, identity))


def _flags(values: Sequence[bool]) -> NDArray[np.bool_]:
    return np.array(values, dtype=bool)


def _kmer_entropy(sequences: Sequence[str], seed: int) -> Interval | None:
    if max(map(len, sequences)) < KMER:
        return None
    rank = {residue: index for index, residue in enumerate(CANONICAL_RESIDUES)}
    ids = [[rank[residue] for residue in sequence] for sequence in sequences]
    return pooled_kmer_entropy(ids, KMER, len(rank), seed)


def _figures(
    sequences: Sequence[str],
    intervals: dict[str, Interval | None],
    asked_for: Sequence[str] | None,
    clusters: Sequence[int] | None,
    num_calls: Sequence[float] | None,
) -> dict[str, Any]:
    """All figures under their names in `summary.json`, in reading order."""
    nll = intervals.get("judge_nll")
    figures: dict[str, Any] = {
        "n": len(sequences),
        "judge_nll": _plain(nll),
        "judge_perplexity": _plain(nll and nll.exp()),
        **{
            name: _plain(intervals.get(name))
            for name in ("precision", "recall", "copies", "pooled_3mer_entropy")
        },
        "distinct_fraction": len(set(sequences)) / len(sequences) if sequences else None,
        "num_clusters": None if clusters is None else len(set(clusters)),
        "mean_repeat_fraction": _mean([repeat_fraction(each) for each in sequences]),
        "mean_low_complexity_fraction": _mean(
            [low_complexity_fraction(each) for each in sequences]
        ),
        "mean_nfe": _mean(num_calls or []),
        "mean_length": _mean([len(each) for each in sequences]),
        "residue_composition": residue_composition(sequences),
    }
    if figures["recall"] is not None:
        figures["recall"]["n"] = len(asked_for or ())  # it rests on these, not on the designs
    return figures


def _plain(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval.as_dict()


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def residue_composition(sequences: Sequence[str]) -> dict[str, float]:
    """Share of each of the 20 residues among all residues of a set, in alphabetical order."""
    counts = Counter[str]()
    for sequence in sequences:
        counts.update(sequence)
    total = counts.total()
    return {residue: counts[residue] / total for residue in sorted(CANONICAL_RESIDUES) if total}


def shuffle_residues(sequences: Sequence[str], seed: int = 0) -> list[str]:
    """Each sequence with its own residues in random order: composition without any protein."""
    generator = np.random.default_rng(seed)
    return ["".join(generator.permutation(list(sequence))) for sequence in sequences]


def measure_reference_rows(
    judge: Judge,
    held_out: Sequence[str] | None,
    training: Sequence[str] | None = None,
    *,
    max_sequences: int = 1_024,
    seed: int = 0,
    threads: int | None = None,
) -> dict[str, dict[str, Any]]:
    """What the judge finds of natural and of shuffled sequences: the scale for every design.

    Write the result as `reference_rows.json` into the judge's folder, and `score` takes it from
    there. Sequences longer than the judge reads are left out; larger sets are sampled.

    Returns:
        Figures as of a set, under natural_held_out, natural_training and residue_shuffled (the
        held-out ones with their residues shuffled); rows of sets not given are absent.
    """
    rows = {}
    for name, source in (("natural_held_out", held_out), ("natural_training", training)):
        if source:
            rows[name] = _sample(source, judge, max_sequences, seed)
    if "natural_held_out" in rows:
        rows["residue_shuffled"] = shuffle_residues(rows["natural_held_out"], seed)
    return {
        name: measure_set(sequences, judge=judge, seed=seed, threads=threads).figures
        for name, sequences in rows.items()
        if sequences
    }


def _sample(sequences: Sequence[str], judge: Judge, count: int, seed: int) -> list[str]:
    limit = judge.max_length
    fitting = [each for each in sequences if limit is None or len(each) <= limit]
    if len(fitting) <= count:
        return fitting
    chosen = np.random.default_rng(seed).choice(len(fitting), size=count, replace=False)
    return [fitting[index] for index in sorted(chosen)]


# Means of the confidence columns over a set, with their intervals.

CONFIDENCE_FIGURES = {
    "mean_plddt": "mean_plddt",
    "ptm": "ptm",
    "mean_pae": "mean_pae",
    "foldable_fraction": "foldable",
    "max_reference_tm": "max_reference_tm",
}
"""Figures that are means of a column, and the column."""


def confidence_figures(table: pd.DataFrame, seed: int = 0) -> dict[str, Any]:
    """Means over the rows that are ok and have a value, `n` being their number; else None."""
    scored = table[table["status"] == "ok"]
    figures: dict[str, Any] = {}
    for name, column in CONFIDENCE_FIGURES.items():
        values = scored[column].dropna().astype(float).to_numpy()
        known = bootstrap_mean(values, seed).as_dict() | {"n": len(values)} if len(values) else None
        figures[name] = known
    return figures
