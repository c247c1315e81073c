"""The numbers that describe a set of proteins, always printed together (see docs/outputs.md).

measures = measure_set(designs, judge=judge, reference=held_out, training=training)
measures.figures["precision"]      # {"mean": 0.71, "low": 0.67, "high": 0.75}
bootstrap_difference(measures.judge_nll, other.judge_nll)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from didi_core.evaluation.bootstrap import ENOUGH_RECORDS, Interval, bootstrap_mean
from didi_core.evaluation.entropy import pooled_kmer_entropy
from didi_core.evaluation.judge import BATCH_TOKENS
from didi_protein.models.judges import Judge
from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.length_bins import BY_LENGTH, bins_as_json, figures_by_length
from didi_protein.scoring.own_shuffles import judge_shuffles, shuffle_of
from didi_protein.scoring.properties import (
    low_complexity_fraction,
    repeat_fraction,
    repeated_word_share,
    residue_composition,
)
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.similarity import mmseqs
from didi_protein.similarity.neighbours import (
    CLUSTER_IDENTITIES,
    COPY_IDENTITY,
    NEIGHBOUR_IDENTITY,
    Neighbour,
    clusters_at,
    has_neighbour,
    nearest_neighbours,
)

KMER = 3
FEWEST_REFERENCES = ENOUGH_RECORDS
"""Natural sequences below which `score` gives no precision and no recall."""
REPEATED_WORDS = (2, 5)
"""Lengths n of the words of Rep-n."""
CLUSTER_FIGURES = ("num_clusters", "num_clusters_50", "num_clusters_95")
"""Names of the numbers of clusters at `CLUSTER_IDENTITIES`."""


@dataclass(frozen=True)
class SetMeasures:
    """Figures of a set, and the values they are means of."""

    figures: dict[str, Any]
    """As under "set" in `NAME.summary.json`; None where not computed."""
    judge_nll: NDArray[np.float64] | None = None
    """Nats per residue of each sequence."""
    copied: NDArray[np.bool_] | None = None
    """Whether each sequence for which that is known copies a training sequence."""


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
    training_identity: Sequence[float] | None = None,
    clusters: Mapping[float, Sequence[int]] | None = None,
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
        training_identity: to the nearest training sequence, of each sequence where it is known:
            copies are counted among these, in place of `training`.
        clusters: cluster number of each sequence at each of `CLUSTER_IDENTITIES`, where already
            known.
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
    copied = _copies(sequences, training, training_identity, threads)
    shares = {
        "precision": None if neighbours is None else _flags(has_neighbour(neighbours)),
        "recall": None if asked_for is None else _near(asked_for, sequences, threads),
        "copies": copied,
    }
    intervals = {
        "judge_nll": None if nll is None else bootstrap_mean(nll, seed),
        **{
            name: None if flags is None else bootstrap_mean(flags, seed)
            for name, flags in shares.items()
        },
        "pooled_3mer_entropy": _kmer_entropy(sequences, seed),
        **{
            f"rep_{n}": bootstrap_mean([repeated_word_share(each, n) for each in sequences], seed)
            for n in REPEATED_WORDS
        },
    }
    if clusters is None and find_clusters and mmseqs.is_available():
        clusters = clusters_at(sequences, threads=threads)
    figures = _figures(sequences, intervals, asked_for, clusters, num_calls)
    if copied is not None and len(copied) < len(sequences):
        figures["copies"]["n"] = len(copied)
    return SetMeasures(figures, nll, copied)


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
) -> NDArray[np.bool_]:
    return _flags(has_neighbour(nearest_neighbours(sequences, references, threads)))


def _copies(
    sequences: Sequence[str],
    training: Sequence[str] | None,
    known: Sequence[float] | None,
    threads: int | None,
) -> NDArray[np.bool_] | None:
    """Tell which sequences are copies, of those whose identity is known where it is given."""
    if known:
        return np.asarray(known) >= COPY_IDENTITY
    if training is None or known is not None:
        return None
    found = nearest_neighbours(sequences, training, threads, near_only=True)
    return _flags(has_neighbour(found, COPY_IDENTITY))


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
    clusters: Mapping[float, Sequence[int]] | None,
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
        **{
            name: None if clusters is None else len(set(clusters[identity]))
            for name, identity in zip(CLUSTER_FIGURES, CLUSTER_IDENTITIES, strict=True)
        },
        "mean_repeat_fraction": _mean([repeat_fraction(each) for each in sequences]),
        "mean_low_complexity_fraction": _mean(
            [low_complexity_fraction(each) for each in sequences]
        ),
        **{f"rep_{n}": _plain(intervals.get(f"rep_{n}")) for n in REPEATED_WORDS},
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


def shuffle_residues(sequences: Sequence[str], seed: int = 0) -> list[str]:
    """Each sequence with its own residues in random order: composition without any protein."""
    return [shuffle_of(sequence, seed) for sequence in sequences]


def measure_reference_rows(
    judge: Judge,
    held_out: Sequence[str] | None,
    training: Sequence[str] | None = None,
    *,
    max_sequences: int = 1_024,
    seed: int = 0,
    threads: int | None = None,
) -> dict[str, Any]:
    """What the judge finds of natural and of shuffled sequences: the scale for every design.

    Write the result as `reference_rows.json` into the judge's folder, and `score` takes it from
    there. Sequences longer than the judge reads are left out; larger sets are sampled.

    Returns:
        Figures as of a set, under natural_held_out, natural_training and residue_shuffled (the
        held-out ones with their residues shuffled), and under by_length those of bins of lengths;
        rows of sets not given are absent.
    """
    sources = {"natural_held_out": held_out, "natural_training": training}
    rows = {
        name: (sequences, judge.nll(sequences))
        for name, source in sources.items()
        if (sequences := _sample(source or (), judge, max_sequences, seed))
    }
    bins = {name: figures_by_length(*row) for name, row in rows.items()}
    if natural := rows.get("natural_held_out"):
        own = judge_shuffles(judge.nll, *natural, seed, most=len(natural[0]))
        bins["natural_held_out"] = figures_by_length(*natural, own.better)
        rows["residue_shuffled"] = own.shuffled, own.shuffled_nll
        bins["residue_shuffled"] = figures_by_length(own.shuffled, own.shuffled_nll)
    figures = {
        name: measure_set(sequences, judge_nll=nll.tolist(), seed=seed, threads=threads).figures
        for name, (sequences, nll) in rows.items()
    }
    return figures | ({BY_LENGTH: bins_as_json(bins)} if figures else {})


def _sample(sequences: Sequence[str], judge: Judge, count: int, seed: int) -> list[str]:
    limit = judge.max_length
    fitting = [each for each in sequences if limit is None or len(each) <= limit]
    if len(fitting) <= count:
        return fitting
    chosen = np.random.default_rng(seed).choice(len(fitting), size=count, replace=False)
    return [fitting[index] for index in sorted(chosen)]


# What the rows of a table tell of the set: for the summary, and for a report without one.


def mean_figures(designs: pd.DataFrame, seed: int = 0) -> dict[str, Any]:
    """Return the means of columns, under their names in the summary, over the rows with a value.

    Args:
        designs: rows that were scored.
        seed: of the bootstrap.

    Returns:
        `n`, the number of such rows, beside each mean and its interval; None where there is none,
        and nothing of columns that stand only where they have a value.
    """
    figures: dict[str, Any] = {}
    for column in COLUMN.values():
        if column.figure is not None:
            values, name = _values(designs, column.name), column.figure.name
            if n := len(values):
                figures[name] = bootstrap_mean(values, seed).as_dict() | {"n": n}
            elif column.always:
                figures[name] = None
    return figures


def figures_of_rows(designs: pd.DataFrame, has_reference: bool, seed: int = 0) -> dict[str, Any]:
    """Return the other figures that the rows of a table allow, under their names in the summary.

    Precision follows from the nearest reference of each row, where there is a reference; a row
    without a neighbour counts as no. Copies follow from the nearest training sequence of those
    rows that were held against any. Recall needs sequences that the table does not hold, and is
    left out. `n` counts the rows with a value.
    """
    if not len(designs):
        return {}
    means = {"mean_nfe": "nfe", "mean_repeat_fraction": "repeat_fraction"}
    known = {name: _values(designs, column) for name, column in means.items()}
    figures: dict[str, Any] = {
        name: {"mean": float(values.mean()), "n": len(values)}
        for name, values in known.items()
        if len(values)
    }
    perplexities = _values(designs, "judge_perplexity")
    if len(perplexities) and (perplexities > 0).all():
        nll, n = bootstrap_mean(np.log(perplexities), seed), {"n": len(perplexities)}
        figures |= {"judge_nll": nll.as_dict() | n, "judge_perplexity": nll.exp().as_dict() | n}
    if has_reference:
        identity = designs["nearest_reference_identity"].fillna(0.0).to_numpy()
        figures["precision"] = bootstrap_mean(identity >= NEIGHBOUR_IDENTITY, seed).as_dict()
    figures |= {name: share for name, share in copy_figures(designs, seed).items() if share}
    sequences = designs["sequence"].tolist()
    figures["distinct_fraction"] = len(set(sequences)) / len(sequences)
    if set().union(*sequences) <= set(CANONICAL_RESIDUES):
        figures["pooled_3mer_entropy"] = _plain(_kmer_entropy(sequences, seed))
    return figures


def copy_figures(designs: pd.DataFrame, seed: int = 0) -> dict[str, dict[str, float] | None]:
    """Return the shares of copies of training sequences, counted and estimated, with their `n`.

    Args:
        designs: rows that were scored.
        seed: of the bootstrap.

    Returns:
        None where no row has a value.
    """
    columns = {"copies": "training_identity", "copies_estimated": "training_identity_estimate"}
    known = {name: _values(designs, column) for name, column in columns.items()}
    return {
        name: bootstrap_mean(values >= COPY_IDENTITY, seed).as_dict() | {"n": len(values)}
        if len(values)
        else None
        for name, values in known.items()
    }


def _values(designs: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """The numbers that stand in a column; none where there is no such column."""
    if column not in designs:
        return np.empty(0)
    return designs[column].dropna().to_numpy(dtype=np.float64)
