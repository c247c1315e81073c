"""What the core must know of a program to generate in it: one object, given to `generate`.

Below it is what both programs read alike: the flags that they share, and `--length`.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from didi_core.commands.generating.options import SamplingOptions
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.number_checks import minimum_errors, seed_errors
from didi_core.progress import counted
from didi_core.sampling.forbidden import ForbiddenIds
from didi_core.sampling.request import Grid
from didi_core.sampling.run_request import Rule, accept_all
from didi_core.sampling.step_draw import StepDraw

Options = TypeVar("Options", bound=SamplingOptions)
Written = TypeVar("Written")
"""A sequence as the program's files hold it."""


@dataclass(frozen=True)
class GenerationRecord:
    """One sequence to make."""

    id: str
    row: list[int]
    """Framed ids, the vocabulary's mask where something is to be generated."""
    length: int
    """Tokens, framing left out."""
    template: str | None = None
    """Name of what is kept in it."""
    forbidden: ForbiddenIds = field(default_factory=dict)
    """Ids that positions of `row` may not get."""
    asked: str = ""
    """What says which tokens are kept: a flag and its value, for messages."""


@dataclass(frozen=True)
class GenerationTask(Generic[Written]):
    """One request, with the model that it is for."""

    records: Sequence[GenerationRecord]
    """All of the request, those of other shards included."""
    written: Callable[[str, list[int], Mapping[str, object]], Written]
    """Makes of an id, framed ids and provenance what the file holds. Provenance is length, model,
    sampler, steps, nfe and seed, and where they apply template and tries."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values of the program's own flags that decide the result."""
    log_bias: Float[Tensor, "generable"] | None = None
    """Added to the log-probabilities."""
    rule: Rule = accept_all
    """What a finished sequence must fulfil."""
    draw: StepDraw | None = None
    """How the tokens of a step are drawn; None: from the model's own law."""
    warnings: Sequence[str] = ()
    """Sentences on what is asked of the model: said once, and kept in the summary."""


@dataclass(frozen=True)
class GenerationDomain(Generic[Options, Written]):
    """One program, as far as `generate` asks for it."""

    program: str
    noun: str
    """What one record is called."""
    suffixes: tuple[str, ...]
    """Ends of names that the output may have; .gz may follow."""
    example: str
    """A name for the output, for messages."""
    problems: Callable[[Options], list[str]]
    """All that is wrong with the program's own flags, as far as that needs no model."""
    open_model: Callable[[Options], LoadedModel]
    """Opens what `--model` names."""
    plan: Callable[[Options, LoadedModel], GenerationTask[Written]]
    write: Callable[[Path, Sequence[Written]], None]
    """Writes the output file, whole or not at all."""


def length_limit(model: LoadedModel) -> int:
    """Return the most tokens of a sequence that the model takes, framing left out."""
    return model.denoiser.settings.max_tokens - model.vocabulary.num_special_per_sequence


def length_warning(
    asked: str, lengths: Sequence[int], model: LoadedModel, noun: str, unit: str
) -> str | None:
    """Return a sentence where the model was not trained on lengths that are asked for.

    Args:
        asked: what asks for them, as a flag and its value.
        lengths: tokens of each sequence, framing left out.
        noun: what a sequence is called.
        unit: what a token is called.

    Returns:
        None where all are known, or the model's folder does not say what it was trained on.
    """
    known = model.trained_lengths
    if known is None or not (foreign := sum(not known.knows(each) for each in lengths)):
        return None
    return (
        f"{asked}: {foreign:,} of {counted(len(lengths), noun)} of a length that {model.name} was "
        f"not trained on: it knows {known} {unit}s, and others seldom come out well."
    )


def problems_of(options: SamplingOptions) -> list[str]:
    """Return what is wrong with single values of the flags that all programs have."""
    wrong = minimum_errors(options, num=1, batch_tokens=1) + seed_errors(options.seed)
    if not (math.isfinite(options.temperature) and options.temperature > 0):
        wrong.append(f"--temperature {options.temperature:g} must be above 0")
    if not 0 < options.top_p <= 1:
        wrong.append(f"--top-p {options.top_p:g} must be above 0 and at most 1")
    exponent = options.reveal_exponent
    if exponent is not None and not (math.isfinite(exponent) and exponent > 0):
        wrong.append(f"--reveal-exponent {exponent:g} must be above 0")
    if exponent not in (None, 1.0) and options.grid in ("published", "best"):
        wrong.append(f"--reveal-exponent and --grid {options.grid} exclude each other")
    if options.draws not in ("float64", "float32"):
        wrong.append(f"--draws {options.draws} must be float64 or float32")
    if options.grid not in get_args(Grid):
        wrong.append(f"--grid {options.grid} must be {', '.join(get_args(Grid))}")
    return wrong


# `--length`: how long each sequence is.
#
# `100`, `50,100,200` (in turn), or `80-120` (uniform, both ends included). Drawn lengths are keyed
# by (seed, record).


@dataclass(frozen=True)
class LengthWords:
    """How messages speak of lengths."""

    unit: str
    """What is counted, in the singular: residue, token."""
    thing: str
    """What has the length: a design, a sample."""
    forms: str = "100, 50,100,200 or 80-120"


def read_lengths(
    spec: str, num: int, seed: int, limit: int | None, words: LengthWords
) -> list[int]:
    """Return the length of each of `num` sequences.

    Args:
        spec: the value of `--length`.
        limit: most tokens the model takes; None where that is not known yet.

    Raises:
        UserError: no such form, a range upside down, zero, or past the limit.
    """
    text = spec.strip()
    if match := re.fullmatch(r"(\d+)\s*-\s*(\d+)", text):
        low, high = int(match[1]), int(match[2])
        if low > high:
            raise UserError(
                f"--length {spec}: the range is upside down; write {high}-{low} (shortest first)."
            )
        ends = [_checked(spec, end, limit, words) for end in (low, high)]
        return draw_lengths(range(ends[0], ends[1] + 1), num, seed)
    if re.fullmatch(r"\d+(\s*,\s*\d+)*", text):
        choices = [_checked(spec, int(number), limit, words) for number in text.split(",")]
        return [choices[record % len(choices)] for record in range(num)]
    raise UserError(f"--length {spec}: give {words.unit}s as {words.forms}.")


def draw_lengths(choices: Sequence[int], num: int, seed: int) -> list[int]:
    """Draw one of `choices` for each record, each as likely."""
    uniform = keyed_uniform(seed, Stream.LENGTH, torch.arange(num))
    return [choices[int(place)] for place in (uniform * len(choices)).long()]


def _checked(spec: str, length: int, limit: int | None, words: LengthWords) -> int:
    if length < 1:
        raise UserError(f"--length {spec}: a {words.thing} has at least 1 {words.unit}.")
    if limit is not None and length > limit:
        raise UserError(
            f"--length {spec}: {length} {words.unit}s are past the model's limit of {limit}."
        )
    return length
