"""What `compare` does with proteins: how they are designed, scored and reported."""

from pathlib import Path
from typing import cast

import pandas as pd
import torch

from didi_core.commands.comparing import Comparison
from didi_core.commands.comparison_cells import Cell, ScoredCell
from didi_core.commands.comparison_frontier import MeasuredSet, Natural, Sweep
from didi_core.commands.comparison_study import Study, method_settings, study_of
from didi_core.commands.distill_settings import DistillSettings as SharedSettings
from didi_core.commands.product import length_limit
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_protein.compare import CompareOptions, CompareResult
from didi_protein.comparison_cells import (
    DIVERSITY,
    CellRequest,
    design_cell,
    measure,
    natural_designs,
    score_cell,
    without_extras,
)
from didi_protein.distill import ProteinDistillRun
from didi_protein.distill_settings import DistillSettings
from didi_protein.judges import open_judge
from didi_protein.lengths import design_lengths
from didi_protein.models import open_model, open_writer
from didi_protein.report import require_packages, write_report


def run_compare(options: CompareOptions) -> CompareResult:
    """See `didi_protein.compare.compare`."""
    return ProteinComparison(options).run()


def parse_study(options: CompareOptions) -> Study:
    """Lists from the flags.

    Raises:
        UserError: every flag that makes no sense, together.
    """
    return study_of(options, lambda method: distill_settings(options, method))


def distill_settings(options: CompareOptions, method: str) -> DistillSettings:
    """Settings of one method, `NAME` or `NAME:PRESET`, as its config files have them."""
    return method_settings(options, method, "distill", DistillSettings)


class ProteinComparison(Comparison[CompareOptions]):
    """A comparison of designers of proteins."""

    diversity_label = DIVERSITY.label

    def parse(self) -> Study:
        return parse_study(self.options)

    def settings_of(self, method: str) -> DistillSettings:
        return distill_settings(self.options, method)

    def open_model(self, name: str, device: torch.device, flag: str) -> LoadedModel:
        return open_model(name, device, **self.opening, flag=flag)

    def open_writer(self, name: str, device: torch.device, flag: str) -> LoadedModel:
        return open_writer(name, device, **self.opening, flag=flag)

    def open_judge(self, teacher: LoadedModel) -> None:
        options = self.options
        self.judge = open_judge(options.judge, self.device, offline=options.offline)
        lengths = design_lengths(options.length, options.num, options.seed, length_limit(teacher))
        limit = self.judge.max_length
        if limit is not None and min(lengths) > limit:
            raise UserError(
                f"--length {options.length}: every design is longer than the {limit} residues that "
                f"--judge {options.judge} reads; give shorter ones, or another judge."
            )

    def distill_run(self, settings: SharedSettings) -> ProteinDistillRun:
        return ProteinDistillRun(cast(DistillSettings, settings))

    def make_and_score(self, cell: Cell, model: LoadedModel) -> ScoredCell:
        request = self.request if cell.temperature == 1 else without_extras(self.request)
        return score_cell(cell, request, design_cell(cell, request, model), self.judge)

    def measure(self, scored: ScoredCell) -> MeasuredSet:
        return measure(scored, self.request)

    def natural(self, baseline: Cell | None) -> Natural | None:
        reference = self.options.reference
        if reference is None or baseline is None:
            return None
        return natural_designs(reference, self.request.path(baseline, ".fasta"), self.options.seed)

    @property
    def request(self) -> CellRequest:
        """What all cells share."""
        options = self.options
        return CellRequest(
            folder=options.out / "designs",
            num=options.num,
            length=options.length,
            seed=options.seed,
            device=options.device,
            top_p=options.top_p,
            batch_tokens=options.batch_tokens,
            precision=options.precision,
            fold=options.fold,
            pdb_dir=None if options.fold == "none" else options.out / "structures",
            reference=options.reference,
            training=options.training,
            offline=options.offline,
        )

    def finish(self, table: pd.DataFrame, sweep: Sweep) -> tuple[pd.DataFrame, Path | None]:
        options, out = self.options, self.options.out
        try:
            require_packages()
        except UserError:
            return table, None
        top_p = "" if options.top_p == 1 else f", top-p {options.top_p:g}"
        page = write_report(
            [out / "designs"],
            out / "report.html",
            title=f"{options.teacher} and its students{top_p}",
            overwrite=True,
            frontiers=sweep.record,
        )
        return table, page.out
