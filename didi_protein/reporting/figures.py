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
from didi_protein.sequences.alphabet import CANONICAL_RESIDUES
from didi_protein.similarity.neighbours import NEIGHBOUR_IDENTITY


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


# The columns of the comparison table: heading, format, and what each says to a designer.


def _decimals(places: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{places}f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f}%" if value == 0 or value >= 0.0995 else f"{100 * value:.1f}%"


def _calls(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 or value == round(value) else f"{value:.1f}"


def _seconds(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


@dataclass(frozen=True)
class Column:
    """One figure of the comparison.

    Attributes:
        name: key in a cell's figures.
        heading: short title of the column.
        better: "lower", "higher", "natural" (close to the natural row) or "".
        meaning: what it says, in plain language.
        write: number -> text.
        to: what stands between the ends of an interval.
    """

    name: str
    heading: str
    better: str
    meaning: str
    write: Callable[[float], str]
    to: str = "–"

    def text(self, estimate: Estimate) -> str:
        return self.write(estimate.mean)

    def interval(self, estimate: Estimate) -> str:
        """The 95% interval, or "" where none was computed."""
        if estimate.low is None or estimate.high is None:
            return ""
        low = self.write(estimate.low).removesuffix("%")
        return f"{low}{self.to}{self.write(estimate.high)}"


COLUMNS = (
    Column(
        "calls",
        "Calls",
        "lower",
        "How often the network was run to write one design, on average: the cost. A step that "
        "changes nothing needs no call, so calls can be fewer than the steps asked for.",
        _calls,
    ),
    Column(
        "judge_perplexity",
        "Judge perplexity",
        "lower",
        "How surprised an independent protein language model is by the sequences: about the "
        "number of residues it hesitates between at each position. 20 is pure guessing; natural "
        "proteins show what is good. Repeats and copies score well too, so read it together with "
        "the columns to its right.",
        _decimals(2),
    ),
    Column(
        "nll_at_equal_diversity",
        "NLL at equal entropy",
        "lower",
        "Judge NLL, nats a residue, where the row's curve over the temperatures passes the 3-mer "
        "entropy that all rows are compared at, that of natural sequences where they were given "
        "(the dotted line of the plot). A dash: the curve does not reach it. No temperature "
        "changes this figure; copying the training set would, so read copies too.",
        _decimals(3),
    ),
    Column(
        "difference_at_equal_diversity",
        "Less teacher, equal entropy",
        "lower",
        "The same less that of the teacher's limit (of a teacher without one: of its plain row of "
        "most steps), over pairs of designs. Below zero reads more naturally at equal variety; an "
        "interval that includes zero shows nothing.",
        lambda value: f"{value:+.3f}",
        to=" to ",
    ),
    Column(
        "difference_at_equal_ngram_entropy",
        "Less teacher, equal 4-mers",
        "lower",
        "The same where the curves pass one entropy of 4-mers, that of the same natural sequences. "
        "Where it disagrees in sign with the column to its left, neither settles which is better.",
        lambda value: f"{value:+.3f}",
        to=" to ",
    ),
    Column(
        "precision",
        "Precision",
        "higher",
        "The share of designs that resemble some natural sequence (at least 40% identical over at "
        "least 70% of the length). High: the designs look like proteins that exist.",
        _percent,
    ),
    Column(
        "recall",
        "Recall",
        "higher",
        "The share of held-out natural sequences that some design resembles, by the same rule. "
        "High: the designs cover the variety of nature. It grows with the number of designs, so "
        "compare it only between rows of equal n.",
        _percent,
    ),
    Column(
        "copies",
        "Copies",
        "lower",
        "The share of designs at least 95% identical to a training sequence: remembered, not "
        "designed. The lower, the more is new.",
        _percent,
    ),
    Column(
        "pooled_3mer_entropy",
        "3-mer entropy",
        "natural",
        "The variety of residue triplets over all designs together. Far below the natural row, "
        "the designs resemble each other or repeat themselves. It grows with the number of "
        "designs.",
        _decimals(2),
    ),
    Column(
        "repeat_fraction",
        "Repeats",
        "natural",
        "The share of residues inside repeats (four residues that occur again in the same design, "
        "or a run of one letter), averaged over the designs. Well above natural is a warning: a "
        "model may score repeats highly that will not fold.",
        _percent,
    ),
    Column(
        "mean_plddt",
        "pLDDT",
        "higher",
        "The folding model's confidence in the structure it predicts, 0 to 100, averaged over the "
        "alpha carbons and the designs. Above 70 the fold is likely right; above 90 also its "
        "details.",
        _decimals(1),
    ),
    Column(
        "ptm",
        "pTM",
        "higher",
        "The folding model's confidence in the overall shape, 0 to 1. Above 0.5 the overall fold "
        "is likely right.",
        _decimals(2),
    ),
    Column(
        "mean_pae",
        "PAE",
        "lower",
        "The error the folding model expects in where residues lie to each other, in ångström, "
        "averaged over all pairs and the designs. Below 10 the parts of a design are placed with "
        "some confidence.",
        _decimals(1),
    ),
    Column(
        "foldable",
        "Foldable",
        "higher",
        "The share of designs that pass the folding rule of the score table (its thresholds are "
        "in the definitions below).",
        _percent,
    ),
    Column(
        "seconds_per_design",
        "Seconds each",
        "lower",
        "Wall-clock time of generation divided by the number of designs, on the machine named "
        "below the table. Only rows from the same machine can be compared.",
        _seconds,
    ),
)


ALWAYS_SHOWN = (
    "calls",
    "judge_perplexity",
    "precision",
    "recall",
    "copies",
    "pooled_3mer_entropy",
    "repeat_fraction",
    "seconds_per_design",
)


def columns_for(figures_present: set[str]) -> list[Column]:
    """The standard columns, and those of folding where a table has them."""
    return [each for each in COLUMNS if each.name in ALWAYS_SHOWN or each.name in figures_present]
