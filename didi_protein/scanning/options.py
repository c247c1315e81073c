"""What `scan` can be asked for, and what it gives; imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from didi_core.cli.command_options import (
    BatchTokens,
    Device,
    JsonOutput,
    Offline,
    Overwrite,
    Precision,
    Resume,
    ShardText,
)

if TYPE_CHECKING:
    from didi_protein.scanning.substitutions import SequenceScan


FORMAT = "didi-protein scan summary 1"
"""What the summary of a scan calls itself."""


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """What `scan` can be asked for; the help of each flag says what it does."""

    inputs: Annotated[
        list[str],
        Argument(
            metavar="INPUT ...",
            help="Sequences: FASTA (plain, .gz, - for standard input), PDB or mmCIF, a folder of "
            "them, or a table with --sequence-column.",
        ),
    ]
    model: Annotated[
        str,
        Option(
            help="A masked model: a bundled name (tiny, tiny-student), an ESM-2 name such as "
            "esm2_t12_35M_UR50D, a folder, a hub id."
        ),
    ]
    out: Annotated[Path, Option(help="Table to write, a row each substitution: .csv.")]
    positions: Annotated[
        str | None,
        Option(
            metavar="LIST", help="Positions to change, from 1, as in 12,15,40-50. Default: all."
        ),
    ] = None
    plot: Annotated[
        Path | None,
        Option(
            help="Draw the scores as a heat map: .png, .svg or .pdf; of several sequences a file "
            "each, NAME_ID.png."
        ),
    ] = None
    sequence_column: Annotated[
        str | None,
        Option(metavar="NAME", help="Column that holds the sequences of a CSV or TSV."),
    ] = None
    id_column: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Column that names them. Default: id, where there is one, else the file's name "
            "and the row.",
        ),
    ] = None
    clean: Annotated[
        bool,
        Option(
            "--clean",
            help="Mend lower case, gaps (- and .) and stop signs at the end, then scan.",
        ),
    ] = False
    batch_tokens: BatchTokens = 8192
    device: Device = "auto"
    precision: Precision = "float32"
    shard: ShardText = None
    resume: Resume = False
    overwrite: Overwrite = False
    offline: Offline = False
    json_output: JsonOutput = False
    quiet: bool = False
    """No progress bar (Python only)."""


@dataclass(frozen=True)
class ScanResult:
    """What was written."""

    scans: "dict[str, SequenceScan]" = field(repr=False)
    """By id, in input order; records that could not be scanned are rows of the table alone."""
    summary: dict[str, Any] = field(repr=False)
    """Contents of `NAME.summary.json`."""
    out: Path
    summary_file: Path
    plots: tuple[Path, ...]
    num_records: int
    num_failed: int
    """Records whose status is not ok."""


def is_of_scan(summary: Mapping[str, Any]) -> bool:
    """Return whether a summary is that of a scan."""
    return summary.get("format") == FORMAT
