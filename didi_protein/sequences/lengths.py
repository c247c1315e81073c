"""`--length`: how long each design is.

The forms of `didi_core.commands.generating.domain`, or `from:FILE`: drawn from the lengths of a
FASTA file.
"""

import re
import sys
from pathlib import Path

from didi_core.commands.generating.domain import LengthWords, draw_lengths, read_lengths
from didi_core.errors import UserError
from didi_core.progress import counted
from didi_protein.sequences.fasta import read_records
from didi_protein.sequences.residues import clean_sequence

WORDS = LengthWords("residue", "design", "100, 50,100,200, 80-120 or from:FILE.fasta")


def check_lengths(spec: str) -> None:
    """Raise UserError for what no model could make: no such form, a file that cannot be read."""
    text = spec.strip()
    if text.startswith("from:"):
        _lengths_of_file(text.removeprefix("from:"))
    else:
        read_lengths(spec, 1, 0, None, WORDS)


def design_lengths(spec: str, num: int, seed: int, max_length: int) -> list[int]:
    """Draw the length, in residues, of each of `num` designs.

    Args:
        spec: the value of `--length`.
        max_length: most residues the model takes.

    Raises:
        UserError: no such form, a range upside down, zero, or past the limit.
    """
    text = spec.strip()
    if text.startswith("from:"):
        return draw_lengths(_reference_lengths(text.removeprefix("from:"), max_length), num, seed)
    return read_lengths(spec, num, seed, max_length, WORDS)


def design_totals(spec: str, num: int, seed: int, max_length: int) -> list[range]:
    """Return which lengths each of `num` designs may have whose parts have lengths of their own.

    All of a range; otherwise the one that `design_lengths` gives. Arguments and errors as there.
    """
    lengths = design_lengths(spec, num, seed, max_length)
    if match := re.fullmatch(r"([0-9]+)\s*-\s*([0-9]+)", spec.strip()):
        return [range(int(match[1]), int(match[2]) + 1)] * num
    return [range(length, length + 1) for length in lengths]


def _lengths_of_file(name: str) -> list[int]:
    if not name:
        raise UserError("--length from: needs a file, as in --length from:reference.fasta")
    records = read_records([Path(name).expanduser()], "--length from:")
    return [len(clean_sequence(record.sequence)) for record in records]


def _reference_lengths(name: str, max_length: int) -> list[int]:
    """Read the lengths of a FASTA's records that the model can make; what is left out is said."""
    lengths = _lengths_of_file(name)
    usable = [length for length in lengths if 1 <= length <= max_length]
    if not usable:
        raise UserError(
            f"--length from:{name}: none of its {counted(len(lengths), 'sequence')} has 1 to "
            f"{max_length} residues (the model's limit)."
        )
    if len(usable) < len(lengths):
        left_out = len(lengths) - len(usable)
        print(
            f"--length from:{name}: {left_out:,} of {counted(len(lengths), 'sequence')} left out "
            f"(empty, or past the model's limit of {max_length} residues).",
            file=sys.stderr,
        )
    return usable
