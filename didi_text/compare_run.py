"""What `compare` does with text: how samples are made, judged and drawn."""

import json
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch

from didi_core.commands.comparing import Comparison
from didi_core.commands.comparison_cells import Cell, CellRequest, ScoredCell
from didi_core.commands.comparison_frontier import MeasuredSet, Natural, Sweep
from didi_core.commands.comparison_study import Study, method_settings, study_of
from didi_core.commands.comparison_table import table_of
from didi_core.commands.distill_settings import DistillSettings as SharedSettings
from didi_core.commands.product import length_limit
from didi_core.evaluation.ratio import MeanUnigramEntropy
from didi_core.files import write_json
from didi_core.models.folder import LoadedModel
from didi_core.progress import progress_bar
from didi_text.compare import CompareOptions, CompareResult
from didi_text.comparison_cells import columns_of, measure, score_cell, write_cell
from didi_text.comparison_plot import plot_comparison
from didi_text.distill import TextDistillRun
from didi_text.distill_settings import DistillSettings
from didi_text.judges import DEFAULT_JUDGE, JUDGE_TOKENS, bundled_judge, open_judge
from didi_text.models import open_model, open_writer, tokenizer_of
from didi_text.reference_text import natural_text, reference_samples, stored_natural
from didi_text.sample_measures import measure_samples
from didi_text.tokenizer import TextTokenizer

REFERENCE_LABEL = "held-out text"


def run_compare(options: CompareOptions) -> CompareResult:
    """See `didi_text.compare.compare`."""
    return TextComparison(options).run()


class TextComparison(Comparison[CompareOptions]):
    """A comparison of writers."""

    diversity_label = MeanUnigramEntropy.label

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

    def distill_run(self, settings: SharedSettings) -> TextDistillRun:
        return TextDistillRun(cast(DistillSettings, settings))

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
