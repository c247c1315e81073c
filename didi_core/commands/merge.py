"""Putting together what `--shard i/n` wrote apart: which shards there are, and their summary.

Beside each shard stands the JSON file in which it says which records of the whole it holds. What
needs torch is imported where it is used: help is fast.
"""

import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from typer import Argument, Option

from didi_core.cli.command_options import JsonOutput, Overwrite
from didi_core.cli.next_command import show_next
from didi_core.errors import RecordsFailed, UserError
from didi_core.io.files import write_json
from didi_core.io.journal import partial_path
from didi_core.io.shards import SHARD_KEY, ShardRecord, read_shard_record
from didi_core.progress import counted

Record = TypeVar("Record")


_MOST_NAMED = 20
"""Missing shards that are named; of others their number is given."""

_SUMS = (
    "seconds", "calls_made", "discriminator_calls", "head_passes", "guide_calls", "redraws",
)  # fmt: skip


_MAY_DIFFER = ("shard", "device")
"""Settings in which shards of one request may differ."""


class NotOneRequest(UserError):
    """Files that are no shards, or shards of different requests."""


@dataclass(frozen=True)
class ShardFile:
    """One shard's output, and what stands beside it."""

    path: Path
    side: dict[str, Any]
    record: ShardRecord

    def places(self, num_records: int) -> list[int]:
        """Return the place in the whole of each of the `num_records` records found in the file.

        Raises:
            UserError: it was written with another number of them.
        """
        if num_records != len(self.record.records):
            raise UserError(
                f"{self.path} holds {counted(num_records, 'record')}, but was written with "
                f"{len(self.record.records)}: give the file as it was written."
            )
        return self.record.records


@dataclass(frozen=True)
class RecordFormat:
    """How merged records are read, told apart and written."""

    noun: str
    """What one record is called; as in the summaries."""
    read: Callable[[Path], Sequence[Any]]
    write: Callable[[Path, Iterable[Any]], None]
    describe: Callable[[Any], tuple[str, str, int]]
    """Id, content and number of tries of a record."""


def open_shards(paths: Sequence[Path], side_path: Callable[[Path], Path]) -> list[ShardFile]:
    """Open all shards, in order.

    Args:
        side_path: where the JSON file beside an output stands.

    Raises:
        ShardsMissing: a file or a shard is not there.
        UserError: a file that is no shard, one given twice, or shards of different requests.
    """
    absent = [_describe_absent(path) for path in paths if not path.is_file()]
    shards = [_open_shard(path, side_path(path)) for path in paths if path.is_file()]
    if not shards:
        raise ShardsMissing(absent)
    shards.sort(key=lambda shard: shard.record.index)
    for earlier, later in itertools.pairwise(shards):
        _require_same_request(earlier, later)
    missing = _missing_shards(shards)
    if absent or missing:
        more = shards[0].record.count - len(shards) - len(missing)
        raise ShardsMissing(missing + absent, more)
    return shards


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


def merge_generated(shards: Sequence[ShardFile], out: Path, form: RecordFormat) -> MergeResult:
    """Write the records of `generate`'s shards in the order of the whole, and their summary."""
    from didi_core.commands.generating.files import generate_json_path
    from didi_core.commands.generating.summary import count_key

    placed: list[tuple[int, Any]] = []
    for shard in shards:
        # A shard of a small request may hold no record at all.
        records = form.read(shard.path) if shard.record.records else []
        placed += zip(shard.places(len(records)), records, strict=True)
    placed.sort(key=lambda pair: pair[0])
    summary = _merged_summary(shards, form.noun)
    kept = [record for _, record in placed]
    if summary["settings"].get("unique"):
        kept, twice = _without_copies(kept, form)
        summary["failed"] += twice
        summary[count_key(form.noun)] = len(kept)
    form.write(out, kept)
    write_json(generate_json_path(out), summary)
    failed = len(summary["failed"])
    return MergeResult(out, len(shards), len(kept), failed, generate_json_path(out))


def _missing_shards(shards: Sequence[ShardFile]) -> list[str]:
    """Name the first missing ones: a damaged file may speak of any number of shards."""
    given, count = {shard.record.index for shard in shards}, shards[0].record.count
    absent = (index for index in range(1, count + 1) if index not in given)
    return [_describe_missing(shards[0], i) for i in itertools.islice(absent, _MOST_NAMED)]


def _describe_missing(other: ShardFile, index: int) -> str:
    """Name a missing shard, and the command that makes it where another shard knows it."""
    name, command = f"{index}/{other.record.count}", other.record.command
    if not command:
        return f"shard {name}"
    out = sibling_shard(other.path, other.record.index, index)
    resume = " --resume" if partial_path(out).exists() else ""
    return f"shard {name}: {command} --shard {name} --out {shlex.quote(str(out))}{resume}"


