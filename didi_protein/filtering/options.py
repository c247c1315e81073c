"""What `filter` can be asked for, and what it gives; imports no torch."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from didi_core.cli.command_options import JsonOutput, Overwrite
from didi_protein.scoring.columns import COLUMN

if TYPE_CHECKING:
    import pandas as pd


def _bound(name: str) -> str:
    """Return the help of the flag that bounds a column."""
    column = COLUMN[name]
    least = "Least" if column.filter_flag.startswith("--min-") else "Largest"
    return f"{least} {name}, {column.range_and_unit}."


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """What `filter` can be asked for; the help of each flag says what it does."""

    table: Annotated[
        Path, Argument(metavar="F.csv", help="Table that score wrote: .csv, .parquet or .jsonl.")
    ]
    out: Annotated[
        Path,
        Option(help="FASTA to write, best first (.fasta, .fa, .faa, .fas, .fsa; or with .gz)."),
    ]
    min_plddt: Annotated[float | None, Option(help=_bound("mean_plddt"))] = None
    min_ptm: Annotated[float | None, Option(help=_bound("ptm"))] = None
    max_pae: Annotated[float | None, Option(help=_bound("mean_pae"))] = None
    foldable: Annotated[
        bool, Option("--foldable", help="Only designs that pass the folding rule of score.")
    ] = False
    max_judge_perplexity: Annotated[float | None, Option(help=_bound("judge_perplexity"))] = None
    max_repeat: Annotated[float | None, Option(help=_bound("repeat_fraction"))] = None
    max_identity: Annotated[
        float | None,
        Option(help="Largest identity to a natural sequence of score --reference, 0 to 1."),
    ] = None
    copies: Annotated[
        str,
        Option(
            metavar="drop|keep",
            help="Copies of training sequences: of 0.95 or more in training_identity, else in "
            "training_identity_estimate.",
        ),
    ] = "drop"
    minimum: Annotated[
        list[str] | None,
        Option("--min", metavar="COLUMN=X", help="Least value of any column; may be repeated."),
    ] = None
    maximum: Annotated[
        list[str] | None,
        Option("--max", metavar="COLUMN=X", help="Largest value of any column; may be repeated."),
    ] = None
    developability: Annotated[
        bool,
        Option(
            "--developability",
            help="Count cysteines, glycosylation sites and other motifs, as columns of "
            ".selected.csv; --min, --max and --sort-by know them without this flag.",
        ),
    ] = False
    one_per: Annotated[
        str | None,
        Option(
            metavar="COLUMN",
            help="Only the best design of each value of a column: cluster (by sequence) or "
            "structure_cluster.",
        ),
    ] = None
    max_similarity: Annotated[
        float | None,
        Option(help="Largest identity to a better design that is kept, 0 to 1 (MMseqs2)."),
    ] = None
    top: Annotated[int | None, Option(help="Keep at most this many designs, the best.")] = None
    sort_by: Annotated[
        str | None,
        Option(
            metavar="COLUMN",
            help="What is best: columns joined by commas, each with :highest or :lowest where "
            "that is not plain. Default: mean_plddt, else judge_perplexity, where the judge knows "
            "such proteins, else family_bits or pseudo_perplexity.",
        ),
    ] = None
    overwrite: Overwrite = False
    json_output: JsonOutput = False


@dataclass(frozen=True)
class FilterResult:
    """What was kept and what was not."""

    selected: "pd.DataFrame"
    """Rows of the designs kept, best first, with the column `rank` and any that were counted."""
    rejected: "pd.DataFrame"
    """One row a reason: id, filter, column, value, threshold, reason."""
    funnel: "list[FunnelStep]"
    summary: dict[str, Any]
    """Contents of `F.filter.json`."""
    out: Path


@dataclass(frozen=True)
class FunnelStep:
    """What one filter did."""

    filter: str
    column: str
    threshold: str
    rejected_alone: int
    """Rejected of all scored designs, had it been the only filter."""
    rejected_in_sequence: int
    """Rejected of those that passed every filter before it."""
    left: int
    """Designs that passed it and every filter before it."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
