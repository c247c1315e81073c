"""`didi-protein merge`: put together what `--shard i/n` wrote apart.

    didi-protein merge part.1.fasta part.2.fasta part.3.fasta --out designs.fasta

Takes FASTA files of `generate` or tables of `score`; records come back in the order of the whole.
Beside each shard stands the JSON file in which it says which records it holds.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from didi_core.cli import check_output
from didi_core.command_options import JsonOutput, Overwrite, command_of
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
    """Designs that no shard could make, or that two shards made alike under `--unique`."""
    summary: Path
    """The JSON file written beside."""


class ShardsMissing(RecordsFailed):
    """Not all shards are there, so nothing was written."""

    def __init__(self, missing: list[str]) -> None:
        lines = "".join(f"\n  {each}" for each in missing)
        Exception.__init__(self, f"Nothing merged, {len(missing)} missing:{lines}")
        self.num_failed = len(missing)


def merge(options: MergeOptions) -> MergeResult:
    """Merge shards in the order of the whole.

    Raises:
        ShardsMissing: the exit status is 1.
        UserError: an input that was not written with `--shard`, shards of different requests, or
            an output that exists.
    """
    from didi_protein.merge_run import run_merge

    check_output(options.out, resume=False, overwrite=options.overwrite)
    return run_merge(options.shards, options.out)


def _run_command(options: MergeOptions) -> None:
    result = merge(options)
    if options.json_output:
        print(json.dumps(_as_json(result), indent=2))
    else:
        print(f"{result.num_records:,} records of {result.num_shards} shards in {result.out}")
    if result.num_failed:
        total = result.num_records + result.num_failed
        raise RecordsFailed(result.num_failed, total, str(result.summary))


def _as_json(result: MergeResult) -> dict[str, Any]:
    return {
        "out": str(result.out),
        "num_shards": result.num_shards,
        "num_records": result.num_records,
        "num_failed": result.num_failed,
        "summary": str(result.summary),
    }


merge_command = command_of(
    MergeOptions, _run_command, "Put together what --shard wrote apart, in the original order."
)
