"""What `evaluate` refuses before it opens anything: values without sense, flags of other tasks."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from didi_core.cli.command_options import (
    BatchTokens,
    Device,
    JsonOutput,
    Offline,
    Overwrite,
    Precision,
    Resume,
    Seed,
)
from didi_core.errors import UserError
from didi_core.number_checks import minimum_errors, seed_errors
from didi_text.samples.options import OtherTokenizer

_SAMPLING = (
    "num", "length", "steps", "sampler", "sampler_option", "top_p", "draws", "grid",
)  # fmt: skip
"""Options of samples that are made here."""


_TASKS_OF = {
    **dict.fromkeys((*_SAMPLING, "judge", "judge_tokens", "mauve"), ("genppl",)),
    **dict.fromkeys(("form", "mask_draws", "limit"), ("zeroshot", "bound", "choice")),
    **dict.fromkeys(("block_length", "remainder"), ("zeroshot", "bound")),
}
"""Options that act in some tasks alone, and in which; all others act in every one."""


_LEAST = {
    **dict.fromkeys(("num", "steps", "judge_tokens", "mask_draws", "block_length", "limit"), 1),
    **dict.fromkeys(("threads", "batch_tokens"), 1),
    "length": 2,
}


_WORDS = {
    "form": (None, "time", "order"),
    "remainder": ("keep", "drop", "published"),
    "draws": ("float64", "float32"),
    "grid": ("exact", "published", "best"),
}


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What `evaluate` can be asked for; the help of each flag says what it does."""

    task: Annotated[
        str,
        Option(
            help="genppl: perplexity of samples under a judge; zeroshot: likelihood on the "
            "zero-shot sets; bound: on a text of yours; choice: multiple choice."
        ),
    ]
    out: Annotated[Path, Option(help="Result file to write, .json.")]
    model: Annotated[
        str | None,
        Option(
            help="Denoiser or Hugging Face causal LM: a folder, a hub id or a bundled name. "
            "Not needed for genppl with --data."
        ),
    ] = None
    tokenizer: OtherTokenizer = None
    data: Annotated[
        str | None,
        Option(
            help="genppl: file of samples; zeroshot: sets, as in ptb,lambada=FILE, or a folder "
            "with their files (default: the published seven); bound: .jsonl or .txt file, plain "
            "or .gz, or lm1b:valid; choice: .jsonl of questions, or harness:TASK,TASK."
        ),
    ] = None
    judge: Annotated[
        str, Option(help="Causal LM that judges samples: a folder, a hub id or a bundled name.")
    ] = "gpt2-large"
    judge_tokens: Annotated[
        int | None,
        Option(
            help="Tokens of a sample that the judge reads. Default: 1024, or as many as it has "
            "positions for."
        ),
    ] = None
    mauve: Annotated[
        Path | None,
        Option(help="Natural texts (.jsonl, .txt) to compare samples with by MAUVE."),
    ] = None
    num: Annotated[int, Option(help="Samples to make.")] = 512
    length: Annotated[
        int | None, Option(help="Tokens of a sample. Default: 1024, or as many as the model reads.")
    ] = None
    steps: Annotated[int | None, Option(help="Denoising steps of the samples.")] = None
    sampler: Annotated[
        str | None, Option(help="Sampler of a masked model; its default is that of generate.")
    ] = None
    sampler_option: Annotated[
        list[str] | None,
        Option(
            metavar="NAME=VALUE",
            help="A setting of one sampler alone, as in generate; may be repeated.",
        ),
    ] = None
    top_p: Annotated[
        float, Option(help="Draw from the fewest tokens with this much probability; 1 is all.")
    ] = 1.0
    draws: Annotated[
        str, Option(help="Precision of draws: float64, or float32 to reproduce papers.")
    ] = "float64"
    grid: Annotated[
        str,
        Option(
            help="exact; published: the papers' steps + 1 calls; best: by the model's curve (see "
            "headroom)."
        ),
    ] = "exact"
    form: Annotated[
        str | None,
        Option(
            help="Estimator of a bound: time (the process's own) or order (any-order, of masked "
            "models alone). Default: order for masked models that are not told the time, else time."
        ),
    ] = None
    mask_draws: Annotated[
        int | None,
        Option(help="Random masks for each text of a bound. Default: 1; for choice 32."),
    ] = None
    block_length: Annotated[
        int | None,
        Option(help="Tokens of a block of text. Default: 1024, or as many as the model reads."),
    ] = None
    remainder: Annotated[
        str,
        Option(
            help="Text that fills no block: keep it as a shorter one, drop it, or published: drop "
            "it every 1,000 documents."
        ),
    ] = "keep"
    limit: Annotated[
        int | None, Option(help="Only the first so many blocks, or questions; the result says so.")
    ] = None
    threads: Annotated[
        int | None, Option(help="Processor threads; all that are available by default.")
    ] = None
    seed: Seed = 0
    batch_tokens: BatchTokens = 8192
    device: Device = "auto"
    precision: Precision = "float32"
    resume: Resume = False
    overwrite: Overwrite = False
    offline: Offline = False
    json_output: JsonOutput = False
    quiet: bool = False
    """No progress bar (Python only)."""


