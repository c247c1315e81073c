"""`didi-text evaluate`: how good a model of text is, by the field's measures.

    didi-text evaluate --model M --task genppl --steps 16 --num 512 --out genppl.json
    didi-text evaluate --model M --task zeroshot --data ptb,lambada --out zeroshot.json
    didi-text evaluate --model M --task bound --data valid.jsonl.gz --out bound.json
    didi-text evaluate --model gpt2 --task choice --data questions.jsonl --out choice.json

From Python: `evaluate(EvaluateOptions(model="gpt2", task="bound", data="valid.txt", out=...))`.
This file imports no torch, so that `--help` is fast; the work is in `didi_text.evaluate_run`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from didi_core.command_options import (
    BatchTokens,
    Device,
    JsonOutput,
    Offline,
    Overwrite,
    Precision,
    Resume,
    Seed,
    command_of,
)

if TYPE_CHECKING:
    from didi_text.evaluate_models import CausalLanguageModel, LanguageModel

TASKS = ("genppl", "zeroshot", "bound", "choice")


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
    grid: Annotated[str, Option(help="exact, or published: the papers' steps + 1 calls.")] = "exact"
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


@dataclass(frozen=True)
class EvaluateResult:
    """What was written."""

    out: Path
    figures: dict[str, Any] = field(repr=False)
    """Contents of the file."""


def evaluate(
    options: EvaluateOptions,
    model: "LanguageModel | None" = None,
    judge: "CausalLanguageModel | None" = None,
) -> EvaluateResult:
    """Measure, and write the figures with everything needed to read them.

    Args:
        model: the one that the options name, where it is open already.
        judge: the same.

    Raises:
        UserError: options without sense, an output that exists, a model or data that cannot be
            opened.
    """
    from didi_text.evaluate_run import run_evaluate

    return run_evaluate(options, model, judge)


def _run_command(options: EvaluateOptions) -> None:
    result = evaluate(options)
    if options.json_output:
        print(result.out.read_text(encoding="utf-8"), end="")
    else:
        from didi_text.evaluate_print import print_figures

        print_figures(result.figures)


evaluate_command = command_of(
    EvaluateOptions, _run_command, "Measure a model of text: samples, likelihood, or choices."
)
