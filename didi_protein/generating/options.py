"""What `generate` can be asked for, and what it gives; imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from didi_core.commands.generating.options import (
    GenerationResult,
    SamplingOptions,
)


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(SamplingOptions):
    """What `generate` can be asked for; the help of each flag says what it does."""

    model: Annotated[str, Option(help="A bundled name (tiny, tiny-student), a folder or a hub id.")]
    num: Annotated[int, Option(help="Designs to make; with --template, of each template.")]
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
    unique: Annotated[
        bool,
        Option("--unique", help="Redraw a design that equals another; at most 5 tries."),
    ] = False
    max_repeat: Annotated[
        float | None,
        Option(help="Redraw a design with a larger repeat fraction (0 to 1); at most 5 tries."),
    ] = None


class GenerateResult(GenerationResult):
    """What was made, and what it cost, in a protein designer's words."""

    @property
    def fasta(self) -> Path:
        return self.out

    @property
    def num_designs(self) -> int:
        """Sequences in the FASTA file."""
        return self.num_made
