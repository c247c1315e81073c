"""What `score` can be asked for, and what it gives; imports no torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from didi_core.cli.command_options import CommonOptions

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(CommonOptions):
    """What `score` can be asked for; the help of each flag says what it does."""

    inputs: Annotated[
        list[str],
        Argument(
            metavar="INPUT ...",
            help="FASTA (plain, .gz, - for standard input), PDB or mmCIF, a folder of them, an "
            "output folder of ColabFold, Boltz, Chai or AlphaFold 3, or a table with "
            "--sequence-column.",
        ),
    ]
    out: Annotated[Path, Option(help="Table to write: .csv, .parquet or .jsonl.")]
    judge: Annotated[
        str, Option(help="Autoregressive judge: tiny-judge, a folder, a hub id, or none.")
    ] = "tiny-judge"
    pseudo: Annotated[
        str,
        Option(
            help="Masked model for pseudo-perplexity, one network call a residue: tiny, an ESM-2 "
            "or ESMC (esm2_t12_35M_UR50D, esmc_300m), a folder, a hub id, or none."
        ),
    ] = "tiny"
    embedding: Annotated[
        str,
        Option(
            help="Masked model in whose hidden states the set is held against --reference (Frechet "
            "distance, MMD, density, coverage): as --pseudo; none for no such figures."
        ),
    ] = "tiny"
    fold: Annotated[
        str,
        Option(
            help="Folding model: esmfold, esmfold2, esmfold2-fast, a folder or hub id of such a "
            "layout, or none."
        ),
    ] = "none"
    top: Annotated[
        int | None,
        Option(
            help="Fold the likeliest first (by the judge, else by --pseudo, else as they stand), "
            "and no more once this many are foldable; needs --fold. Default: all are folded, the "
            "likeliest batch first."
        ),
    ] = None
    pdb_dir: Annotated[
        Path | None, Option(help="Folder for predicted structures, a PDB each; needs --fold.")
    ] = None
    per_residue: Annotated[
        Path | None, Option(help="Folder for confidence by residue, a CSV each; needs --fold.")
    ] = None
    fold_recycles: Annotated[
        int | None, Option(help="Passes after the first. Default: the model's (3 for ESMFold).")
    ] = None
    fold_samples: Annotated[
        int | None,
        Option(
            help="Structures drawn of each sequence, of which the one of highest pTM is taken; of "
            "ESMFold2, which draws them. Default: the model's."
        ),
    ] = None
    fold_seed: Annotated[int, Option(help="Of those draws, keyed by sequence.")] = 0
    fold_chunk_size: Annotated[
        int | None,
        Option(
            help="Most rows of residue pairs expanded at once: fewer need less memory and change "
            "no result. Default: as many as suit the device, fewer when memory runs out."
        ),
    ] = None
    fold_pairs: Annotated[
        int | None,
        Option(
            help="Most residue pairs folded at once: sequences times padded length squared. "
            "Default: 524288 on a GPU, 65536 on a CPU."
        ),
    ] = None
    fold_precision: Annotated[
        str,
        Option(
            help="Of the folding model's language-model half: float32, fp16, bf16, or auto (on a "
            "GPU fp16 of ESMFold and bf16 of ESMFold2, float32 on a CPU). The rest is float32."
        ),
    ] = "auto"
    foldable_plddt: Annotated[
        float, Option(help="foldable asks for a mean pLDDT above this, 0 to 100.")
    ] = 80.0
    foldable_ptm: Annotated[float, Option(help="And for a pTM above this, 0 to 1.")] = 0.7
    foldable_pae: Annotated[float, Option(help="And for a mean PAE below this, in angstrom.")] = (
        10.0
    )
    motif: Annotated[
        Path | None,
        Option(
            metavar="F.pdb",
            help="Structure that the motif of the designs was cut from: how well each keeps it "
            "(generate --motif), and up to 64 with their other residues shuffled; needs --fold or "
            "structures.",
        ),
    ] = None
    reference: Annotated[
        Path | None,
        Option(
            help="FASTA of natural sequences, or a folder of structures: nearest neighbours, "
            "precision and recall; of structures (with Foldseek) the highest TM-score too."
        ),
    ] = None
    training: Annotated[
        Path | None,
        Option(
            help="FASTA of the model's training sequences (or families, PF00595, PF13354, which "
            "ship here): how near each sequence comes to one, and copies. Default: what the model "
            "in the header says it was trained on; none looks for no copies."
        ),
    ] = None
    family: Annotated[
        Path | None,
        Option(
            help="Alignment of a protein family (FASTA, A2M, A3M, Stockholm), or its profile "
            "(.hmm), or one that ships here (PF00595, PF13354): how each sequence fits it, and of "
            "an alignment the set counted against it."
        ),
    ] = None
    contacts: Annotated[
        Path | None,
        Option(
            help="Table of distances between the columns of --family, in angstrom; one that "
            "ships here has its own."
        ),
    ] = None
    sequence_column: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Column that holds the sequences of a CSV or TSV; commas, semicolons or tabs.",
        ),
    ] = None
    id_column: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Column that names them. Default: id, where there is one, else the file's name "
            "and the row.",
        ),
    ] = None
    all_models: Annotated[
        bool,
        Option(
            "--all-models",
            help="Of output folders of predictors: every model of a design, not the best alone.",
        ),
    ] = False
    clean: Annotated[
        bool,
        Option(
            "--clean",
            help="Mend lower case, gaps (- and .) and stop signs at the end, then score.",
        ),
    ] = False
    tm_pairs: Annotated[
        int,
        Option(help="Most pairs of structures compared for the mean pairwise TM-score; 0: none."),
    ] = 500
    max_length: Annotated[
        int | None, Option(help="Residues; longer sequences are too_long. Default: the models'.")
    ] = None
    threads: Annotated[
        int | None, Option(help="Processor threads; all that are available by default.")
    ] = None
    quiet: bool = False
    """No progress bar (Python only)."""


@dataclass(frozen=True)
class ScoreResult:
    """What was written."""

    table: "pd.DataFrame"
    """The rows, in the columns of the file."""
    summary: dict[str, Any] = field(repr=False)
    """Contents of `NAME.summary.json`."""
    out: Path
    summary_file: Path
    num_failed: int
    """Rows whose status is not ok."""
