"""What `compare` does with proteins: how they are designed, scored and reported."""

from pathlib import Path

import pandas as pd
import torch

from didi_core.cli.run import print_table
from didi_core.commands.comparing.cells import Cell, ScoredCell
from didi_core.commands.comparing.compare import Comparison
from didi_core.commands.comparing.options import CompareResult
from didi_core.commands.comparing.study import Study, method_settings, study_of
from didi_core.commands.comparing.sweep import MeasuredSet, Natural, Sweep
from didi_core.commands.comparing.table import as_json, print_places, printed_table
from didi_core.commands.generating.domain import length_limit
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_protein.comparing.cells import (
    DIVERSITY,
    CellRequest,
    design_cell,
    measure,
    natural_designs,
    score_cell,
    without_extras,
)
from didi_protein.comparing.options import CompareOptions
from didi_protein.domain import TRAINING
from didi_protein.models.judges import open_judge
from didi_protein.models.load import open_model
from didi_protein.models.writers import open_writer
from didi_protein.report import require_packages, write_report
from didi_protein.sequences.lengths import design_lengths
from didi_protein.settings import DistillSettings

__all__ = ["as_json", "print_result"]


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
    training = TRAINING

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


# How a comparison of designers is shown in the terminal.

READING = """\
Less limit: judge NLL of a model less that of the teacher's limit, nats a residue, with its
95% interval over pairs of designs; of a teacher without limit, less the teacher in as many
steps. Below zero reads more naturally. A lower NLL with less entropy, or with more copies,
is no better model. Calls and Seconds: what one design costs."""

COLUMNS = {
    "Calls": ("calls", "{:.1f}"),
    "Guide": ("discriminator_calls", "{:.1f}"),
    "Judge NLL": ("judge_nll", "{:.3f}"),
    "Less limit": ("nll_minus_limit", "{:+.3f}"),
    "Less teacher": ("nll_minus_teacher", "{:+.3f}"),
    "Equal entropy": ("difference_at_equal_diversity", "{:+.3f}"),
    "Equal n-grams": ("difference_at_equal_ngram_entropy", "{:+.3f}"),
    "Entropy": ("pooled_3mer_entropy", "{:.2f}"),
    "Precision": ("precision", "{:.2f}"),
    "Recall": ("recall", "{:.2f}"),
    "Copies": ("copies", "{:.3f}"),
    "pLDDT": ("mean_plddt", "{:.1f}"),
    "pTM": ("ptm", "{:.2f}"),
    "Foldable": ("foldable_share", "{:.2f}"),
    "Seconds": ("seconds_per_design", "{:.3f}"),
    "Memory MB": ("peak_memory_mb", "{:,.0f}"),
}


def print_result(result: CompareResult, *, folded: bool) -> None:
    """The table, published figures where designs were folded, and where things are."""
    print_table(printed_table(result.table, COLUMNS))
    print(READING)
    if folded:
        print(published_rows())
    print_places(result)


def published_rows() -> str:
    """DPLM's pLDDT, marked as published: other designs, other lengths, all atoms."""
    lengths = " ".join(f"{length:5d}" for length in PUBLISHED_LENGTHS)
    rows = [f"\nPublished, not measured here: ESMFold pLDDT of DPLM, 500 steps\n{'':22s}{lengths}"]
    for model, row in DPLM_PLDDT.items():
        rows.append(f"{model:22s}" + " ".join(f"{plddt:5.1f}" for plddt in row))
    return "\n".join(rows)


# Figures that others published, to stand beside measured ones and marked as published.

PUBLISHED_LENGTHS = tuple(range(100, 1001, 100))
"""Residues of the designs that the rows below are about."""

DPLM_PLDDT = {
    "airkingbd/dplm_150m": (73.3, 84.3, 84.8, 86.9, 81.7, 81.5, 81.6, 80.9, 78.7, 72.1),
    "airkingbd/dplm_650m": (74.0, 85.6, 85.9, 88.2, 82.6, 84.4, 83.9, 83.0, 84.9, 81.5),
    "airkingbd/dplm_3b": (77.8, 86.2, 87.4, 90.1, 87.4, 86.0, 84.6, 85.9, 85.9, 83.9),
}
"""Mean ESMFold pLDDT (0 to 100, all atoms) of DPLM's 500-step sampler at each length [1]_.

.. [1] Wang et al. "Diffusion language models are versatile protein learners", ICML 2024,
   arXiv 2402.18567.
"""
