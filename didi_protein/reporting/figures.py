"""The figures of one cell, each with its interval and the number of designs it rests on."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.set_measures import figures_of_rows, mean_figures


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


def figures_from_summary(
    summary: Mapping[str, Any], whole: int | None = None
) -> dict[str, Estimate]:
    """Figures of a set as `score` names them: of `summary["set"]`, of a reference row, of rows.

    Args:
        whole: number of designs; an estimate that rests on all of them does not say so.
    """
    names = {
        "judge_nll": "judge_nll",
        "judge_perplexity": "judge_perplexity",
        "precision": "precision",
        "recall": "recall",
        "copies": "copies",
        "pooled_3mer_entropy": "pooled_3mer_entropy",
        "distinct_fraction": "distinct_fraction",
        **{name: name for name in ("fbd", "mmd", "density", "coverage")},
        "repeat_fraction": "mean_repeat_fraction",
        "low_complexity_fraction": "mean_low_complexity_fraction",
        "calls": "mean_nfe",
        "length": "mean_length",
    } | {column.name: column.figure.name for column in COLUMN.values() if column.figure}
    found = {name: _estimate(summary.get(theirs), whole) for name, theirs in names.items()}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def figures_from_rows(designs: pd.DataFrame, has_reference: bool) -> dict[str, Estimate]:
    """What the rows of a table allow, where no summary tells it."""
    return figures_from_summary(figures_of_rows(designs, has_reference), len(designs))


def means_of_rows(designs: pd.DataFrame) -> dict[str, Estimate]:
    """Means of the columns that have a figure of their own, such as pLDDT."""
    return figures_from_summary(mean_figures(designs), len(designs))


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


def figures_of_set(counted: Mapping[str, Any], names: Sequence[str]) -> dict[str, Estimate]:
    """The figures of these names that a set has, under the names themselves."""
    found = {name: _estimate(counted.get(name)) for name in names}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _estimate(value: Any, whole: int | None = None) -> Estimate | None:
    """From a plain number or `{"mean":, "low":, "high":}`; None where nothing was computed."""
    if isinstance(value, Mapping):
        if value.get("mean") is None:
            return None
        n = value.get("n")
        rests_on = None if n is None or n == whole else round(n)  # a merged row has means
        return Estimate(value["mean"], value.get("low"), value.get("high"), rests_on)
    return None if value is None else Estimate(float(value))


# The columns of the comparison table: heading, format, and what each says to a designer.


def decimals(places: int) -> Callable[[float], str]:
    return lambda value: f"{round(value, places) + 0.0:.{places}f}"  # no -0.00


def percent(value: float) -> str:
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


def _mean_of(name: str, better: str = "") -> Column:
    """The mean of a column of the table of scores, told as `scoring.columns` tells it."""
    column = COLUMN[name]
    better = better or {"highest": "higher", "lowest": "lower", "": ""}[column.better]
    write = percent if column.written.endswith("%") else column.write
    return Column(name, column.title, better, column.tells, write)


_OTHER_MEANS = [_mean_of(each.name) for each in COLUMN.values() if each.figure and each.tells]

COLUMNS = (
    Column(
        "calls",
        "Calls",
        "lower",
        "How often the network was run to write one design, on average: the cost. A step that "
        "changes nothing needs no call, so calls can be fewer than the steps asked for.",
        _calls,
    ),
    _mean_of("judge_perplexity", "natural"),
    Column(
        "nll_at_equal_diversity",
        "NLL at equal entropy",
        "lower",
        "Judge NLL, nats a residue, where the set's curve over the temperatures passes the 3-mer "
        "entropy that all sets are compared at, that of natural sequences where they were given "
        "(the dotted line of the plot). A dash: the curve does not reach it. No temperature "
        "changes this figure; copying the training set would, so read copies too.",
        decimals(3),
    ),
    Column(
        "difference_at_equal_diversity",
        "Less teacher, equal entropy",
        "lower",
        "The same less that of the teacher's limit (of a teacher without one: of its plain set of "
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
        percent,
    ),
    Column(
        "recall",
        "Recall",
        "higher",
        "The share of held-out natural sequences that some design resembles, by the same rule. "
        "High: the designs cover the variety of nature. It grows with the number of designs, so "
        "compare it only between sets of equal n.",
        percent,
    ),
    Column(
        "copies",
        "Copies",
        "lower",
        "The share of designs at least 95% identical to a training sequence: remembered, not "
        "designed. The lower, the more is new.",
        percent,
    ),
    Column(
        "pooled_3mer_entropy",
        "3-mer entropy",
        "natural",
        "The variety of residue triplets over all designs together. Far below the natural row, "
        "the designs resemble each other or repeat themselves. It grows with the number of "
        "designs.",
        decimals(2),
    ),
    _mean_of(
        "repeat_fraction",
        better="natural",
    ),
    Column(
        "fbd",
        "FBD",
        "lower",
        "Frechet distance between designs and natural sequences as a language model sees them. "
        "Close to the natural row, the designs are distributed as nature is. It depends on the "
        "model and on the number of sequences: compare within this table, at equal n.",
        decimals(2),
    ),
    Column(
        "mmd",
        "MMD",
        "lower",
        "Another distance between the same two sets (maximum mean discrepancy, times 1,000), which "
        "few sequences suffice for.",
        decimals(2),
    ),
    Column(
        "density",
        "Density",
        "natural",
        "How many natural sequences have a design about them, over five: near the natural row the "
        "designs lie where nature is dense.",
        decimals(2),
    ),
    Column(
        "coverage",
        "Coverage",
        "higher",
        "The share of natural sequences that have a design about them, in the same space: how much "
        "of nature's variety the designs reach.",
        percent,
    ),
    *_OTHER_MEANS,
    Column(
        "seconds_per_design",
        "Seconds each",
        "lower",
        "Wall-clock time of generation divided by the number of designs, on the machine named "
        "below the table. Only sets from the same machine can be compared.",
        _seconds,
    ),
)


def columns_for(figures_present: Collection[str]) -> list[Column]:
    """Return the columns that some row of the comparison has a figure of."""
    return [each for each in COLUMNS if each.name in figures_present]
