"""What `report` can be asked for, and what it gives; imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from didi_core.cli.command_options import JsonOutput, Overwrite


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What `report` can be asked for; the help of each flag says what it does."""

    inputs: Annotated[
        list[Path],
        Argument(
            metavar="INPUT ...",
            help="Tables of score (.csv, .parquet, .jsonl), F.rejected.csv of filter, or folders "
            "searched for them.",
        ),
    ]
    out: Annotated[Path, Option(help="Page to write (.html).")]
    title: Annotated[str, Option(help="Heading of the page.")] = "Protein designs"
    top: Annotated[int, Option(help="Best designs to show and to offer as FASTA.")] = 12
    max_repeat: Annotated[
        float, Option(help="Largest repeat fraction of a design among the best, 0 to 1.")
    ] = 0.2
    overwrite: Overwrite = False
    json_output: JsonOutput = False


@dataclass(frozen=True)
class ReportResult:
    """What was written."""

    out: Path
    num_tables: int
    """Score tables read."""
    num_cells: int
    """Rows of the comparison: settings of model, sampler and steps."""
    num_designs: int
    """Designs they rest on, all together."""
