"""What every `merge` is asked for, and what it returns. Imports no torch: help is fast."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from didi_core.command_options import JsonOutput, Overwrite
from didi_core.errors import RecordsFailed


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """What `merge` is asked for."""

    shards: Annotated[
        list[Path], Argument(metavar="SHARD...", help="Output of each --shard i/n, in any order.")
    ]
    out: Annotated[Path, Option(help="File to write, of the same kind as the shards.")]
    overwrite: Overwrite = False
    json_output: JsonOutput = False


@dataclass(frozen=True)
class MergeResult:
    """What was put together."""

    out: Path
    num_shards: int
    num_records: int
    """Records in the merged file."""
    num_failed: int
    """Records that no shard could make, or that two shards made alike under `--unique`."""
    summary: Path
    """The JSON file written beside."""


class ShardsMissing(RecordsFailed):
    """Not all shards are there, so nothing was written.

    Args:
        missing: what is missing, by name.
        more: how many shards are missing beside those.
    """

    def __init__(self, missing: list[str], more: int = 0) -> None:
        named = [*missing, f"and {more:,} more shards"] if more else missing
        self.num_failed = len(missing) + more
        lines = "".join(f"\n  {each}" for each in named)
        Exception.__init__(self, f"Nothing merged, {self.num_failed:,} missing:{lines}")


def report_merge(result: MergeResult, *, as_json: bool) -> None:
    """Print what was put together.

    Raises:
        RecordsFailed: some records are missing from it (exit status 1).
    """
    if as_json:
        shown = asdict(result) | {"out": str(result.out), "summary": str(result.summary)}
        print(json.dumps(shown, indent=2))
    else:
        print(f"{result.num_records:,} records of {result.num_shards} shards in {result.out}")
    if result.num_failed:
        total = result.num_records + result.num_failed
        raise RecordsFailed(result.num_failed, total, str(result.summary))
