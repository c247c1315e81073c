"""How a comparison of designers is shown in the terminal."""

from didi_core.cli import print_table
from didi_core.commands.comparison_print import as_json, print_places, printed_table
from didi_protein.compare import CompareResult
from didi_protein.published import DPLM_PLDDT, PUBLISHED_LENGTHS

__all__ = ["as_json", "print_result"]

READING = """\
Less limit: judge NLL of a model less that of the teacher's limit, nats a residue, with its
95% interval over pairs of designs; of a teacher without limit, less the teacher in as many
steps. Below zero reads more naturally. A lower NLL with less entropy, or with more copies,
is no better model. Calls and Seconds: what one design costs."""

COLUMNS = {
    "Calls": ("calls", "{:.1f}"),
    "Guide": ("discriminator_calls", "{:.1f}"),
    "Judge NLL": ("judge_nll", "{:.3f}"),
    "Less limit": ("nll_minus_limit", "{:+.3f}"),
    "Less teacher": ("nll_minus_teacher", "{:+.3f}"),
    "Equal entropy": ("difference_at_equal_diversity", "{:+.3f}"),
    "Equal n-grams": ("difference_at_equal_ngram_entropy", "{:+.3f}"),
    "Entropy": ("pooled_3mer_entropy", "{:.2f}"),
    "Precision": ("precision", "{:.2f}"),
    "Recall": ("recall", "{:.2f}"),
    "Copies": ("copies", "{:.3f}"),
    "pLDDT": ("mean_plddt", "{:.1f}"),
    "pTM": ("ptm", "{:.2f}"),
    "Foldable": ("foldable_share", "{:.2f}"),
    "Seconds": ("seconds_per_design", "{:.3f}"),
    "Memory MB": ("peak_memory_mb", "{:,.0f}"),
}


def print_result(result: CompareResult, *, folded: bool) -> None:
    """The table, published figures where designs were folded, and where things are."""
    print_table(printed_table(result.table, COLUMNS))
    print(READING)
    if folded:
        print(published_rows())
    print_places(result)


def published_rows() -> str:
    """DPLM's pLDDT, marked as published: other designs, other lengths, all atoms."""
    lengths = " ".join(f"{length:5d}" for length in PUBLISHED_LENGTHS)
    rows = [f"\nPublished, not measured here: ESMFold pLDDT of DPLM, 500 steps\n{'':22s}{lengths}"]
    for model, row in DPLM_PLDDT.items():
        rows.append(f"{model:22s}" + " ".join(f"{plddt:5.1f}" for plddt in row))
    return "\n".join(rows)
