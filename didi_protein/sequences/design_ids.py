"""Ids that designs are given, `design_000017`, and what becomes of those that two files share.

Every run counts from 1, so that runs without a `--prefix` of their own share ids.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from didi_core.errors import UserError

LONGEST_PREFIX = 40
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Ids become names of structure files and of wells, and the first word of a header."""
_NAMED = 3
OTHER_PREFIX = "generate --prefix NAME gives the designs of a run ids of their own"
"""What keeps the ids of runs apart from the start."""


def check_prefix(prefix: str) -> str:
    """Return what ids begin with.

    Raises:
        UserError: it is empty or too long, or holds what an id may not.
    """
    if len(prefix) > LONGEST_PREFIX or _PREFIX.fullmatch(prefix) is None:
        raise UserError(
            f"--prefix {prefix!r}: give 1 to {LONGEST_PREFIX} letters, digits, points, hyphens and "
            "underscores, a letter or a digit first, as in round2."
        )
    return prefix


def design_id(prefix: str, number: int) -> str:
    """Return the id of a design.

    >>> design_id("round2", 17)
    'round2_000017'
    """
    return f"{prefix}_{number:06d}"


def number_of(prefix: str, name: str) -> int | None:
    """Return the number in an id of this prefix; None of every other id.

    >>> number_of("design", "design_000017"), number_of("design", "PDZ3")
    (17, None)
    """
    match = re.fullmatch(rf"{re.escape(prefix)}_([0-9]{{6,9}})", name)
    return None if match is None else int(match[1])


# Ids that files share.


@dataclass(frozen=True)
class SharedIds:
    """Ids that stand in more than one file."""

    first: str
    """A file."""
    second: str
    """A later one that shares ids with it."""
    ids: tuple[str, ...]
    """All that any two files share, in order."""

    def __str__(self) -> str:
        more = len(self.ids) - _NAMED
        named = ", ".join(self.ids[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
        return f"{self.first} and {self.second} share ids ({named})"


def shared_ids(files: Iterable[tuple[object, Iterable[str]]]) -> SharedIds | None:
    """Return the ids that files share; None where they share none.

    Args:
        files: the name of each, and its ids; of ids repeated within a file nothing is said.
    """
    owner: dict[str, str] = {}
    shared: dict[str, tuple[str, str]] = {}
    for name, ids in files:
        own = dict.fromkeys(ids)
        shared |= {each: (owner[each], str(name)) for each in own if each in owner}
        owner |= {each: str(name) for each in own if each not in owner}
    if not shared:
        return None
    first, second = next(iter(shared.values()))
    return SharedIds(first, second, tuple(shared))


def named_repeats(ids: Sequence[str]) -> str:
    """Name the ids that stand in a table twice, the first of them.

    >>> named_repeats(["a", "b", "a"])
    'a'
    """
    repeated = [name for name, times in Counter(ids).items() if times > 1]
    more = f" and {len(repeated) - _NAMED:,} more" if len(repeated) > _NAMED else ""
    return ", ".join(repeated[:_NAMED]) + more