def sibling_shard(path: Path, own: int, index: int) -> Path:
    """Return a path called as that of shard number `own` is, with another shard's number in it."""
    number = rf"(?<!\d)0*{own}(?!\d)"
    if len(found := re.findall(number, path.name)) == 1:
        padded = str(index).zfill(len(found[0]) if found[0].startswith("0") else 1)
        return path.with_name(re.sub(number, padded, path.name))
    stem, dot, suffix = path.name.partition(".")
    return path.with_name(f"{stem}.{index}{dot}{suffix}")


def _describe_absent(path: Path) -> str:
    if partial_path(path).exists():
        return f"{path} (unfinished: run its command again with --resume)"
    return f"{path} (no such file)"


def _open_shard(path: Path, side_path: Path) -> ShardFile:
    try:
        side = json.loads(side_path.read_text(encoding="utf-8"))
        record = read_shard_record(side)
    except FileNotFoundError as error:
        raise UserError(f"{path}: {side_path.name}, which was written with it, is gone.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{side_path} cannot be read: {error}.") from error
    if record is None:
        raise NotOneRequest(f"{path} was not written with --shard: there is nothing to merge.")
    return ShardFile(path, side, record)


def _require_same_request(one: ShardFile, other: ShardFile) -> None:
    """Raise UserError where two files are the same shard, or belong to different requests."""
    if one.record.index == other.record.index and one.record.count == other.record.count:
        name = f"{one.record.index}/{one.record.count}"
        raise UserError(f"{one.path} and {other.path} are both shard {name}: give one of them.")
    left, right = _request_of(one), _request_of(other)
    differing = [name for name in {**left, **right} if left.get(name) != right.get(name)]
    if differing:
        raise NotOneRequest(
            f"{one.path} and {other.path} are shards of different requests: they differ in "
            f"{', '.join(differing)}."
        )


def _request_of(shard: ShardFile) -> dict[str, Any]:
    settings = shard.side.get("settings") or {}
    same = {name: value for name, value in settings.items() if name not in _MAY_DIFFER}
    return {
        **same,
        "inputs": shard.side.get("inputs"),
        "number of shards": shard.record.count,
        "number of records": shard.record.num_records,
    }


def _without_copies(
    records: Sequence[Record], form: RecordFormat
) -> tuple[list[Record], list[dict[str, Any]]]:
    """Return the records without those that equal an earlier one, and these as failures.

    `--unique` holds within a shard only, because a shard does not see the others.
    """
    first: dict[str, str] = {}
    kept, failures = [], []
    for record in records:
        name, content, tries = form.describe(record)
        original = first.setdefault(content, name)
        if original == name:
            kept.append(record)
        else:
            reason = f"the same as {original} of another shard"
            failures.append({"id": name, "reason": reason, "tries": tries})
    return kept, failures


def _merged_summary(shards: Sequence[ShardFile], noun: str) -> dict[str, Any]:
    """Merge all shards to one `generate.json`: sums, and the settings they share."""
    from didi_core.commands.generating.summary import count_key

    sides = [shard.side for shard in shards]
    summary = {name: value for name, value in sides[0].items() if name != SHARD_KEY}
    # Summaries of an older version know no heads and guides.
    summary |= {name: sum(side.get(name, 0) for side in sides) for name in _SUMS}
    peaks = [side["peak_memory"] for side in sides if side.get("peak_memory") is not None]
    summary["peak_memory"] = max(peaks, default=None)
    number = count_key(noun)
    made = sum(side[number] for side in sides)
    calls = sum((side["mean_nfe"] or 0.0) * side[number] for side in sides)
    summary[number] = made
    summary["mean_nfe"] = calls / made if made else None
    summary["failed"] = sorted(
        (failure for side in sides for failure in side["failed"]), key=lambda each: each["id"]
    )
    summary["device"] = "; ".join(dict.fromkeys(side["device"] for side in sides))
    summary["settings"] = {**_shared_settings(sides[0]["settings"]), "num_shards": len(shards)}
    return summary


def _shared_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "shard"}


# What every `merge` is asked for, and what it returns. Imports no torch: help is fast.


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """What `merge` is asked for."""

    shards: Annotated[
        list[Path], Argument(metavar="SHARD...", help="Output of each --shard i/n, in any order.")
    ]
    out: Annotated[Path, Option(help="File to write, of the same kind as the shards.")]
    overwrite: Overwrite = False
    json_output: JsonOutput = False


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


def report_merge(result: MergeResult, *, as_json: bool, following: str | None = None) -> None:
    """Print what was put together.

    Args:
        following: the command that comes next.

    Raises:
        RecordsFailed: some records are missing from it (exit status 1).
    """
    if as_json:
        shown = asdict(result) | {"out": str(result.out), "summary": str(result.summary)}
        print(json.dumps(shown, indent=2))
    else:
        print(f"{result.num_records:,} records of {result.num_shards} shards in {result.out}")
        show_next(following)
    if result.num_failed:
        total = result.num_records + result.num_failed
        raise RecordsFailed(result.num_failed, total, str(result.summary))
