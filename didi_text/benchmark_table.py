"""The rows of a benchmark: what was measured, and what was published, marked as such."""

from collections.abc import Mapping, Sequence
from typing import Any

from didi_core.commands.comparison_cells import LIMIT_SAMPLER
from didi_text.benchmark_study import LIMIT, Cell
from didi_text.published import PublishedFigure, StudySetting

COLUMNS = (
    "source", "model", "sampler", "steps", "status", "calls", "discriminator_calls",
    "perplexity", "perplexity_low", "perplexity_high", "nats_per_token", "entropy", "entropy_low",
    "entropy_high", "repetition", "duplicates", "latency_seconds", "latency_low", "latency_high",
    "tokens_per_second", "best_batch", "batch_search_ended_by", "equal_entropy",
    "nll_at_equal_entropy", "nll_at_equal_entropy_low", "nll_at_equal_entropy_high",
    "difference_at_equal_entropy", "difference_at_equal_entropy_low",
    "difference_at_equal_entropy_high", "bigram_entropy_at_equal_entropy", "equal_bigram_entropy",
    "nll_at_equal_bigram_entropy", "nll_at_equal_bigram_entropy_low",
    "nll_at_equal_bigram_entropy_high", "difference_at_equal_bigram_entropy",
    "difference_at_equal_bigram_entropy_low", "difference_at_equal_bigram_entropy_high", "n",
    "length", "judge", "draws", "precision", "comparable", "differences", "reference",
    "reveal_exponent",
)  # fmt: skip
"""Of `benchmark.csv`, in order; docs/text-benchmark.md says what each means."""
MEASURED, PUBLISHED = "measured", "published"

Row = dict[str, Any]


def measured_row(cell: Cell, record: Mapping[str, Any], judge: str) -> Row:
    """The row of a finished cell.

    Args:
        record: the contents of its JSON.
    """
    quality, settings = record["quality"], record["settings"]
    latency, throughput = record["latency"], record["throughput"]
    return _row(
        **_named(cell),
        status="ok",
        calls=record["calls"],
        discriminator_calls=record["discriminator_calls"],
        **_interval("perplexity", quality["perplexity"]),
        nats_per_token=quality["nats_per_token"]["mean"],
        **_interval("entropy", quality["entropy"]),
        repetition=quality["repetition"]["mean"],
        duplicates=quality["duplicates"],
        latency_seconds=latency["median"],
        latency_low=latency["low"],
        latency_high=latency["high"],
        tokens_per_second=throughput["best"]["tokens_per_second"],
        best_batch=throughput["best"]["batch"],
        batch_search_ended_by=throughput["stopped_by"],
        n=quality["num_samples"],
        length=settings["length"],
        judge=judge,
        draws=settings["draws"],
        precision=settings["precision"],
        reveal_exponent=settings["reveal_exponent"],
    )


def failed_row(cell: Cell, reason: str) -> Row:
    """The row of a cell that could not be measured."""
    return _row(**_named(cell), status=reason)


def published_row(figure: PublishedFigure, setting: StudySetting) -> Row:
    """A published figure, and in what its setting differs from ours."""
    differences = setting.differences(figure)
    return _row(
        source=PUBLISHED,
        model=figure.model,
        steps=figure.steps,
        perplexity=figure.perplexity,
        entropy=figure.entropy,
        length=1_024,
        judge="gpt2-large",
        draws=figure.draws,
        comparable=not differences,
        differences="; ".join(differences),
        reference=figure.source,
    )


def common_differences(rows: Sequence[Row]) -> list[str]:
    """What sets every one of the published rows apart."""
    each = [row["differences"].split("; ") for row in rows if row["differences"]]
    if not each or len(each) < len(rows):
        return []
    return [difference for difference in each[0] if all(difference in other for other in each)]


def _named(cell: Cell) -> Row:
    is_limit = cell.sampler == LIMIT_SAMPLER
    return {
        "source": MEASURED,
        "model": cell.model,
        "sampler": cell.sampler,
        "steps": LIMIT if is_limit else cell.steps,
    }


def _interval(name: str, figures: Mapping[str, float]) -> Row:
    return {name: figures["mean"], f"{name}_low": figures["low"], f"{name}_high": figures["high"]}


def _row(**known: Any) -> Row:
    return {column: known.get(column) for column in COLUMNS}
