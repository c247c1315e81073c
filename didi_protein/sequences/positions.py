"""Lists of positions as users write them: `12,15,40-50`, counted from 1, ends included."""

import re
from collections.abc import Iterable

from didi_core.errors import UserError

LARGEST = 99_999
"""No protein is longer; a larger number is a slip, and a range up to it would fill memory."""


def parse_positions(text: str, flag: str) -> tuple[int, ...]:
    """Return the positions of a list in increasing order, each once, counted from 0.

    >>> parse_positions("12, 15,40-43", "--vary")
    (11, 14, 39, 40, 41, 42)

    Args:
        text: numbers and ranges with commas between, counted from 1.
        flag: what messages call it: the flag that the list came from.

    Raises:
        UserError: the list is empty, or holds what is neither a number from 1 nor such a range.
    """
    asked = f"{flag} {text}"
    return tuple(sorted({place for part in text.split(",") for place in _places(part, asked)}))


def _places(part: str, asked: str) -> range:
    """Return the positions of one number or range, counted from 0."""
    match = re.fullmatch(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?", part)
    if match is None:
        shown = repr(part.strip()) if part.strip() else "an empty part"
        raise UserError(f"{asked}: {shown} is no position; list them as in 12,15,40-50.")
    first, last = _number(match[1], asked), _number(match[2] or match[1], asked)
    if first > last:
        raise UserError(f"{asked}: the range {first}-{last} is upside down; write {last}-{first}.")
    return range(first - 1, last)


def _number(digits: str, asked: str) -> int:
    # Compared by its digits first: Python refuses to read numbers of thousands of them.
    bare = digits.lstrip("0")
    if not bare:
        raise UserError(f"{asked}: positions are counted from 1, so there is no {digits}.")
    if len(bare) > len(str(LARGEST)):
        raise UserError(f"{asked}: {digits[:20]} is past {LARGEST:,}, the last position there is.")
    return int(bare)


def positions_text(positions: Iterable[int]) -> str:
    """Return positions counted from 0 as `parse_positions` reads them, runs as ranges.

    >>> positions_text((11, 14, 39, 40, 41))
    '12,15,40-42'
    """
    runs: list[list[int]] = []
    for place in sorted(set(positions)):
        if runs and runs[-1][1] == place:
            runs[-1][1] = place + 1
        else:
            runs.append([place + 1, place + 1])
    return ",".join(f"{low}-{high}" if low < high else f"{low}" for low, high in runs)
