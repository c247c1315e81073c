"""What `headroom` can be asked for, and what it returns. Imports no torch: help is fast."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from didi_core.cli.command_options import (
    BatchTokens,
    Device,
    JsonOutput,
    Offline,
    Precision,
    Seed,
)

if TYPE_CHECKING:
    from didi_core.evaluation.headroom import CallsLoss


@dataclass(frozen=True, kw_only=True)
class HeadroomOptions:
    """What `headroom` can be asked for; the help of each flag says what it does."""

    model: Annotated[
        str,
        Argument(
            metavar="MODEL", help="A masked model: a bundled name (tiny), a folder, a hub id."
        ),
    ]
    data: Annotated[
        str,
        Option(
            help="Real sequences to measure on, best such as the model did not learn from. "
            "Proteins: FASTA, or a name such as families-held-out; text: .jsonl, .txt, or a corpus."
        ),
    ]
    out: Annotated[
        Path | None, Option(help="Write curve, losses and best grids there too, .json.")
    ] = None
    plot: Annotated[Path | None, Option(help="Draw curve and losses: .png, .svg or .pdf.")] = None
    num: Annotated[int, Option(help="Sequences used, chosen by the seed, at most.")] = 256
    seed: Seed = 0
    device: Device = "auto"
    precision: Precision = "float32"
    batch_tokens: BatchTokens = 8192
    overwrite: Annotated[
        bool,
        Option(
            "--overwrite", help="Replace outputs that exist, and the curve in the model's folder."
        ),
    ] = False
    offline: Offline = False
    json_output: JsonOutput = False
    quiet: bool = False
    """No progress bar (Python only)."""


@dataclass(frozen=True)
class HeadroomResult:
    """What was measured, and where it is."""

    losses: "tuple[CallsLoss, ...]"
    """What 1, 2, 4, ... calls lose on the even, the late and the best grid, nats a token."""
    kept: Path | None
    """`headroom.json` in the model's folder, for `--grid best`; None where there is none."""
    sentences: tuple[str, ...]
    """What it means, and what is to be minded."""
    out: Path | None
    plot: Path | None
    record: dict[str, Any] = field(repr=False)
    """Contents of the JSON file."""
