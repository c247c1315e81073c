"""What `quickstart` does with proteins: how they are designed, scored and reported."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from didi_core.commands.comparison_cells import Cell, ScoredCell
from didi_core.commands.quickstarting import Quickstart
from didi_core.commands.sampling_options import GenerationResult
from didi_core.models.folder import LoadedModel
from didi_protein.comparison_cells import CellRequest, design_cell, score_cell
from didi_protein.distill import distill
from didi_protein.distill_settings import DistillSettings
from didi_protein.generate import GenerateResult
from didi_protein.judges import open_judge
from didi_protein.models import open_model
from didi_protein.quickstart import QuickstartOptions, QuickstartResult
from didi_protein.report import require_packages, write_report


def run_quickstart(options: QuickstartOptions) -> QuickstartResult:
    """See `didi_protein.quickstart.quickstart`."""
    return ProteinQuickstart(options).run()


class ProteinQuickstart(Quickstart[QuickstartOptions, CellRequest]):
    """A quickstart with proteins."""

    noun = "design"
    request_class = CellRequest

    def check_packages(self) -> None:
        require_packages()

    def open_model(self, name: str | Path, device: torch.device) -> LoadedModel:
        return open_model(name, device)

    def open_judge(self, name: str, device: torch.device) -> dict[str, Any] | None:
        self.judge = open_judge(name, device)
        return self.judge.reference_rows

    def distill(self, settings: dict[str, Any]) -> None:
        distill(DistillSettings(**settings))

    def make_cell(self, cell: Cell, request: CellRequest, model: LoadedModel) -> GenerateResult:
        return design_cell(cell, request, model)

    def score_cell(self, cell: Cell, request: CellRequest, made: GenerationResult) -> ScoredCell:
        return score_cell(cell, request, made, self.judge)

    def write_report(self, table: pd.DataFrame) -> Path:
        del table  # the page is made from the score tables
        out = self.options.out
        title = f"Quickstart: {self.options.plan.teacher} and its students"
        page = write_report([out / "designs"], out / "report.html", title=title, overwrite=True)
        return page.out
