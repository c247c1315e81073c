"""A benchmark as a Markdown table, as it is printed."""

from collections.abc import Callable, Mapping
from typing import Any

from didi_text.benchmark import BenchmarkResult
from didi_text.benchmark_table import PUBLISHED, Row, common_differences

READING = """\
Perplexity under {judge}, of {num} samples of {length} tokens (95% intervals, bootstrap); it means
nothing without the entropy beside it (nats, mean over samples). Seconds: one sample at batch 1,
median of {repeats}. Tokens/s: at the batch in brackets, the best found. Machine: {device}."""

DIFFERENCES = """\
Judge NLL, nats a token, of one row less that of another, over pairs of samples of one number (95%
intervals, bootstrap); below 0 the first is better:"""

HEADINGS: dict[str, Callable[[Row], str]] = {
    "model": lambda row: row["model"],
    "sampler": lambda row: row["sampler"] or "",
    "steps": lambda row: "" if row["steps"] is None else str(row["steps"]),
    "reveal exponent": lambda row: _exponent(row["reveal_exponent"]),
    "calls": lambda row: _number(row["calls"], ".1f"),
    "perplexity": lambda row: _with_interval(row, "perplexity", ".2f"),
    "entropy": lambda row: _with_interval(row, "entropy", ".3f"),
    "NLL at equal entropy": lambda row: _compared(row, "nll_at_equal_entropy", ".3f"),
    "difference": lambda row: _compared(row, "difference_at_equal_entropy", "+.3f"),
    "2-grams there": lambda row: _number(row["bigram_entropy_at_equal_entropy"], ".3f"),
    "difference at equal 2-grams": lambda row: _compared(
        row, "difference_at_equal_bigram_entropy", "+.3f", "equal_bigram_entropy"
    ),
    "repetition": lambda row: _number(row["repetition"], ".3f"),
    "seconds": lambda row: _number(row["latency_seconds"], ".3g"),
    "tokens/s": lambda row: _throughput(row),
    "source": lambda row: _source(row),
}


def printed(result: BenchmarkResult) -> str:
    """Table, how to read it, how published rows differ, and where the files are."""
    record = result.record
    rows = [*record["rows"], *record["published"]]
    parts = [markdown_table(rows), READING.format(**record["reading"])]
    if record["nll_differences"]:
        parts.append(differences_in_words(record["nll_differences"]))
    if common := common_differences(record["published"]):
        parts.append(
            "Published rows are for reference and do not compare with these: "
            + "; ".join(common)
            + "."
        )
    parts += record["notes"]
    figure = result.figure or "needs the extra report: pip install 'didi-protein[report]'"
    parts.append(f"Table   {result.out / 'benchmark.csv'}\nFigure  {figure}")
    return "\n\n".join(parts)


def differences_in_words(differences: Mapping[str, Mapping[str, float]]) -> str:
    """Paired differences, a line each."""
    width = max(map(len, differences))
    lines = [
        f"  {name:{width}}  {each['mean']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f})"
        for name, each in differences.items()
    ]
    return "\n".join([DIFFERENCES, *lines])


def markdown_table(rows: list[Row]) -> str:
    """One line a row; a heading that no row fills is left out."""
    cells = {name: [show(row) for row in rows] for name, show in HEADINGS.items()}
    cells = {name: column for name, column in cells.items() if any(column)}
    lines = [list(cells), ["---"] * len(cells), *zip(*cells.values(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _with_interval(row: Row, name: str, form: str) -> str:
    if row[f"{name}_low"] is None:
        return _number(row[name], "g")  # with the digits that were published
    low, high = (_number(row[f"{name}_{end}"], form) for end in ("low", "high"))
    return f"{_number(row[name], form)} ({low} to {high})"


def _compared(row: Row, name: str, form: str, at: str = "equal_entropy") -> str:
    """A figure where curves are compared, and whether the row's does not get there."""
    if row[name] is None:
        return "" if row[at] is None else "not reached"
    return _with_interval(row, name, form)


def _throughput(row: Row) -> str:
    if row["tokens_per_second"] is None:
        return ""
    return f"{row['tokens_per_second']:,.0f} ({row['best_batch']})"


def _source(row: Row) -> str:
    if row["source"] == PUBLISHED:
        return f"{PUBLISHED}, {row['reference']}, draws {row['draws']}"
    return row["source"] if row["status"] == "ok" else row["status"]


def _exponent(value: float | None) -> str:
    """Return the exponent of a grid that is not the even one."""
    return "" if value in (None, 1) else f"{value:g}"


def _number(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)
