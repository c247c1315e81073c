"""`didi-protein generate`: designs from a model, as FASTA.

    didi-protein generate --model tiny-student --num 100 --length 80-120 --steps 8 --out d.fasta

From Python: `generate(GenerateOptions(model="tiny-student", num=100, ...))`. This file imports no
torch, so that `--help` is fast; the work is in `didi_protein.generate_run`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from didi_core.command_options import CommonOptions, command_of
from didi_core.errors import RecordsFailed

if TYPE_CHECKING:
    from didi_core.models.folder import LoadedModel


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(CommonOptions):
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
    steps: Annotated[
        int | None,
        Option(
            help="Denoising steps, one network call each at most. Not for first-hitting. dplm "
            "makes 500 where none are given, and a call more where it redraws repeats."
        ),
    ] = None
    sampler: Annotated[
        str,
        Option(
            help="ancestral; first-hitting (one call a token: the model's limit); rgas (guided by "
            "the discriminator of a method=didi student); dplm (DPLM's own)."
        ),
    ] = "ancestral"
    temperature: Annotated[
        float, Option(help="Divides the log-probabilities; 1 is the model's own law.")
    ] = 1.0
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
    draws: Annotated[str, Option(help="float64 is exact; float32 only to reproduce papers.")] = (
        "float64"
    )
    grid: Annotated[
        str, Option(help="exact: at most STEPS calls; published: the papers' STEPS + 1.")
    ] = "exact"
    reveal_exponent: Annotated[
        float | None,
        Option(
            help="alpha = (k / K) ** X after step k of K: above 1, early steps reveal few "
            "positions; 1 is the even grid. Default: what the model was distilled for, else 1."
        ),
    ] = None
    sampler_options: Mapping[str, object] = field(default_factory=dict)
    """Settings of one sampler alone (Python only)."""
    quiet: bool = False
    """No estimate and no progress bar (Python only)."""


@dataclass(frozen=True)
class FailedDesign:
    """A design that could not be made as asked."""

    id: str
    reason: str
    tries: int


@dataclass(frozen=True)
class GenerateResult:
    """What was made, and what it cost."""

    fasta: Path
    summary: Path
    """`NAME.generate.json`, with these figures, the settings and the versions."""
    num_designs: int
    """Sequences in the FASTA file."""
    failed: tuple[FailedDesign, ...]
    """Designs that are not in it."""
    seconds: float
    """Wall-clock time of sampling, without opening the model; of all parts of a continued run."""
    peak_memory: int | None
    """Most bytes held while sampling, by the last part of a continued run; None where unknown."""
    calls_made: int
    """Network calls, summed over designs, redraws included."""
    discriminator_calls: int
    mean_nfe: float | None
    """Network calls a design; None without designs."""
    redraws: int


def generate(options: GenerateOptions, model: "LoadedModel | None" = None) -> GenerateResult:
    """Make designs, write the FASTA file and `NAME.generate.json` beside it.

    Args:
        model: the model that `options.model` names, where it is open already.

    Raises:
        UserError: an option without sense, an output that exists, a model that cannot be opened.
    """
    from didi_protein.generate_run import run_generate

    return run_generate(options, model)


def _run_command(options: GenerateOptions) -> None:
    result = generate(options)
    if options.json_output:
        print(result.summary.read_text(encoding="utf-8"), end="")
    else:
        print(_in_words(result))
    if result.failed:
        num_records = result.num_designs + len(result.failed)
        raise RecordsFailed(len(result.failed), num_records, str(result.summary))


def _in_words(result: GenerateResult) -> str:
    calls = "" if result.mean_nfe is None else f", {result.mean_nfe:.1f} network calls each"
    redraws = f", {result.redraws:,} redraws" if result.redraws else ""
    return (
        f"{result.num_designs:,} designs in {result.fasta}{calls}{redraws}, "
        f"{result.seconds:.1f} seconds"
    )


generate_command = command_of(
    GenerateOptions, _run_command, "Make designs with a model and write them as FASTA."
)