def check_options(options: EvaluateOptions) -> None:
    """Collect what is wrong with single values, and show it together.

    Raises:
        UserError: naming each flag and value.
    """
    wrong = [*_missing(options), *_senseless(options), *_idle(options)]
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    from didi_core.training.devices import check_precision, resolve_device  # torch is slow

    check_precision(options.precision)
    resolve_device(options.device)


def _missing(options: EvaluateOptions) -> Iterator[str]:
    if options.task not in TASKS:
        yield f"--task {options.task} must be one of {', '.join(TASKS)}"
    if options.model is None and not (options.task == "genppl" and options.data):
        yield "--model is missing"
    elif options.model is None and options.tokenizer is not None:
        yield f"--tokenizer {options.tokenizer} is of a --model, and there is none"
    if options.data is None and options.task in ("bound", "choice"):
        yield f"--data is missing: --task {options.task} needs a file"


def _senseless(options: EvaluateOptions) -> Iterator[str]:
    if options.out.suffix != ".json":
        yield f"--out {options.out} must end in .json"
    yield from minimum_errors(options, **_LEAST)
    for name, choices in _WORDS.items():
        if getattr(options, name) not in choices:
            yield f"{_given(options, name)} must be {' or '.join(filter(None, choices))}"
    if not 0 < options.top_p <= 1:
        yield f"--top-p {options.top_p:g} must be above 0 and at most 1"
    yield from seed_errors(options.seed)


def _idle(options: EvaluateOptions) -> Iterator[str]:
    """Flags that would not act: of another task, or of samples that are made already."""
    if options.task not in TASKS:
        return
    for name, tasks in _TASKS_OF.items():
        if options.task not in tasks and _is_given(options, name):
            yield f"{_given(options, name)} needs --task {' or '.join(tasks)}"
    made_already = options.task == "genppl" and options.data is not None
    sampling = [_given(options, name) for name in _SAMPLING if _is_given(options, name)]
    if made_already and sampling:
        yield f"{', '.join(sampling)}: the samples of --data are made already"


def _is_given(options: EvaluateOptions, name: str) -> bool:
    return getattr(options, name) not in (getattr(EvaluateOptions, name), [])


def _given(options: EvaluateOptions, name: str) -> str:
    """The flag as it was given.

    >>> from pathlib import Path
    >>> options = EvaluateOptions(task="bound", out=Path("o.json"), sampler_option=["eta=1", "a=b"])
    >>> _given(options, "sampler_option"), _given(options, "top_p")
    ('--sampler-option eta=1 a=b', '--top-p 1')
    """
    value = getattr(options, name)
    if isinstance(value, list):
        value = " ".join(value)
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"--{name.replace('_', '-')} {shown}"


TASKS = ("genppl", "zeroshot", "bound", "choice")


@dataclass(frozen=True)
class EvaluateResult:
    """What was written."""

    out: Path
    figures: dict[str, Any] = field(repr=False)
    """Contents of the file."""
