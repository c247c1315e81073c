"""One cell of a comparison: a model, a sampler, a number of steps, a temperature; what it made.

Every cell has the same lengths and the same seed, so that sequences of one number form pairs.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from didi_core.commands.generating.options import GenerationResult, SamplingOptions
from didi_core.diffusion.process import PROCESSES
from didi_core.sampling.folder_defaults import PLAIN_SAMPLER, plain_sampler
from didi_core.sampling.sampler_options import options_in_words, sampler_label, split_name

if TYPE_CHECKING:
    import pandas as pd

SWEEP = "sweep"
"""Folder of the sets of other temperatures than 1."""
LIMIT_SAMPLER = "first-hitting"
"""One call a token: exact, and so the limit of every number of steps."""


@dataclass(frozen=True)
class Cell:
    """One model, sampler, number of steps and temperature."""

    model: str
    """Its label: the name of a bundled model, the last part of a folder."""
    steps: int | None
    """None of a sampler that takes none: the model's limit, or an autoregressive model."""
    sampler: str = PLAIN_SAMPLER
    temperature: float = 1.0
    """Rows are of temperature 1; the others are points of a row's curve."""
    options: tuple[tuple[str, object], ...] = ()
    """Names and values of the sampler's options, where it is given any."""
    is_baseline: bool = False
    """Stands beside the others: its files are named by its model alone, and it has no pairs."""

    @classmethod
    def limit(cls, model: str) -> "Cell":
        return cls(model, None, LIMIT_SAMPLER)

    @classmethod
    def labelled(cls, model: str, steps: int | None, sampler: str) -> "Cell":
        """Return the cell at temperature 1 whose sampler has this `label`."""
        name, options = split_name(sampler)
        return cls(model, steps, name, options=tuple(options.items()))

    @property
    def is_plain(self) -> bool:
        """Whether it is drawn by the plain sampler of its model's process."""
        return not self.options and self.sampler in {plain_sampler(p).name for p in PROCESSES}

    @property
    def label(self) -> str:
        """What the table calls its sampler: two settings of one sampler are two rows.

        >>> Cell("tiny", 8, "psi", options=(("schedule", "loop"), ("eta", 0.02))).label
        'psi(schedule=loop,eta=0.02)'
        """
        return sampler_label(self.sampler, options_in_words(dict(self.options)))

    @property
    def name(self) -> str:
        """Of its files.

        >>> Cell("tiny", 8, "psi", options=(("schedule", "loop"), ("eta", 0.02))).name
        'tiny_psi-schedule=loop-eta=0.02_8'
        """
        is_usual = self.is_baseline or self.sampler in (PLAIN_SAMPLER, LIMIT_SAMPLER)
        sampler = "" if is_usual else f"_{self.sampler}"
        sampler += re.sub(
            r"[^\w.=+-]", "-", "".join(f"-{name}={value}" for name, value in self.options)
        )
        without = "_limit" if self.sampler == LIMIT_SAMPLER else ""
        steps = without if self.steps is None else f"_{self.steps}"
        heated = "" if self.temperature == 1 else f"_t{self.temperature:g}"
        return f"{self.model}{sampler}{steps}{heated}"

    def at(self, temperature: float) -> "Cell":
        return replace(self, temperature=temperature)


@dataclass(frozen=True, eq=False)
class ScoredCell:
    """What was found of the sequences of a cell."""

    cell: Cell
    row: dict[str, Any]
    """Its row of the table: see `row_of`."""
    judge_nll: "pd.Series"
    """Nats a token under the judge, by the id of the sequence; NaN where none is known."""
    tokens: "pd.Series | None" = None
    """Judged tokens of each, where every token counts alike in differences; None: each pair."""


Request = TypeVar("Request", bound="CellRequest")


@dataclass(frozen=True, kw_only=True)
class CellRequest:
    """What all cells of a comparison share."""

    folder: Path
    """Sequences and scores go here, named by the cell."""
    num: int
    length: str
    seed: int
    device: str
    top_p: float = SamplingOptions.top_p
    batch_tokens: int = SamplingOptions.batch_tokens
    precision: str = SamplingOptions.precision
    draws: str = SamplingOptions.draws
    offline: bool = False
    sweep: str = SWEEP
    """Folder beside, of a curve's other points."""

    @classmethod
    def of(cls: type[Request], options: Any, folder: Path, length: str, **own: Any) -> Request:
        """With what the options of a verb say of how sequences are drawn.

        Args:
            own: what they do not say, or say otherwise.
        """
        names = ("num", "seed", "device", "top_p", "batch_tokens", "precision", "offline")
        said = {name: getattr(options, name) for name in names if hasattr(options, name)}
        return cls(folder=folder, length=length, **said | own)

    def path(self, cell: Cell, suffix: str) -> Path:
        """Of a file of the cell."""
        folder = self.folder if cell.temperature == 1 else self.folder.with_name(self.sweep)
        return folder / f"{cell.name}{suffix}"

    def is_made(self, cell: Cell) -> bool:
        """Whether the sequences of a cell are there, all of them."""
        return self.path(cell, ".generate.json").is_file()

    def generation(self, cell: Cell, suffix: str) -> dict[str, Any]:
        """Options of `generate` for one cell: `CELL.suffix` is written, or gone on with."""
        return {
            "model": cell.model,
            "num": self.num,
            "length": self.length,
            "sampler": cell.sampler,
            "sampler_options": dict(cell.options),
            "steps": cell.steps,
            "temperature": cell.temperature,
            "top_p": self.top_p,
            "out": self.path(cell, suffix),
            "seed": self.seed,
            "device": self.device,
            "batch_tokens": self.batch_tokens,
            "precision": self.precision,
            "draws": self.draws,
            "offline": self.offline,
            "resume": True,
        }


def row_of(
    cell: Cell, made: GenerationResult, noun: str, n: int, figures: dict[str, Any]
) -> dict[str, Any]:
    """What the table says of a cell: how it was made, what it cost, and its scores.

    Args:
        noun: what one sequence is called, for the name of the column of seconds.
        n: sequences that the scores rest on.
        figures: the scores, in the order of their columns.
    """
    num_made = made.num_made or float("nan")
    return {
        "model": cell.model,
        "sampler": cell.label,
        "steps": cell.steps,
        "n": n,
        "calls": made.mean_nfe,
        "discriminator_calls": made.discriminator_calls / num_made or None,
        f"seconds_per_{noun}": made.seconds / num_made,
        "peak_memory_mb": None if made.peak_memory is None else made.peak_memory / 1e6,
        **figures,
    }


def unjudged(
    cell: Cell, made: GenerationResult, noun: str, reason: str, ids: Sequence[str] = ()
) -> ScoredCell:
    """A cell of which no sequence was judged: it has a row that says why, and no pairs.

    Args:
        ids: of its sequences.
    """
    import pandas as pd

    print(f"{cell.name}: {reason}", file=sys.stderr)
    row = row_of(cell, made, noun, 0, {"error": reason})
    return ScoredCell(cell, row, pd.Series(float("nan"), index=list(ids), dtype=float))


def none_made(made: GenerationResult, noun: str) -> str:
    """Why there is no sequence at all."""
    return f"no {noun} could be made ({made.failed[0].reason})"
