"""What `quickstart` does with text: how samples are made, judged and drawn."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from didi_core.commands.comparison_cells import Cell, CellRequest, ScoredCell
from didi_core.commands.quickstarting import Quickstart
from didi_core.commands.sampling_options import GenerationResult
from didi_core.models.causal_folder import read_reference_rows
from didi_core.models.folder import LoadedModel
from didi_core.models.named import find_model
from didi_text.comparison_cells import NOUN, score_cell, write_cell
from didi_text.comparison_plot import plot_comparison
from didi_text.distill import distill
from didi_text.distill_settings import DistillSettings
from didi_text.evaluate_models import BUNDLED_MODELS
from didi_text.judges import open_judge
from didi_text.models import open_model
from didi_text.quickstart import QuickstartOptions, QuickstartResult


def run_quickstart(options: QuickstartOptions) -> QuickstartResult:
    """See `didi_text.quickstart.quickstart`."""
    return TextQuickstart(options).run()


class TextQuickstart(Quickstart[QuickstartOptions, CellRequest]):
    """A quickstart with text."""

    noun = NOUN
    request_class = CellRequest

    def open_model(self, name: str | Path, device: torch.device) -> LoadedModel:
        return open_model(name, device, offline=True)

    def open_judge(self, name: str, device: torch.device) -> dict[str, Any] | None:
        self.judge = open_judge(name, device, offline=True)
        return read_reference_rows(find_model(BUNDLED_MODELS, name, offline=True))

    def distill(self, settings: dict[str, Any]) -> None:
        distill(DistillSettings(**settings))

    def make_cell(self, cell: Cell, request: CellRequest, model: LoadedModel) -> GenerationResult:
        return write_cell(cell, request, model)

    def score_cell(self, cell: Cell, request: CellRequest, made: GenerationResult) -> ScoredCell:
        return score_cell(cell, request, made, self.judge)

    def write_report(self, table: pd.DataFrame) -> Path | None:
        return plot_comparison(table, self.options.out / "comparison.png", self.judge.name)
