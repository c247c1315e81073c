"""`--length`: how long each design is.

`100`, `50,100,200` (in turn), `80-120` (uniform, both ends included), or `from:FILE` (drawn from
the lengths of a FASTA file). Drawn lengths are keyed by (seed, record).
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.errors import UserError
from didi_protein.cleaning import clean_sequence
from didi_protein.fasta import read_records

FORMS = "100, 50,100,200, 80-120 or from:FILE.fasta"


def design_lengths(spec: str, num: int, seed: int, limit: int) -> list[int]:
    """Length, in residues, of each of `num` designs.

    Args:
        spec: the value of `--length`.
        limit: most residues the model takes.

    Raises:
        UserError: no such form, a range upside down, zero, or past the limit.
    """
    text = spec.strip()
    if text.startswith("from:"):
        return _drawn_from(_reference_lengths(text.removeprefix("from:"), limit), num, seed)
    if match := re.fullmatch(r"(\d+)\s*-\s*(\d+)", text):
        low, high = _checked_range(spec, int(match[1]), int(match[2]), limit)
        return _drawn_from(range(low, high + 1), num, seed)
    if re.fullmatch(r"\d+(\s*,\s*\d+)*", text):
        choices = [_checked(spec, int(number), limit) for number in text.split(",")]
        return [choices[record % len(choices)] for record in range(num)]
    raise UserError(f"--length {spec}: give residues as {FORMS}.")


def _drawn_from(choices: Sequence[int], num: int, seed: int) -> list[int]:
    uniform = keyed_uniform(seed, Stream.LENGTH, torch.arange(num))
    return [choices[int(place)] for place in (uniform * len(choices)).long()]


def _checked_range(spec: str, low: int, high: int, limit: int) -> tuple[int, int]:
    if low > high:
        raise UserError(
            f"--length {spec}: the range is upside down; write {high}-{low} (shortest first)."
        )
    return _checked(spec, low, limit), _checked(spec, high, limit)


def _checked(spec: str, length: int, limit: int) -> int:
    if length < 1:
        raise UserError(f"--length {spec}: a design has at least 1 residue.")
    if length > limit:
        raise UserError(
            f"--length {spec}: {length} residues are past the model's limit of {limit}."
        )
    return length


def _reference_lengths(name: str, limit: int) -> list[int]:
    """Lengths of the records of a FASTA file that the model can make; what is left out is said."""
    if not name:
        raise UserError("--length from: needs a file, as in --length from:reference.fasta")
    records = read_records([Path(name).expanduser()], "--length from:")
    lengths = [len(clean_sequence(record.sequence)) for record in records]
    usable = [length for length in lengths if 1 <= length <= limit]
    if not usable:
        raise UserError(
            f"--length from:{name}: none of its {len(lengths)} sequences has 1 to {limit} residues "
            "(the model's limit)."
        )
    if len(usable) < len(lengths):
        left_out = len(lengths) - len(usable)
        print(
            f"--length from:{name}: {left_out:,} of {len(lengths):,} sequences left out "
            f"(empty, or past the model's limit of {limit} residues).",
            file=sys.stderr,
        )
    return usable
