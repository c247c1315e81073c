"""`--length`: how long each sequence is.

`100`, `50,100,200` (in turn), or `80-120` (uniform, both ends included). Drawn lengths are keyed
by (seed, record).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.errors import UserError


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
    """Length of each of `num` sequences.

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
    """One of `choices` for each record, each as likely."""
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
