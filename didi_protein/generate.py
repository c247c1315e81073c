"""`didi-protein generate`: designs from a model, as FASTA.

    didi-protein generate --model tiny-student --num 100 --length 80-120 --steps 8 --out d.fasta

From Python: `generate(GenerateOptions(model="tiny-student", num=100, ...))`. This file imports no
torch, so that `--help` is fast; the work is in `didi_core.commands.generation`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from didi_core.command_options import command_of
from didi_core.commands.sampling_options import (
    GenerationResult,
    SamplingOptions,
    report_generation,
)

if TYPE_CHECKING:
    from didi_core.models.folder import LoadedModel


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(SamplingOptions):
    """What `generate` can be asked for; the help of each flag says what it does."""

    model: Annotated[str, Option(help="A bundled name (tiny, tiny-student), a folder or a hub id.")]
    num: Annotated[int, Option(help="Designs to make; with --template, of each template.")]
    out: Annotated[Path, Option(help="FASTA file to write (.fasta, .fa, .faa; or with .gz).")]
    length: Annotated[
        str | None,
        Option(help="Residues: 100, or 50,100,200 in turn, or 80-120 uniform, or from:REF.fasta."),
    ] = None
    template: Annotated[
        str | None,
        Option(help="Residues to keep: ___MKT___ or 10-20:MKT:5-15, or a FASTA or CSV of many."),
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


def generate(options: GenerateOptions, model: "LoadedModel | None" = None) -> GenerateResult | None:
    """Make designs, write the FASTA file and `NAME.generate.json` beside it.

    Args:
        model: the model that `options.model` names, where it is open already.

    Returns:
        What was made; None in all processes of torchrun but the first, which writes it.

    Raises:
        UserError: an option without sense, an output that exists, a model that cannot be opened.
    """
    from didi_core.commands.generation import run_generation
    from didi_protein.designs import Designs

    made = run_generation(Designs(options), model)
    return None if made is None else GenerateResult(**vars(made))


def _run_command(options: GenerateOptions) -> None:
    result = generate(options)
    if result is not None:
        report_generation(result, "design", as_json=options.json_output)


generate_command = command_of(
    GenerateOptions, _run_command, "Make designs with a model and write them as FASTA."
)
