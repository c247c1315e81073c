"""How a comparison of writers is shown in the terminal."""

from didi_core.cli import print_table
from didi_core.commands.comparison_print import as_json, print_places, printed_table
from didi_text.compare import CompareResult

__all__ = ["as_json", "print_result"]

READING = """\
Perplexity: of the judge, over all tokens. Less limit: judge NLL of a model less that of the
teacher's limit, nats a token, with its 95% interval over pairs of samples; of a teacher without
limit, less the teacher in as many steps. Below zero is easier to predict. Text that repeats
itself is easy to predict: a lower perplexity with less entropy is no better model. Calls and
Seconds: what one sample costs."""

COLUMNS = {
    "Calls": ("calls", "{:.1f}"),
    "Guide": ("discriminator_calls", "{:.1f}"),
    "Perplexity": ("judge_perplexity", "{:.2f}"),
    "Less limit": ("nll_minus_limit", "{:+.3f}"),
    "Less teacher": ("nll_minus_teacher", "{:+.3f}"),
    "Equal entropy": ("difference_at_equal_diversity", "{:+.3f}"),
    "Equal n-grams": ("difference_at_equal_ngram_entropy", "{:+.3f}"),
    "Entropy": ("entropy", "{:.3f}"),
    "Repetition": ("repetition", "{:.3f}"),
    "Seconds": ("seconds_per_sample", "{:.3f}"),
    "Memory MB": ("peak_memory_mb", "{:,.0f}"),
}


def print_result(result: CompareResult) -> None:
    """The table, and where things are."""
    print_table(printed_table(result.table, COLUMNS))
    print(READING)
    print_places(result)
