"""What `compare` does with proteins: how they are designed, scored and reported."""

from pathlib import Path

import pandas as pd
import torch

from didi_core.cli.run import print_table
from didi_core.commands.comparing.cells import Cell
from didi_core.commands.comparing.compare import Bench, ComparisonDomain, run_comparison
from didi_core.commands.comparing.options import CompareResult
from didi_core.commands.comparing.study import method_settings
from didi_core.commands.comparing.sweep import Natural, Sweep
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
)
from didi_protein.comparing.families import (
    FAMILY_READING,
    family_headings,
    family_notes,
    open_families,
)
from didi_protein.comparing.options import CompareOptions
from didi_protein.domain import TRAINING
from didi_protein.models.judges import open_judge
from didi_protein.models.load import open_model
from didi_protein.models.writers import open_writer
from didi_protein.reporting.write import require_packages, write_report
from didi_protein.sequences.lengths import design_lengths
from didi_protein.settings import DistillSettings

__all__ = ["as_json", "print_result"]


def run_compare(options: CompareOptions) -> CompareResult:
    """See `didi_protein.compare.compare`."""
    return run_comparison(options, DOMAIN)


def distill_settings(options: CompareOptions, method: str) -> DistillSettings:
    """Settings of one method, `NAME` or `NAME:PRESET`, as its config files have them."""
    return method_settings(options, method, "distill", DistillSettings)


def prepare(options: CompareOptions, teacher: LoadedModel, device: torch.device) -> Bench:
    """Open the judge.

    Raises:
        UserError: there is none, or every design is longer than it reads.
    """
    judge = open_judge(options.judge, device, offline=options.offline)
    lengths = design_lengths(options.length, options.num, options.seed, length_limit(teacher))
    if judge.max_length is not None and min(lengths) > judge.max_length:
        raise UserError(
            f"--length {options.length}: every design is longer than the {judge.max_length} "
            f"residues that --judge {options.judge} reads; give shorter ones, or another judge."
        )
    request = CellRequest.of(
        options,
        options.out / "designs",
        options.length,
        fold=options.fold,
        pdb_dir=None if options.fold == "none" else options.out / "structures",
        reference=options.reference,
        training=options.training,
        families=open_families(options.family, options.contacts, options.seed),
    )

    def natural(baseline: Cell) -> Natural | None:
        if options.reference is None:
            return None
        designs = request.path(baseline, ".fasta")
        return natural_designs(options.reference, designs, options.seed)

    return Bench(request, judge, natural)


def show(options: CompareOptions, table: pd.DataFrame, bench: Bench, sweep: Sweep) -> Path | None:
    """Write the report, which is made from the score tables."""
    del table, bench
    try:
        require_packages()
    except UserError:
        return None
    top_p = "" if options.top_p == 1 else f", top-p {options.top_p:g}"
    page = write_report(
        [options.out / "designs"],
        options.out / "report.html",
        title=f"{options.teacher} and its students{top_p}",
        overwrite=True,
        frontiers=sweep.record,
    )
    return page.out


DOMAIN = ComparisonDomain(
    settings_of=distill_settings,
    training=TRAINING,
    open_model=open_model,
    open_writer=open_writer,
    prepare=prepare,
    make=design_cell,
    score=score_cell,
    measure=measure,
    diversity_label=DIVERSITY.label,
    show=show,
    notes=family_notes,
)
"""A comparison of designers of proteins."""


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
    families = family_headings(result.table)
    print_table(printed_table(result.table, COLUMNS | families))
    print(READING)
    if families:
        print(FAMILY_READING)
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
