"""`--shard i/n`: which part of a request a run does, and what it leaves behind for `merge`.

The file written beside a shard's output (`NAME.generate.json`, `NAME.summary.json`) holds, under
the key "shard", a `ShardRecord`: `merge` puts the records back in order by it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from didi_core.errors import UserError

SHARD_KEY = "shard"


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 1) of `count`."""

    index: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str | None) -> Shard:
    """Parse the shard that `--shard` names; the whole when None.

    Raises:
        UserError: not of the form i/n with 1 <= i <= n.
    """
    if text is None:
        return Shard()
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {text}: give part and number of parts, as in 2/8 (1 to 8 of 8).")
    return Shard(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class ShardRecord:
    """Which records of the whole an output holds."""

    index: int
    count: int
    num_records: int
    """Of the whole request."""
    records: list[int]
    """Place in the whole, from 0, of each record of this output, in the output's order."""
    command: str = ""
    """Asks for the whole, without --shard and --out; "" where an older version wrote it."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


NOT_OF_THE_WHOLE = ("shard", "out", "resume", "overwrite", "json_output")
"""Options that a shard's command has for itself."""


def shard_record(
    shard: Shard, num_records: int, records: Sequence[int], command: str = ""
) -> ShardRecord:
    return ShardRecord(shard.index, shard.count, num_records, list(records), command)


def read_shard_record(side_file: Mapping[str, Any]) -> ShardRecord | None:
    """Read the record in the JSON beside an output; None if it was not written as a shard.

    Raises:
        TypeError, ValueError: what is written there cannot be a shard.
    """
    stored = side_file.get(SHARD_KEY)
    if stored is None:
        return None
    record = ShardRecord(**stored)
    numbers = (record.index, record.count, record.num_records)
    if not isinstance(record.records, list) or not all(map(_is_count, (*numbers, *record.records))):
        raise TypeError(f"its {SHARD_KEY} holds something that is no number")
    if not isinstance(record.command, str):
        raise TypeError(f"its {SHARD_KEY} holds a command that is no text")
    if not 1 <= record.index <= record.count:
        raise ValueError(f"its {SHARD_KEY} is part {record.index} of {record.count}")
    return record


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
