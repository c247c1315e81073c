"""What `compare` does with text: how samples are made, judged and drawn."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from didi_core.cli.run import print_table
from didi_core.commands.comparing.cells import CellRequest
from didi_core.commands.comparing.compare import Bench, ComparisonDomain, run_comparison
from didi_core.commands.comparing.options import CompareResult
from didi_core.commands.comparing.study import method_settings
from didi_core.commands.comparing.sweep import Sweep
from didi_core.commands.comparing.table import (
    as_json,
    curve_name,
    print_places,
    printed_table,
    steps_in_words,
)
from didi_core.commands.generating.domain import length_limit
from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import Interval
from didi_core.evaluation.ratio import MeanUnigramEntropy
from didi_core.evaluation.tradeoff_plot import MeasuredPoint, plot_tradeoffs
from didi_core.io.files import write_json
from didi_core.models.folder import LoadedModel
from didi_core.progress import progress_bar
from didi_text.comparing.cells import (
    columns_of,
    measure,
    score_cell,
    write_cell,
)
from didi_text.comparing.options import CompareOptions
from didi_text.domain import TRAINING
from didi_text.models.judges import (
    DEFAULT_JUDGE,
    JUDGE_TOKENS,
    bundled_judge,
    open_judge,
)
from didi_text.models.load import CausalLanguageModel, open_model, tokenizer_of
from didi_text.models.writers import open_writer
from didi_text.samples.measures import Samples, measure_samples
from didi_text.samples.reference import natural_text, reference_samples, stored_natural
from didi_text.settings import DistillSettings

__all__ = ["as_json", "print_result"]


REFERENCE_LABEL = "held-out text"


def run_compare(options: CompareOptions) -> CompareResult:
    """See `didi_text.compare.compare`."""
    return run_comparison(options, DOMAIN)


def distill_settings(options: CompareOptions, method: str) -> DistillSettings:
    """Settings of one method, `NAME` or `NAME:PRESET`, as its config files have them."""
    return method_settings(options, method, "text_distill", DistillSettings)


def prepare(options: CompareOptions, teacher: LoadedModel, device: torch.device) -> Bench:
    """Open the judge, and judge held-out text where it is given."""
    limit = length_limit(teacher)
    length = options.length or str(min(limit, JUDGE_TOKENS))
    tokenizer = tokenizer_of(teacher, offline=options.offline)
    name = options.judge or bundled_judge([tokenizer]) or DEFAULT_JUDGE
    judge = open_judge(name, device, offline=options.offline)
    request = CellRequest.of(options, options.out / "samples", length)
    if options.reference is None:
        known = stored_natural(judge, tokenizer, length)
        return Bench(request, judge, lambda _: known)
    samples = reference_samples(
        str(options.reference),
        tokenizer,
        num=options.num,
        length=length,
        limit=limit,
        seed=options.seed,
        offline=options.offline,
    )
    natural = natural_text(samples.ids or [])
    return Bench(request, judge, lambda _: natural, (reference_row(samples, request, judge),))


def reference_row(
    samples: Samples, request: CellRequest, judge: CausalLanguageModel
) -> dict[str, Any]:
    """The row of real text, at whose entropy curves are compared."""
    with progress_bar("Judging held-out text", len(samples.texts)) as show:
        figures = measure_samples(
            samples, judge, batch_tokens=request.batch_tokens, seed=request.seed, show=show
        )
    return {"model": REFERENCE_LABEL, "n": figures["num_samples"], **columns_of(figures)}


def show(options: CompareOptions, table: pd.DataFrame, bench: Bench, sweep: Sweep) -> Path | None:
    """Write the table as JSON, and its figure; that of temperatures stands beside it."""
    del sweep
    out = options.out
    write_json(out / "comparison.json", json.loads(table.to_json(orient="records")))
    return plot_comparison(table, out / "comparison.png", bench.judge.name)


DOMAIN = ComparisonDomain(
    settings_of=distill_settings,
    training=TRAINING,
    open_model=open_model,
    open_writer=open_writer,
    prepare=prepare,
    make=write_cell,
    score=score_cell,
    measure=measure,
    diversity_label=MeanUnigramEntropy.label,
    show=show,
)
"""A comparison of writers of text."""


# How a comparison of writers is shown in the terminal.

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


# The figure of a comparison: judge perplexity over entropy, and over what a sample costs.


def plot_comparison(table: pd.DataFrame, path: Path, judge: str) -> Path | None:
    """Draw a comparison's table.

    Returns:
        `path`, or None where the extra `report` is not installed.
    """
    made = table.dropna(subset=["sampler", "judge_nll"])
    real = table[table["sampler"].isna()]
    references = {
        row["model"]: (row["entropy"], row["judge_perplexity"]) for row in real.to_dict("records")
    }
    try:
        plot_tradeoffs(
            curves_of(made), path, references, Path(judge).name, seconds_label="seconds a sample"
        )
    except UserError:
        return None
    return path


def curves_of(made: pd.DataFrame) -> dict[str, list[MeasuredPoint]]:
    """Points by step count of each model and sampler."""
    curves: dict[str, list[MeasuredPoint]] = {}
    for row in made.sort_values("steps", kind="stable", na_position="last").to_dict("records"):
        nll = Interval(row["judge_nll"], row["judge_nll_low"], row["judge_nll_high"])
        entropy = Interval(row["entropy"], row["entropy_low"], row["entropy_high"])
        seconds = row["seconds_per_sample"]
        curves.setdefault(curve_name(row), []).append(
            MeasuredPoint(
                label=steps_in_words(row),
                perplexity=nll.exp().as_dict(),
                entropy=entropy.as_dict(),
                seconds=Interval(seconds, seconds, seconds).as_dict(),
            )
        )
    return curves
