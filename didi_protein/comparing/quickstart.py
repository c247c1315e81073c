"""What `quickstart` does with proteins: how they are designed, scored and reported."""

import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from didi_core.cli.run import print_table
from didi_core.commands.comparing.cells import Cell, ScoredCell
from didi_core.commands.comparing.options import QuickstartResult
from didi_core.commands.comparing.quickstart import (
    Quickstart,
    QuickstartWords,
    as_json,
    findings,
    printed_table,
)
from didi_core.commands.generating.options import GenerationResult
from didi_core.models.folder import LoadedModel
from didi_protein.comparing.cells import CellRequest, design_cell, score_cell
from didi_protein.comparing.options import QuickstartOptions
from didi_protein.distill import distill
from didi_protein.generating.options import GenerateResult
from didi_protein.models.judges import open_judge
from didi_protein.models.load import open_model
from didi_protein.report import require_packages, write_report
from didi_protein.settings import DistillSettings

__all__ = ["as_json", "print_result"]


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


# What a quickstart with proteins prints: its table, what it shows, and what to try next.

WORDS = QuickstartWords(
    noun="design",
    unit="residue",
    entropy="pooled_3mer_entropy",
    repeats="mean_repeat_fraction",
    reference_entropy=None,  # pooled entropies grow with the size of the set
)


READING = """\
Perplexity: of the judge, with its 95% interval; lower reads more like a natural
protein. Entropy: of the 3-mers of all designs together. Repeats: share of the
residues in repeats. A lower perplexity with less entropy or more repeats is no
better model. Calls and Seconds: what one design costs."""


def print_result(result: QuickstartResult) -> None:
    """The table, what it shows, where things are, and what to try next."""
    print_table(printed_table(result, WORDS))
    print(
        f"{READING}\n\n{findings(result, WORDS)}\n\n"
        f"Report      {result.report}\n"
        f"Designs     {result.out / 'designs'}\n"
        f"Student     {result.out / 'student'}\n"
        f"This table  {result.comparison}\n\n"
        f"Next, for example:\n{next_commands(result)}"
    )


def next_commands(result: QuickstartResult) -> str:
    """Commands that work as they stand."""
    student = shlex.quote(str(result.out / "student"))
    design = f"  didi-protein generate --model {student} --steps 8"
    return (
        f"{design} --num 100 --length 80-120 --out more.fasta\n"
        f"{design} --num 9 --template 20:HE__H:60 --out motif.fasta\n"
        "  didi-protein score more.fasta --pseudo none --out more.csv"
    )
