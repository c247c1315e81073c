"""Samples and scores of one cell of a comparison: a model, a sampler and a number of steps."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from didi_core.commands.comparing.cells import (
    Cell,
    CellRequest,
    ScoredCell,
    none_made,
    row_of,
    unjudged,
)
from didi_core.commands.comparing.sweep import MeasuredSet
from didi_core.commands.generating.options import GenerationResult
from didi_core.commands.generating.run import generate
from didi_core.commands.processes import of_first
from didi_core.errors import UserError
from didi_core.evaluation.frontier import FrontierPoint
from didi_core.evaluation.ratio import Ratio
from didi_core.io.files import write_json
from didi_core.models.folder import LoadedModel
from didi_core.progress import progress_bar
from didi_text.models.load import CausalLanguageModel, describe_model
from didi_text.samples.files import read_samples as read_records
from didi_text.samples.measures import (
    BIGRAMS,
    measure_samples,
    read_samples,
    readable_tokens,
)
from didi_text.samples.options import GenerateOptions
from didi_text.samples.samples import SAMPLES

NOUN = "sample"
PER_SAMPLE = ("per_sample_nats", "per_sample_tokens", "per_sample_entropy")


def write_cell(cell: Cell, request: CellRequest, model: LoadedModel) -> GenerationResult:
    """Write `CELL.jsonl`, or go on with it."""
    return of_first(generate(GenerateOptions(**request.generation(cell, ".jsonl")), SAMPLES, model))


def score_cell(
    cell: Cell, request: CellRequest, made: GenerationResult, judge: CausalLanguageModel
) -> ScoredCell:
    """Write `CELL.figures.json` beside the samples, or take what it holds of these samples.

    Samples with nothing to judge, as of a student that writes ends of text alone, have a row that
    says so.
    """
    if not made.num_made:
        return unjudged(cell, made, NOUN, none_made(made, NOUN))
    ids = [record["id"] for record in read_records(made.out)]
    try:
        figures = _figures(made.out, request, judge)
    except UserError as error:
        return unjudged(cell, made, NOUN, str(error), ids)
    nats = pd.Series(figures["per_sample_nats"], index=ids, dtype=float)
    row = row_of(cell, made, NOUN, figures["num_samples"], columns_of(figures))
    return ScoredCell(cell, row, nats)


def measure(scored: ScoredCell, request: CellRequest) -> MeasuredSet:
    """Judge NLL, every token alike, mean unigram entropy of a sample, and pooled 2-gram entropy."""

    def read() -> tuple[Mapping[str, Any], Sequence[Sequence[int]] | None]:
        stored = json.loads(request.path(scored.cell, ".figures.json").read_text(encoding="utf-8"))
        return stored["figures"], read_samples(request.path(scored.cell, ".jsonl")).ids

    nll = scored.judge_nll
    return measured_set(scored.cell, list(nll.index), nll.dropna().index, read)


def measured_set(
    cell: Cell,
    names: Sequence[str],
    judged: Iterable[str],
    read: Callable[[], tuple[Mapping[str, Any], Sequence[Sequence[int]] | None]],
) -> MeasuredSet:
    """What samples put on the curve of their cell.

    Args:
        names: of all samples, in their order.
        judged: those that count.
        read: gives figures of `measure_samples`, and the tokens of the samples where known.
    """
    place = {name: number for number, name in enumerate(names)}

    def point(ids: Sequence[str]) -> FrontierPoint:
        figures, tokens = read()
        chosen = {name: [figures[name][place[each]] for each in ids] for name in PER_SAMPLE}
        known = tokens and [tokens[place[each]] for each in ids]
        return point_of(cell.temperature, chosen, known)

    return MeasuredSet(cell, frozenset(judged), point)


def point_of(
    temperature: float,
    quality: Mapping[str, Any],
    ids: Sequence[Sequence[int]] | None = None,
) -> FrontierPoint:
    """One set on the curve of its cell.

    Args:
        ids: tokens of its samples, for the entropy of their 2-grams.
        quality: figures of `measure_samples`. The NLL weights every scored token alike, as the
            table's does; samples without a token have no entropy and are left out of its mean.
    """
    tokens = np.array(quality["per_sample_tokens"], dtype=np.float64)
    nats = np.array(quality["per_sample_nats"], dtype=np.float64)  # None becomes NaN
    entropy = np.array(quality["per_sample_entropy"], dtype=np.float64)
    return FrontierPoint(
        temperature,
        nll=Ratio(np.nan_to_num(nats) * tokens, tokens),
        diversity=Ratio(np.nan_to_num(entropy), (~np.isnan(entropy)).astype(np.float64)),
        ngrams=BIGRAMS.where_known(ids) if ids else None,
    )


def _figures(samples: Path, request: CellRequest, judge: CausalLanguageModel) -> dict[str, Any]:
    path = samples.with_suffix(".figures.json")
    decided = {
        "samples": hashlib.sha256(samples.read_bytes()).hexdigest()[:16],
        "judge": describe_model(judge),
        "judge_tokens": readable_tokens(judge),
        "seed": request.seed,
    }
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["decided"] == decided:
            return stored["figures"]
    made = read_samples(samples)
    with progress_bar("Judging", len(made.texts)) as show:
        figures = measure_samples(
            made, judge, batch_tokens=request.batch_tokens, seed=request.seed, show=show
        )
    figures["samples"]["file"] = samples.name  # the folder may be moved
    write_json(path, {"decided": decided, "figures": figures})
    return figures


def columns_of(figures: dict[str, Any]) -> dict[str, Any]:
    """Columns of the table from the figures of `measure_samples`."""
    nll, entropy = figures["nats_per_token"], figures["entropy"]
    return {
        "judge_nll": nll["mean"],
        "judge_nll_low": nll["low"],
        "judge_nll_high": nll["high"],
        "judge_perplexity": figures["perplexity"]["mean"],
        "entropy": entropy["mean"],
        "entropy_low": entropy["low"],
        "entropy_high": entropy["high"],
        "repetition": figures["repetition"]["mean"],
        **{f"distinct_{n}": figures[f"distinct_{n}"] for n in (1, 2, 3, 4)},
        "duplicates": figures["duplicates"],
    }
