"""The rows of a benchmark: what was measured, and what was published, marked as such."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from didi_core.commands.comparing.cells import LIMIT_SAMPLER, Cell
from didi_core.commands.comparing.table import curve_name
from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import Interval
from didi_core.evaluation.frontier_plot import PlottedPoint
from didi_core.evaluation.tradeoff_plot import MeasuredPoint, Sweeps, plot_tradeoffs
from didi_text.benchmarking.options import BenchmarkResult
from didi_text.benchmarking.study import LIMIT

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


@dataclass(frozen=True)
class PublishedFigure:
    """One row of somebody's table."""

    model: str
    steps: int | None
    """None for an autoregressive model."""
    perplexity: float
    entropy: float | None
    """Mean unigram entropy of a sample, nats; None where the source does not give it."""
    draws: str
    source: str


@dataclass(frozen=True)
class StudySetting:
    """What decides whether measured figures may be compared with published ones."""

    length: int
    judge: str
    draws: str
    num_ids: int
    """Size of the tokenizer of the models that were measured."""

    def differences(self, figure: PublishedFigure) -> tuple[str, ...]:
        """In what a published figure's setting differs, or may differ, from this one."""
        found = []
        if self.length != PUBLISHED_LENGTH:
            found.append(f"length {PUBLISHED_LENGTH:,}, here {self.length:,}")
        if self.judge.rpartition("/")[2] != PUBLISHED_JUDGE:
            found.append(f"judge {PUBLISHED_JUDGE}, here {self.judge}")
        if self.num_ids != PUBLISHED_IDS:
            found.append(f"{PUBLISHED_IDS:,} token ids, here {self.num_ids:,}")
        if figure.draws == NOT_STATED:
            found.append("draws not stated")
        elif not figure.draws.startswith(self.draws):
            found.append(f"draws {figure.draws}, here {self.draws}")
        return tuple(found)


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
        "sampler": cell.label,
        "steps": LIMIT if is_limit else cell.steps,
    }


def _interval(name: str, figures: Mapping[str, float]) -> Row:
    return {name: figures["mean"], f"{name}_low": figures["low"], f"{name}_high": figures["high"]}


def _row(**known: Any) -> Row:
    return {column: known.get(column) for column in COLUMNS}


# Generative perplexities that others published, to stand beside measured ones, marked as such.
#
# All but GPT-2's are of models trained on OpenWebText with GPT-2's tokens; all are of samples of
# 1,024 tokens under `gpt2-large`. A perplexity means nothing without its entropy and the precision
# of its draws: float32 draws lower the temperature (arXiv 2409.02908).
#
# .. [1] "The Diffusion Duality", arXiv 2506.10892.
# .. [2] "DiDi-Instruct", arXiv 2509.25035.

PUBLISHED_LENGTH = 1_024


PUBLISHED_JUDGE = "gpt2-large"


PUBLISHED_IDS = 50_257


NOT_STATED = "not stated"


_DUO_STEPS = (8, 16, 32, 64, 128, 1024)


_DUO_TABLE = {
    "MDLM": "830.82/5.91 343.33/5.81 196.79/5.75 143.88/5.70 120.77/5.67 104.85/5.63",
    "Duo": "198.27/5.57 122.78/5.58 96.19/5.57 85.62/5.57 80.02/5.55 77.69/5.55",
    "MDLM + SDTT": "193.05/5.58 89.17/5.53 62.29/5.49 47.04/5.45 41.98/5.43 36.89/5.39",
    "Duo + DCD": "111.88/5.52 75.24/5.53 61.31/5.52 55.83/5.49 54.16/5.46 50.55/5.36",
    "Duo + DCD, greedy tail": ("69.58/5.30 54.11/5.37 46.31/5.38 43.12/5.35 40.12/5.30 36.53/5.19"),
}
"""Perplexity/entropy at each of `_DUO_STEPS` [1]_."""


_DIDI_TABLE = {8: 62.2, 16: 38.2, 32: 25.0, 64: 21.9, 128: 18.4}
"""DiDi-Instruct, 169M, guided by its discriminator (RGAS) [2]_."""


_DIDI_DRAWS = "float32 (inferred)"


