"""The columns of the comparison table: heading, format, and what each says to a designer."""

from collections.abc import Callable
from dataclasses import dataclass

from didi_protein.report_figures import Estimate


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
