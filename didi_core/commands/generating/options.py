"""What every `generate` can be asked for, and what it returns. Imports no torch: help is fast."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from typer import Option

from didi_core.cli.command_options import CommonOptions
from didi_core.cli.next_command import show_next
from didi_core.discovery import in_words
from didi_core.errors import RecordsFailed
from didi_core.progress import counted


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(CommonOptions):
    """The flags of both programs; each adds its own, and its own words where they differ."""

    model: Annotated[str, Option(help="A bundled name, a folder or a hub id.")]
    num: Annotated[int, Option(help="Sequences to make; with a template, of each.")]
    out: Annotated[Path, Option(help="File to write.")]
    length: Annotated[str | None, Option(help="Tokens: 100, or 50,100 in turn, or 80-120.")] = None
    steps: Annotated[
        int | None,
        Option(
            help="Denoising steps, one network call each at most. Not for samplers of one call a "
            "token. dplm makes 500 where none are given, and a call more where it redraws repeats."
        ),
    ] = None
    sampler: Annotated[
        str | None,
        Option(
            help=f"{in_words('didi_core.sampling')}. Settings of one "
            "sampler alone may stand in brackets, as in 'rgas(num_candidates=8)'. Default: what "
            "the model's folder names, else ancestral, or the one its kind has."
        ),
    ] = None
    temperature: Annotated[
        float, Option(help="Divides the log-probabilities; 1 is the model's own law.")
    ] = 1.0
    top_p: Annotated[
        float, Option(help="Draw from the fewest tokens with this much probability; 1 is all.")
    ] = 1.0
    unique: Annotated[
        bool,
        Option("--unique", help="Redraw what equals another; at most 5 tries."),
    ] = False
    draws: Annotated[str, Option(help="float64 is exact; float32 only to reproduce papers.")] = (
        "float64"
    )
    grid: Annotated[
        str,
        Option(
            help="exact: at most STEPS calls; published: the papers' STEPS + 1; best: exact, its "
            "steps placed by the model's curve (see headroom), whatever exponent the model names."
        ),
    ] = "exact"
    reveal_exponent: Annotated[
        float | None,
        Option(
            help="alpha = (k / K) ** X after step k of K: above 1, early steps reveal few "
            "positions; 1 is the even grid. Default: what the model was distilled for, else 1."
        ),
    ] = None
    without_noise: Annotated[
        bool,
        Option(
            "--without-noise",
            help="Leave out the noise input of a student that has one, to see what it brings.",
        ),
    ] = False
    without_joint_head: Annotated[
        bool,
        Option(
            "--without-joint-head",
            help="Draw the tokens of a step independently where the model has a joint head.",
        ),
    ] = False
    compile: Annotated[
        bool,
        Option(
            "--compile",
            help="Compile the network first (torch.compile), which takes up to a minute: for GPUs "
            "and large sets. Results differ by rounding.",
        ),
    ] = False
    sampler_option: Annotated[
        list[str] | None,
        Option(
            metavar="NAME=VALUE",
            help="A setting of one sampler alone, as in num_candidates=8 for rgas; may be "
            "repeated.",
        ),
    ] = None
    sampler_options: Mapping[str, object] = field(default_factory=dict)
    """Settings of one sampler alone (Python only)."""
    quiet: bool = False
    """No estimate and no progress bar (Python only)."""
    kept: tuple[float, ...] | None = None
    """Of `grid="best"`: share of tokens kept before the first step and after each. Filled in from
    the model's curve where None (Python only)."""


@dataclass(frozen=True)
class FailedRecord:
    """A record that could not be made as asked."""

    id: str
    reason: str
    tries: int


@dataclass(frozen=True)
class GenerationResult:
    """What was made, and what it cost."""

    out: Path
    summary: Path
    """`NAME.generate.json`, with these figures, the settings and the versions."""
    num_made: int
    """Sequences in the output file."""
    failed: tuple[FailedRecord, ...]
    """Records that are not in it."""
    seconds: float
    """Wall-clock time of sampling, without opening the model; of all parts of a continued run."""
    peak_memory: int | None
    """Most bytes held while sampling, by the last part of a continued run; None where unknown."""
    calls_made: int
    """Network calls, summed over records, redraws included."""
    discriminator_calls: int
    mean_nfe: float | None
    """Network calls a record; None where none was made."""
    redraws: int
    head_passes: int = 0
    """Passes of a joint head, summed over records: of what each step reveals alone."""
    guide_calls: int = 0
    """Sequences that a guide scored, or gradients that it gave, summed over records."""


def report_generation(
    result: GenerationResult, noun: str, *, as_json: bool, following: str | None = None
) -> None:
    """Print what was made.

    Args:
        noun: what a record is called.
        following: the command that comes next.

    Raises:
        RecordsFailed: some could not be made (exit status 1).
    """
    if as_json:
        print(result.summary.read_text(encoding="utf-8"), end="")
    else:
        print(_in_words(result, noun))
        show_next(following)
    if result.failed:
        total = result.num_made + len(result.failed)
        first = f"{result.failed[0].id}: {result.failed[0].reason}"
        raise RecordsFailed(len(result.failed), total, str(result.summary), first)


def _in_words(result: GenerationResult, noun: str) -> str:
    calls = "" if result.mean_nfe is None else f", {result.mean_nfe:.1f} network calls each"
    if result.guide_calls:
        mean = result.guide_calls / (result.num_made + len(result.failed))
        calls += f", {mean:.1f} guide calls each"
    redraws = f", {counted(result.redraws, 'redraw')}" if result.redraws else ""
    made = counted(result.num_made, noun)
    return f"{made} in {result.out}{calls}{redraws}, {result.seconds:.1f} seconds"
