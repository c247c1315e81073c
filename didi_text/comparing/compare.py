"""What `compare` does with text: how samples are made, judged and drawn."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from didi_core.cli.run import print_table
from didi_core.commands.comparing.cells import LIMIT_SAMPLER, Cell, CellRequest, ScoredCell
from didi_core.commands.comparing.compare import Comparison
from didi_core.commands.comparing.options import CompareResult
from didi_core.commands.comparing.study import Study, method_settings, study_of
from didi_core.commands.comparing.sweep import MeasuredSet, Natural, Sweep
from didi_core.commands.comparing.table import (
    as_json,
    print_places,
    printed_table,
    steps_in_words,
    table_of,
)
from didi_core.commands.generating.domain import length_limit
from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import Interval
from didi_core.evaluation.ratio import MeanUnigramEntropy
from didi_core.evaluation.tradeoff_plot import MeasuredPoint, plot_tradeoffs
from didi_core.io.files import write_json
from didi_core.models.folder import LoadedModel
from didi_core.progress import progress_bar
from didi_core.sampling.folder_defaults import PLAIN_SAMPLER
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
from didi_text.models.load import open_model, tokenizer_of
from didi_text.models.writers import open_writer
from didi_text.samples.measures import measure_samples
from didi_text.samples.reference import natural_text, reference_samples, stored_natural
from didi_text.settings import DistillSettings
from didi_text.tokenizers.tokenizer import TextTokenizer

__all__ = ["as_json", "print_result"]


REFERENCE_LABEL = "held-out text"


def run_compare(options: CompareOptions) -> CompareResult:
    """See `didi_text.compare.compare`."""
    return TextComparison(options).run()


class TextComparison(Comparison[CompareOptions]):
    """A comparison of writers."""

    diversity_label = MeanUnigramEntropy.label
    training = TRAINING

    def parse(self) -> Study:
        return study_of(self.options, self.settings_of)

    def settings_of(self, method: str) -> DistillSettings:
        return method_settings(self.options, method, "text_distill", DistillSettings)

    def open_model(self, name: str, device: torch.device, flag: str) -> LoadedModel:
        return open_model(name, device, **self.opening, flag=flag)

    def open_writer(self, name: str, device: torch.device, flag: str) -> LoadedModel:
        return open_writer(name, device, **self.opening, flag=flag)

    def open_judge(self, teacher: LoadedModel) -> None:
        options, limit = self.options, length_limit(teacher)
        self.length = options.length or str(min(limit, JUDGE_TOKENS))
        tokenizer = tokenizer_of(teacher, offline=options.offline)
        name = options.judge or bundled_judge([tokenizer]) or DEFAULT_JUDGE
        self.judge = open_judge(name, self.device, offline=options.offline)
        self.reference, self.known = None, stored_natural(self.judge, tokenizer, self.length)
        if options.reference is not None:
            self.reference = self._reference(tokenizer, limit)

    def _reference(self, tokenizer: TextTokenizer, limit: int) -> dict[str, Any]:
        """The row of real text, at whose entropy curves are compared."""
        options = self.options
        samples = reference_samples(
            str(options.reference),
            tokenizer,
            num=options.num,
            length=self.length,
            limit=limit,
            seed=options.seed,
            offline=options.offline,
        )
        self.known = natural_text(samples.ids or [])
        with progress_bar("Judging held-out text", len(samples.texts)) as show:
            figures = measure_samples(
                samples,
                self.judge,
                batch_tokens=options.batch_tokens,
                seed=options.seed,
                show=show,
            )
        return {"model": REFERENCE_LABEL, "n": figures["num_samples"], **columns_of(figures)}

    def make_and_score(self, cell: Cell, model: LoadedModel) -> ScoredCell:
        return score_cell(cell, self.request, write_cell(cell, self.request, model), self.judge)

    def measure(self, scored: ScoredCell) -> MeasuredSet:
        return measure(scored, self.request)

    def natural(self, baseline: Cell | None) -> Natural | None:
        del baseline  # text is cut to the lengths of samples
        return self.known

    @property
    def request(self) -> CellRequest:
        """What all cells share."""
        options = self.options
        return CellRequest(
            folder=options.out / "samples",
            num=options.num,
            length=self.length,
            seed=options.seed,
            device=options.device,
            top_p=options.top_p,
            batch_tokens=options.batch_tokens,
            precision=options.precision,
            offline=options.offline,
        )

    def finish(self, table: pd.DataFrame, sweep: Sweep) -> tuple[pd.DataFrame, Path | None]:
        del sweep  # its figure stands beside the other
        out = self.options.out
        if self.reference is not None:
            table = table_of([*table.to_dict("records"), self.reference])
        write_json(out / "comparison.json", json.loads(table.to_json(orient="records")))
        return table, plot_comparison(table, out / "comparison.png", self.judge.name)


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
    """Points by step count of each model and sampler; a model's limit ends its ancestral curve."""
    curves: dict[str, list[MeasuredPoint]] = {}
    for row in made.sort_values("steps", kind="stable", na_position="last").to_dict("records"):
        sampler = PLAIN_SAMPLER if row["sampler"] == LIMIT_SAMPLER else row["sampler"]
        name = f"{row['model']}, {sampler}"
        nll = Interval(row["judge_nll"], row["judge_nll_low"], row["judge_nll_high"])
        entropy = Interval(row["entropy"], row["entropy_low"], row["entropy_high"])
        seconds = row["seconds_per_sample"]
        curves.setdefault(name, []).append(
            MeasuredPoint(
                label=steps_in_words(row),
                perplexity=nll.exp().as_dict(),
                entropy=entropy.as_dict(),
                seconds=Interval(seconds, seconds, seconds).as_dict(),
            )
        )
    return curves
