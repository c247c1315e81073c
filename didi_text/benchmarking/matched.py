"""Tables at matched entropy: each number of steps at the entropies where others published it.

A low temperature lowers a perplexity and the entropy with it, so later papers give the perplexity
at a stated entropy, which differs from one number of steps to the next. Here the curves over
`--temperatures` are read at each such entropy, and at the one that all cells are compared at.

.. [1] arXiv 2609.40235, table 2: temperatures 0.80 to 1.10, one seed, by authors who have methods
   of their own in it.
.. [2] "Representation-Space MMD for Diffusion Language Models", arXiv 2610.06648: of MDLM-MMD five
   seeds of 1,000 samples each.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from didi_core.evaluation.frontier import Frontier, nll_at, temperature_at
from didi_core.evaluation.frontier_record import interval_columns
from didi_text.benchmarking.options import BenchmarkResult
from didi_text.benchmarking.table import (
    MEASURED,
    NOT_STATED,
    PUBLISHED,
    PublishedFigure,
    Row,
    StudySetting,
    common_differences,
    markdown_of,
)

MATCHED_FILE = "matched.csv"

MATCHED_COLUMNS = (
    "steps", "entropy", "source", "model", "sampler", "status", "perplexity", "perplexity_low",
    "perplexity_high", "temperature", "comparable", "differences", "reference",
)  # fmt: skip
"""Of `matched.csv`, in order; docs/text-benchmark.md says what each means."""

_ENTROPY = {4: 5.44, 8: 5.38, 16: 5.20, 128: 5.27}
_LIKE_FOR_LIKE: Mapping[str, Mapping[int, float]] = {
    "MDLM": {4: 678, 8: 267, 16: 72.8, 128: 44.3},
    "D-MMD (of MDLM)": {4: 431, 8: 135, 16: 41.7, 128: 27.3},
    "SDTT (of MDLM)": {4: 372, 8: 103, 16: 39.4, 128: 32.6},
    "ReDi (of Duo)": {4: 90.2, 8: 49.4, 16: 32.4, 128: 30.7},
    "IDLM (of MDLM)": {4: 145, 8: 48.4, 16: 24.3},
    "Simplex-DMD": {4: 45.6, 8: 26.7, 16: 17.0},
}
"""Perplexity at `_ENTROPY` of each number of steps [1]_."""
_MMD: Mapping[str, Mapping[int, tuple[float, float]]] = {
    "MDLM": {8: (282.5, 5.43)},
    "DiDi-Instruct": {8: (149.0, 5.43)},
    "IDLM (of MDLM)": {8: (56.2, 5.43)},
    "MDLM-MMD": {8: (43.50, 5.43), 16: (26.84, 5.42), 32: (21.46, 5.39)},
}
"""Perplexity and entropy [2]_; the draws of its code are float32."""


def published_at_entropy() -> tuple[PublishedFigure, ...]:
    """Return every figure that was published at an entropy it was brought to."""
    first = [
        PublishedFigure(model, steps, value, _ENTROPY[steps], NOT_STATED, "arXiv 2609.40235")
        for model, figures in _LIKE_FOR_LIKE.items()
        for steps, value in figures.items()
    ]
    second = [
        PublishedFigure(model, steps, value, entropy, "float32", "arXiv 2610.06648")
        for model, figures in _MMD.items()
        for steps, (value, entropy) in figures.items()
    ]
    return (*first, *second)


def matched_rows(
    frontiers: Sequence[Frontier], equal: float, setting: StudySetting, seed: int = 0
) -> list[Row]:
    """Read every curve at the entropies that its number of steps was published at, and at `equal`.

    Args:
        frontiers: curves over temperatures, their settings naming model, sampler and steps; those
            without steps have no number that others published.
        equal: the entropy that all cells are compared at.

    Returns:
        Rows by steps and entropy, ours before the published ones.
    """
    published = published_at_entropy()
    rows: list[Row] = []
    for steps in sorted({each.settings["steps"] for each in frontiers} - {None}):
        theirs = [each for each in published if each.steps == steps]
        ours = [each for each in frontiers if each.settings["steps"] == steps]
        for entropy in sorted({equal, *(float(each.entropy or 0) for each in theirs)}):
            rows += [_measured(each, entropy, seed) for each in ours]
            rows += [_published(each, setting) for each in theirs if each.entropy == entropy]
    return rows


def _measured(frontier: Frontier, entropy: float, seed: int) -> Row:
    nll = nll_at(frontier, entropy, seed)
    perplexity = None if nll is None else nll.exp().as_dict()
    low, high = frontier.diversity_range
    return _row(
        **frontier.settings,
        entropy=entropy,
        source=MEASURED,
        status="ok" if nll else f"not reached: {low:.3f} to {high:.3f}",
        temperature=temperature_at(frontier, entropy),
        **interval_columns("perplexity", perplexity),
    )


def _published(figure: PublishedFigure, setting: StudySetting) -> Row:
    differences = setting.differences(figure)
    return _row(
        steps=figure.steps,
        entropy=figure.entropy,
        source=PUBLISHED,
        model=figure.model,
        status="ok",
        perplexity=figure.perplexity,
        comparable=not differences,
        differences="; ".join(differences),
        reference=figure.source,
    )


def _row(**known: Any) -> Row:
    return {column: known.get(column) for column in MATCHED_COLUMNS}


READING = """\
Perplexity at matched entropy: each curve over the temperatures is read where its samples have the
entropy (95% intervals, bootstrap); published rows are for reference{differ}."""


def matched_in_words(result: BenchmarkResult, *, whole: bool = False) -> str:
    """Return the rows as a Markdown table with how to read it; empty where there is nothing to say.

    Args:
        whole: also entropies that nobody published, or that no curve of ours reaches.
    """
    rows: list[Row] = result.record["matched"]
    reached = {_place(row) for row in rows if row["source"] == MEASURED and row["status"] == "ok"}
    shared = reached & {_place(row) for row in rows if row["source"] == PUBLISHED}
    kept = rows if whole else [row for row in rows if _place(row) in shared]
    if not kept:
        return ""
    common = common_differences([row for row in kept if row["source"] == PUBLISHED])
    differ = f" and do not compare with these: {'; '.join(common)}" if common else ""
    table, path = markdown_of(kept, _HEADINGS), result.out / MATCHED_FILE
    return f"{table}\n\n{READING.format(differ=differ)}\n\nTable   {path}"


def _place(row: Row) -> tuple[int, float]:
    return row["steps"], row["entropy"]


def _perplexity(row: Row) -> str:
    if row["perplexity"] is None:
        return str(row["status"])
    if row["perplexity_low"] is None:
        return f"{row['perplexity']:g}"  # with the digits that were published
    low, high = row["perplexity_low"], row["perplexity_high"]
    return f"{row['perplexity']:.2f} ({low:.2f} to {high:.2f})"


_HEADINGS: dict[str, Callable[[Row], str]] = {
    "steps": lambda row: str(row["steps"]),
    "entropy": lambda row: f"{row['entropy']:.4g}",
    "model": lambda row: row["model"],
    "sampler": lambda row: row["sampler"] or "",
    "perplexity": _perplexity,
    "temperature": lambda row: "" if row["temperature"] is None else f"{row['temperature']:.3f}",
    "source": lambda row: ", ".join(filter(None, (row["source"], row["reference"]))),
}
