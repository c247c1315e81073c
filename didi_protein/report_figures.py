"""The figures of one cell, each with its interval and the number of designs it rests on."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from didi_core.evaluation.bootstrap import Interval, bootstrap_mean
from didi_core.evaluation.entropy import pooled_kmer_entropy
from didi_protein.alphabet import CANONICAL_RESIDUES
from didi_protein.neighbours import NEIGHBOUR_IDENTITY


@dataclass(frozen=True)
class Estimate:
    """A figure of a set of designs.

    Attributes:
        mean: the figure itself.
        low: lower end of its 95% bootstrap interval; None where none was computed.
        high: upper end.
        n: sequences it rests on; None where that is the whole set.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    n: int | None = None

    def map(self, function: Callable[[float], float]) -> "Estimate":
        """The estimate of an increasing function of the figure."""
        low, high = (None if end is None else function(end) for end in (self.low, self.high))
        return Estimate(function(self.mean), low, high, self.n)


def figures_from_summary(summary: Mapping[str, Any]) -> dict[str, Estimate]:
    """Figures of a set as `score` wrote them: of `summary["set"]` or of a reference row."""
    names = {
        "judge_nll": "judge_nll",
        "judge_perplexity": "judge_perplexity",
        "precision": "precision",
        "recall": "recall",
        "copies": "copies",
        "pooled_3mer_entropy": "pooled_3mer_entropy",
        "distinct_fraction": "distinct_fraction",
        "repeat_fraction": "mean_repeat_fraction",
        "low_complexity_fraction": "mean_low_complexity_fraction",
        "calls": "mean_nfe",
        "length": "mean_length",
    }
    found = {name: _estimate(summary.get(theirs)) for name, theirs in names.items()}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def figures_of_curve(curve: Mapping[str, Any]) -> dict[str, Estimate]:
    """Where a row's curve over the temperatures passes the diversity that rows compare at.

    Args:
        curve: one of `didi_core.evaluation.frontier_record`, or nothing.
    """
    names = {
        "nll_at_equal_diversity": "nll_at_equal_diversity",
        "difference_at_equal_diversity": "minus_baseline",
    }
    found = {name: _estimate(curve.get(theirs)) for name, theirs in names.items()}
    beside = curve.get("at_equal_ngrams") or {}
    found["difference_at_equal_ngram_entropy"] = _estimate(beside.get("minus_baseline"))
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _estimate(value: Any) -> Estimate | None:
    """From a plain number or `{"mean":, "low":, "high":}`; None where nothing was computed."""
    if isinstance(value, Mapping):
        if value.get("mean") is None:
            return None
        return Estimate(value["mean"], value.get("low"), value.get("high"), value.get("n"))
    return None if value is None else Estimate(float(value))


def figures_from_rows(designs: pd.DataFrame, has_reference: bool) -> dict[str, Estimate]:
    """What the rows of a table allow, computed as `score` does for a whole table.

    Precision follows from the nearest reference of each row, where there is a reference; a row
    without a neighbour counts as no. Recall and copies need sequences that the table does not
    hold, and are left out.
    """
    figures: dict[str, Estimate] = {}
    if not len(designs):
        return figures
    for name, column in {"calls": "nfe", "repeat_fraction": "repeat_fraction"}.items():
        if (values := _known(designs, column)) is not None:
            figures[name] = Estimate(float(values.mean()), n=_count(values, designs))
    perplexities = _known(designs, "judge_perplexity")
    if perplexities is not None and (perplexities > 0).all():
        nll = _estimate_of_mean(np.log(perplexities), designs)
        figures["judge_nll"], figures["judge_perplexity"] = nll, nll.map(math.exp)
    if has_reference:
        identity = designs["nearest_reference_identity"].fillna(0.0)
        figures["precision"] = _estimate_of_mean(identity >= NEIGHBOUR_IDENTITY, designs)
    sequences = designs["sequence"]
    figures["distinct_fraction"] = Estimate(sequences.nunique() / len(sequences))
    return figures | _entropy(sequences)


def folding_figures(designs: pd.DataFrame) -> dict[str, Estimate]:
    """pLDDT, pTM, PAE and the share foldable, where the table has them."""
    found = {name: _known(designs, name) for name in ("mean_plddt", "ptm", "mean_pae", "foldable")}
    return {
        name: _estimate_of_mean(values, designs)
        for name, values in found.items()
        if values is not None
    }


def residue_composition(sequences: Iterable[str]) -> dict[str, float]:
    """Share of each of the 20 residues in all sequences together; zeros where there are none."""
    counts: Counter[str] = Counter()
    for sequence in sequences:
        counts.update(sequence)
    total = sum(counts[residue] for residue in CANONICAL_RESIDUES)
    return {residue: counts[residue] / max(total, 1) for residue in CANONICAL_RESIDUES}


def _known(designs: pd.DataFrame, column: str) -> pd.Series | None:
    """The values of `column` that are there and finite; None where there are none."""
    if column not in designs:
        return None
    values = designs[column][np.isfinite(designs[column])]
    return values if len(values) else None


def _count(values: pd.Series, designs: pd.DataFrame) -> int | None:
    """How many values there are, where that is fewer than the designs."""
    return None if len(values) == len(designs) else len(values)


def _estimate_of_mean(values: pd.Series, designs: pd.DataFrame) -> Estimate:
    """Mean of `values` with its interval, and their number where some designs have none."""
    return _from_interval(bootstrap_mean(values), _count(values, designs))


def _from_interval(interval: Interval, n: int | None = None) -> Estimate:
    return Estimate(interval.mean, interval.low, interval.high, n)


def _entropy(sequences: Iterable[str]) -> dict[str, Estimate]:
    """The pooled 3-mer entropy; nothing where letters are no residues or sequences too short."""
    ids = [[CANONICAL_RESIDUES.find(letter) for letter in sequence] for sequence in sequences]
    if any(min(each, default=0) < 0 for each in ids) or all(len(each) < 3 for each in ids):
        return {}
    interval = pooled_kmer_entropy(ids, 3, len(CANONICAL_RESIDUES))
    return {"pooled_3mer_entropy": _from_interval(interval)}
