"""What `order` can be asked for, and what it gives; imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from didi_core.cli.command_options import JsonOutput, Overwrite, Seed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class OrderOptions:
    """What `order` can be asked for; the help of each flag says what it does."""

    inputs: Annotated[
        list[str],
        Argument(
            metavar="INPUT ...",
            help="FASTA (plain, .gz, - for standard input), or a table of score or filter.",
        ),
    ]
    out: Annotated[
        Path, Option(help="CSV to upload; beside it F.designs.csv, a row for every design.")
    ]
    host: Annotated[
        str, Option(metavar="NAME", help="What expresses it: ecoli, yeast, human or cho.")
    ] = "ecoli"
    codons: Annotated[
        str,
        Option(
            metavar="match|best",
            help="Codons as often as the host uses them, or always its most frequent one.",
        ),
    ] = "match"
    min_codon_usage: Annotated[
        float,
        Option(help="Leave out codons that the host uses for less than this share, 0 to 1."),
    ] = 0.1
    avoid: Annotated[
        str | None,
        Option(
            metavar="SITES",
            help="Sites kept out of both strands, joined by commas: enzymes (BsaI,EcoRI) or bases "
            "(GGTCTC, CCWGG).",
        ),
    ] = None
    gc: Annotated[
        str,
        Option(metavar="LOW-HIGH", help="Percent of G and C in each window and in the whole."),
    ] = "30-70"
    gc_window: Annotated[int, Option(help="Length of those windows, in bases.")] = 50
    max_homopolymer: Annotated[int, Option(help="Longest run of one base.")] = 5
    no_start: Annotated[
        bool,
        Option("--no-start", help="Put no methionine in front of what does not begin with one."),
    ] = False
    stop: Annotated[
        str,
        Option(
            metavar="CODONS",
            help="Stop codons at the end, as in TAA or TAATGA; auto: the host's most frequent; "
            "none.",
        ),
    ] = "auto"
    n_tag: Annotated[
        str | None,
        Option(
            metavar="PARTS",
            help="In front of each design: His6, TEV and the like, or residues, joined by +, as "
            "in His6+GSS+TEV.",
        ),
    ] = None
    c_tag: Annotated[
        str | None, Option(metavar="PARTS", help="Behind each design, likewise: G4S+StrepII.")
    ] = None
    flank5: Annotated[
        str | None, Option("--flank5", metavar="BASES", help="DNA in front, kept as it is.")
    ] = None
    flank3: Annotated[
        str | None, Option("--flank3", metavar="BASES", help="DNA behind, kept as it is.")
    ] = None
    plate: Annotated[
        int | None, Option(metavar="96|384", help="Put designs in the wells of plates.")
    ] = None
    fill: Annotated[
        str, Option(metavar="rows|columns", help="Wells in the order A1, A2, ... or A1, B1, ...")
    ] = "rows"
    vendor: Annotated[
        str,
        Option(
            metavar="any|idt",
            help="Columns of the CSV: Name, Sequence, Plate, Well; or IDT's plate sheet, a file "
            "a plate.",
        ),
    ] = "any"
    prefix_files: Annotated[
        bool,
        Option(
            "--prefix-files",
            help="Put the name of its file before each id, where files share ids.",
        ),
    ] = False
    clean: Annotated[
        bool,
        Option(
            "--clean",
            help="Mend lower case, gaps (- and .) and stop signs at the end first.",
        ),
    ] = False
    seed: Seed = 0
    overwrite: Overwrite = False
    json_output: JsonOutput = False


@dataclass(frozen=True)
class OrderResult:
    """What was written."""

    table: "pd.DataFrame"
    """One row for every design, in input order: the contents of `F.designs.csv`."""
    summary: dict[str, Any]
    """Contents of `F.order.json`."""
    uploads: tuple[Path, ...]
    """What a vendor takes: one file, or one a plate."""
    designs_file: Path
    num_failed: int
    """Rows whose status is not ok."""
