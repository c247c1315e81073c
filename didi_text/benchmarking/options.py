"""What `benchmark` can be asked for, and what it gives; imports no torch."""

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


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What `benchmark` can be asked for; the help of each flag says what it does."""

    models: Annotated[
        str,
        Option(
            help="Denoisers: bundled names, folders or hub ids, with another sampler than the "
            "plain one (ancestral, of score models analytic) where wanted: "
            "'teacher,student,student:psi(eta=0.02)'; student:own is what its folder names."
        ),
    ]
    out: Annotated[Path, Option(help="Folder for table, figure, cells and samples.")]
    steps: Annotated[
        str,
        Option(help="Denoising steps; limit is one call a token, the model's own law."),
    ] = "8,16,32,limit"
    temperatures: Annotated[
        str,
        Option(
            help="Sampling temperatures of every cell, as in 0.8,0.9,1: compares cells at "
            "equal entropy. 1 is always among them, and alone it is timed."
        ),
    ] = "1"
    tokenizer: Annotated[
        str | None,
        Option(
            help="Tokenizer of all --models, and of a --baseline that is a checkpoint, where their "
            "folders have none, or not their own: a bundled name, a folder or a hub id. Default: "
            "that of each folder, else gpt2."
        ),
    ] = None
    baseline: Annotated[
        str | None,
        Option(
            help="Autoregressive model to stand beside: a bundled name, a folder, a hub id, or "
            "none. Default: tiny-judge where the models share its tokenizer, else gpt2."
        ),
    ] = None
    judge: Annotated[
        str | None,
        Option(
            help="Causal LM that judges samples. Default: tiny-judge where the models share its "
            "tokenizer, else gpt2-large."
        ),
    ] = None
    reference: Annotated[
        Path | None,
        Option(
            help="Held-out text, .jsonl or .txt: --temperatures compare at its entropy. Default: "
            "that of the text bundled with tiny-judge, else of the first model at temperature 1."
        ),
    ] = None
    num: Annotated[int, Option(help="Samples of each cell that are judged.")] = 512
    length: Annotated[
        int | None,
        Option(help="Tokens of a sample. Default: 1024, or as many as all models read."),
    ] = None
    draws: Annotated[
        str,
        Option(help="Of the masked models: float64, or float32 to reproduce papers."),
    ] = "float64"
    repeats: Annotated[int, Option(help="Samples timed one by one, after one to warm up.")] = 5
    max_batch: Annotated[
        int, Option(help="Largest batch of the search for the most tokens a second.")
    ] = 64
    seed: Seed = 0
    batch_tokens: BatchTokens = 8192
    device: Device = "auto"
    precision: Precision = "float32"
    resume: Resume = False
    overwrite: Overwrite = False
    offline: Offline = False
    json_output: JsonOutput = False


@dataclass(frozen=True)
class BenchmarkResult:
    """What was made."""

    out: Path
    record: dict[str, Any] = field(repr=False)
    """Contents of `benchmark.json`."""
    figure: Path | None
    """`frontier.png`; None where the extra `report` is not installed."""
    failed: tuple[str, ...]
    """Cells without figures, `CELL_tX` at temperature X; rows and notes say why."""
