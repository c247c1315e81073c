"""What `generate` can be asked for, and what it gives; imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from didi_core.commands.generating.options import (
    GenerationResult,
    SamplingOptions,
)

DEFAULT_PREFIX = "design"
"""What ids begin with."""


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(SamplingOptions):
    """What `generate` can be asked for; the help of each flag says what it does."""

    model: Annotated[str, Option(help="A bundled name (tiny, tiny-student), a folder or a hub id.")]
    num: Annotated[
        int, Option(help="Designs to make; with --template or --start, of each template or parent.")
    ]
    out: Annotated[
        Path, Option(help="FASTA to write (.fasta, .fa, .faa, .fas, .fsa; or with .gz).")
    ]
    length: Annotated[
        str | None,
        Option(
            help="Residues: 100, or 50,100,200 in turn, or 80-120 uniform, or from:REF.fasta; the "
            "total where --template or --motif leaves lengths open."
        ),
    ] = None
    template: Annotated[
        str | None,
        Option(
            help="Residues to keep: ___MKT___ or 10-20:MKT:5-15, HE[AL]_H with a choice, or a "
            "FASTA or CSV of many."
        ),
    ] = None
    motif: Annotated[
        str | None,
        Option(
            metavar="F.pdb:SPEC",
            help="Residues of a structure to keep: F.pdb:A57,A102,A163-181 with the gaps between "
            "them, or F.pdb:10-20,A57,30-50,A102 with lengths to fill.",
        ),
    ] = None
    start: Annotated[
        Path | None,
        Option(
            help="FASTA of proteins to redesign, of which --mutate, --vary or --identity says what "
            "to write anew."
        ),
    ] = None
    mutate: Annotated[
        str | None,
        Option(
            metavar="SHARE",
            help="Change this share (20% or 0.2) of the residues of each parent that --keep "
            "leaves, at positions drawn for each design.",
        ),
    ] = None
    vary: Annotated[
        str | None,
        Option(
            metavar="POSITIONS",
            help="Write these positions of each parent anew, as in 12,15,40-50, or the most "
            "tolerant ones, as in tolerant:20 or tolerant:20%; its own residues may come back.",
        ),
    ] = None
    keep: Annotated[
        str | None,
        Option(
            metavar="LETTERS|POSITIONS",
            help="Residues of each parent never to change: C, or 57,102,195.",
        ),
    ] = None
    identity: Annotated[
        str | None,
        Option(
            metavar="LOW-HIGH",
            help="Identity to the parent, as in 0.6-0.8: how many residues change is drawn by it; "
            "with --vary, redraw what is outside, at most 5 tries.",
        ),
    ] = None
    top_p: Annotated[
        float, Option(help="Draw from the fewest residues with this much probability; 1 is all.")
    ] = 1.0
    exclude: Annotated[
        str, Option(metavar="LETTERS", help="Residues never to write, as in CM.")
    ] = ""
    bias: Annotated[
        Path | None,
        Option(help="Nats to add for residues: .csv or .tsv (residue, nats), or .json."),
    ] = None
    guide: Annotated[
        str | None,
        Option(
            metavar="FILE.py:FUNCTION",
            help="Draw towards the score of a function of yours, which takes sequences, or "
            "probabilities where it can be differentiated. The file is run.",
        ),
    ] = None
    guide_scale: Annotated[
        float | None,
        Option(help="Nats that one unit of the score is worth; 0 is no guide. Default: 1."),
    ] = None
    guide_candidates: Annotated[
        int | None,
        Option(help="Candidates of each step that a guide of sequences scores. Default: 4."),
    ] = None
    unique: Annotated[
        bool,
        Option(
            "--unique", help="Redraw a design that equals another or a parent; at most 5 tries."
        ),
    ] = False
    max_repeat: Annotated[
        float | None,
        Option(help="Redraw a design with a larger repeat fraction (0 to 1); at most 5 tries."),
    ] = None
    prefix: Annotated[
        str,
        Option(
            metavar="NAME",
            help="What ids begin with, as in round2_000001: one of its own for each run keeps "
            "designs apart.",
        ),
    ] = DEFAULT_PREFIX


class GenerateResult(GenerationResult):
    """What was made, and what it cost, in a protein designer's words."""

    @property
    def fasta(self) -> Path:
        return self.out

    @property
    def num_designs(self) -> int:
        """Sequences in the FASTA file."""
        return self.num_made
