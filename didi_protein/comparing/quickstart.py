"""What `quickstart` does with proteins: its judge and report, and how it is shown."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from didi_core.cli.run import print_table
from didi_core.commands.comparing import quickstart as shared
from didi_core.commands.comparing.compare import Bench
from didi_core.commands.comparing.options import QuickstartResult
from didi_core.commands.comparing.quickstart import (
    QuickstartWords,
    as_json,
    findings,
    plan_settings,
    printed_table,
    request_of,
)
from didi_core.commands.comparing.sweep import Sweep
from didi_core.commands.comparing.table import printed_table as comparison_table
from didi_core.models.folder import LoadedModel
from didi_protein.comparing import compare
from didi_protein.comparing.cells import NOUN, CellRequest
from didi_protein.comparing.families import (
    FAMILY_READING,
    family_headings,
    family_notes,
    open_families,
)
from didi_protein.comparing.options import QuickstartOptions
from didi_protein.models.judges import open_judge
from didi_protein.reporting.write import require_packages, write_report
from didi_protein.scoring.length_bins import row_title, rows_of_lengths
from didi_protein.sequences.lengths import design_lengths
from didi_protein.settings import DistillSettings

__all__ = ["as_json", "print_result"]


def run_quickstart(options: QuickstartOptions) -> QuickstartResult:
    """See `didi_protein.quickstart.quickstart`."""
    return shared.run_quickstart(options, DOMAIN)


def prepare(options: QuickstartOptions, teacher: LoadedModel, device: torch.device) -> Bench:
    """Open the judge; refuse to start where a package that the report needs is missing."""
    del teacher
    require_packages()
    judge = open_judge(options.plan.judge, device, offline=True)
    families = open_families(options.plan.family, seed=options.seed)
    request = replace(request_of(options, NOUN, CellRequest), families=families)
    limit = judge.max_length or sys.maxsize
    lengths = design_lengths(request.length, request.num, request.seed, limit)
    rows = rows_of_lengths(judge.reference_rows or {}, lengths)
    return Bench(request, judge, reference_rows=rows or None)


def show(options: QuickstartOptions, table: pd.DataFrame, bench: Bench, sweep: Sweep) -> Path:
    """Write the report, which is made from the score tables."""
    del table, bench, sweep
    out, title = options.out, f"Quickstart: {options.plan.teacher} and its students"
    return write_report([out / "designs"], out / "report.html", title=title, overwrite=True).out


DOMAIN = replace(
    compare.DOMAIN,
    settings_of=lambda options, _: plan_settings(options, DistillSettings),
    prepare=prepare,
    show=show,
)


# What a quickstart with proteins prints: its table, what it shows, and what to try next.

WORDS = QuickstartWords(
    noun="design",
    unit="residue",
    entropy="pooled_3mer_entropy",
    repeats="mean_repeat_fraction",
    reference_entropy=None,  # pooled entropies grow with the size of the set
    title_of=row_title,
)


READING = """\
Perplexity: of the judge, with its 95% interval; lower reads more like a natural
protein. Entropy: of the 3-mers of all designs together. Repeats: share of the
residues in repeats. A lower perplexity with less entropy or more repeats is no
better model. Calls and Seconds: what one design costs."""


def print_result(result: QuickstartResult) -> None:
    """The table, what it shows, where things are, and what to try next."""
    print_table(printed_table(result, WORDS))
    _print_family(result.table)
    print(
        f"{READING}\n\n{findings(result, WORDS)}\n\n"
        f"Report      {result.report}\n"
        f"Designs     {result.out / 'designs'}\n"
        f"Student     {result.out / 'student'}\n"
        f"This table  {result.comparison}\n\n"
        f"Next, for example:\n{next_commands(result)}"
    )


def _print_family(table: pd.DataFrame) -> None:
    """Print what was counted against the plan's family, where it has one."""
    if columns := family_headings(table):
        print_table(comparison_table(table, {"Calls": ("calls", "{:.1f}"), **columns}))
        print("\n".join([FAMILY_READING, *family_notes(table), ""]))


def next_commands(result: QuickstartResult) -> str:
    """Commands that work as they stand."""
    student = shlex.quote(str(result.out / "student"))
    design = f"  didi-protein generate --model {student} --steps 8"
    return (
        f"{design} --num 100 --length 70-82 --out more.fasta\n"
        "  didi-protein score more.fasta --family PF00595 --pseudo none --out more.csv\n"
        "  didi-protein filter more.csv --top 24 --out best.fasta\n"
        f"{design} --num 9 --template 8-12:GLGF:55-65 --out motif.fasta"
    )