def _duo_rows() -> list[PublishedFigure]:
    rows = []
    for model, figures in _DUO_TABLE.items():
        for steps, pair in zip(_DUO_STEPS, figures.split(), strict=True):
            perplexity, entropy = map(float, pair.split("/"))
            rows.append(
                PublishedFigure(model, steps, perplexity, entropy, "float64", "arXiv 2506.10892")
            )
    return rows


def _didi_rows() -> list[PublishedFigure]:
    source = "arXiv 2509.25035"
    rows = [
        PublishedFigure(
            "DiDi-Instruct 169M", steps, value, 5.21 if steps == 16 else None, _DIDI_DRAWS, source
        )
        for steps, value in _DIDI_TABLE.items()
    ]
    return [
        *rows,
        PublishedFigure("DiDi-Instruct 424M", 16, 32.8, None, _DIDI_DRAWS, source),
        PublishedFigure("MDLM 169M, its teacher", 1024, 38.5, None, _DIDI_DRAWS, source),
    ]


PUBLISHED_PUBLISHED = (
    *_duo_rows(),
    *_didi_rows(),
    PublishedFigure("IDLM", 16, 32.75, 5.42, NOT_STATED, "arXiv 2602.19066"),
    PublishedFigure("AR (Duo's)", None, 35.90, 5.58, "float64", "arXiv 2506.10892"),
    PublishedFigure("GPT-2 small", None, 18.3, None, NOT_STATED, "arXiv 2509.25035"),
)


def published_beside(steps: tuple[int, ...]) -> tuple[PublishedFigure, ...]:
    """What belongs beside a study at these numbers of steps: those, the longest published
    sampling (1,024 steps, a call a token), and autoregressive models."""
    wanted = {*steps, PUBLISHED_LENGTH, None}
    return tuple(figure for figure in PUBLISHED_PUBLISHED if figure.steps in wanted)


# A benchmark as a Markdown table, as it is printed.

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
    return markdown_of(rows, HEADINGS)


def markdown_of(rows: Sequence[Row], headings: Mapping[str, Callable[[Row], str]]) -> str:
    """As `markdown_table`, under other headings."""
    cells = {name: [show(row) for row in rows] for name, show in headings.items()}
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


# The figure of a benchmark: perplexity over entropy, and over the seconds of a sample.


def plot_benchmark(record: Mapping[str, Any], cells: Sequence[Cell], path: Path) -> Path | None:
    """Draw a benchmark.

    Args:
        record: the contents of `benchmark.json`.
        cells: of its rows.

    Returns:
        `path`, or None where the extra `report` is not installed.
    """
    curves: dict[str, list[MeasuredPoint]] = {}
    for row in record["rows"]:
        if row["status"] == "ok":
            curves.setdefault(curve_name(row), []).append(_point(row))
    references = {
        f"{row['model']}, {row['steps'] or 'AR'}": (row["entropy"], row["perplexity"])
        for row in record["published"]
        if row["comparable"] and row["entropy"] is not None
    }
    try:
        judge = record["judge"]["name"]
        plot_tradeoffs(curves, path, references, judge, sweeps=sweeps_of(record, cells))
    except UserError:
        return None
    return path


def sweeps_of(record: Mapping[str, Any], cells: Sequence[Cell]) -> Sweeps | None:
    """The curves over temperatures; None where there are none."""
    if record["frontiers"] is None:
        return None
    sweeps: dict[str, list[list[PlottedPoint]]] = {}
    for cell, row in zip(cells, record["rows"], strict=True):
        frontier = record["frontiers"]["frontiers"].get(cell.name, {"points": []})
        if len(frontier["points"]) > 1:
            points = [_heated_point(point) for point in frontier["points"]]
            sweeps.setdefault(curve_name(row), []).append(points)
    return Sweeps(sweeps, record["frontiers"]["equal_diversity"])


def _point(row: Row) -> MeasuredPoint:
    def interval(middle: str, name: str) -> dict[str, float]:
        return {"mean": row[middle], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}

    return MeasuredPoint(
        str(row["steps"] or "AR"),
        interval("perplexity", "perplexity"),
        interval("entropy", "entropy"),
        interval("latency_seconds", "latency"),
    )


def _heated_point(point: Mapping[str, Any]) -> PlottedPoint:
    """Of temperature 1 the point stands in the curve over steps, with its label."""
    temperature = point["temperature"]
    label = "" if temperature == 1 else f"T {temperature:g}"
    return PlottedPoint(label, point["diversity"], Interval(**point["nll"]).exp().as_dict())
