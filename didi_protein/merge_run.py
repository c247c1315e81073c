"""What `didi-protein merge` does."""

import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core.errors import UserError
from didi_core.files import write_json
from didi_core.sampling.partial_file import partial_path
from didi_core.shards import SHARD_KEY, ShardRecord, read_shard_record
from didi_protein import mmseqs
from didi_protein.design_files import generate_json_path
from didi_protein.fasta import FASTA_SUFFIXES, ProteinRecord, read_records, write_fasta
from didi_protein.merge import MergeResult, ShardsMissing
from didi_protein.neighbours import cluster_numbers
from didi_protein.scores_table import SUFFIXES, read_scores, summary_path, write_scores

_SUMS = ("seconds", "calls_made", "discriminator_calls", "redraws")
_MAY_DIFFER = ("shard", "device")
"""Settings in which shards of one request may differ."""
_OF_ONE_SHARD = ("num_records", "num_ok", "by_status", "set")
"""What a score summary says of its own rows."""


@dataclass(frozen=True)
class ShardFile:
    """One shard's output, and what stands beside it."""

    path: Path
    side: dict[str, Any]
    record: ShardRecord


def run_merge(paths: Sequence[Path], out: Path) -> MergeResult:
    """See `didi_protein.merge.merge`."""
    is_fasta = _is_fasta(out)
    if any(_is_fasta(path) != is_fasta for path in paths):
        raise UserError(f"--out {out}: shards and output must be all FASTA or all score tables.")
    shards = _open_shards(paths, is_fasta)
    return _merge_fasta(shards, out) if is_fasta else _merge_tables(shards, out)


def _is_fasta(path: Path) -> bool:
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in (*FASTA_SUFFIXES, *SUFFIXES):
        raise UserError(f"{path}: neither a FASTA file nor a table ({', '.join(SUFFIXES)}).")
    return suffix in FASTA_SUFFIXES


def _open_shards(paths: Sequence[Path], is_fasta: bool) -> list[ShardFile]:
    """All shards, in order.

    Raises:
        ShardsMissing: a file or a shard is not there.
        UserError: a file that is no shard, one given twice, or shards of different requests.
    """
    absent = [_describe_absent(path) for path in paths if not path.is_file()]
    shards = [_open_shard(path, is_fasta) for path in paths if path.is_file()]
    if not shards:
        raise ShardsMissing(absent)
    shards.sort(key=lambda shard: shard.record.index)
    for earlier, later in itertools.pairwise(shards):
        _require_same_request(earlier, later)
    count = shards[0].record.count
    given = {shard.record.index for shard in shards}
    missing = [f"shard {i}/{count}" for i in range(1, count + 1) if i not in given]
    if absent or missing:
        raise ShardsMissing(missing + absent)
    return shards


def _describe_absent(path: Path) -> str:
    if partial_path(path).exists():
        return f"{path} (unfinished: run its command again with --resume)"
    return f"{path} (no such file)"


def _open_shard(path: Path, is_fasta: bool) -> ShardFile:
    side_path = generate_json_path(path) if is_fasta else summary_path(path)
    try:
        side = json.loads(side_path.read_text(encoding="utf-8"))
        record = read_shard_record(side)
    except FileNotFoundError as error:
        raise UserError(f"{path}: {side_path.name}, which was written with it, is gone.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{side_path} cannot be read: {error}.") from error
    if record is None:
        raise UserError(f"{path} was not written with --shard: there is nothing to merge.")
    return ShardFile(path, side, record)


def _require_same_request(one: ShardFile, other: ShardFile) -> None:
    """Raise UserError where two files are the same shard, or belong to different requests."""
    if one.record.index == other.record.index and one.record.count == other.record.count:
        name = f"{one.record.index}/{one.record.count}"
        raise UserError(f"{one.path} and {other.path} are both shard {name}: give one of them.")
    left, right = _request_of(one), _request_of(other)
    differing = [name for name in {**left, **right} if left.get(name) != right.get(name)]
    if differing:
        raise UserError(
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


def _merge_fasta(shards: Sequence[ShardFile], out: Path) -> MergeResult:
    placed: list[tuple[int, ProteinRecord]] = []
    for shard in shards:
        # A shard of a small request may hold no record at all.
        records = read_records([shard.path], "SHARD") if shard.record.records else []
        placed += zip(_places(shard, len(records)), records, strict=True)
    placed.sort(key=lambda pair: pair[0])
    summary = _merged_summary(shards)
    kept = [record for _, record in placed]
    if summary["settings"].get("unique"):
        kept, twice = _without_copies(kept)
        summary["failed"] += twice
        summary["num_designs"] = len(kept)
    write_fasta(out, kept)
    write_json(generate_json_path(out), summary)
    failed = len(summary["failed"])
    return MergeResult(out, len(shards), len(kept), failed, generate_json_path(out))


def _places(shard: ShardFile, num_records: int) -> list[int]:
    if num_records != len(shard.record.records):
        raise UserError(
            f"{shard.path} holds {num_records} records, but was written with "
            f"{len(shard.record.records)}: give the file as it was written."
        )
    return shard.record.records


def _without_copies(
    records: Sequence[ProteinRecord],
) -> tuple[list[ProteinRecord], list[dict[str, Any]]]:
    """Records without those that equal an earlier one, and these as failures.

    `--unique` holds within a shard only, because a shard does not see the others.
    """
    first: dict[str, str] = {}
    failures = []
    for record in records:
        original = first.setdefault(record.sequence, record.id)
        if original != record.id:
            tries = int(record.header.get("tries", "1"))
            reason = f"the same as {original} of another shard"
            failures.append({"id": record.id, "reason": reason, "tries": tries})
    copies = {failure["id"] for failure in failures}
    return [record for record in records if record.id not in copies], failures


def _merged_summary(shards: Sequence[ShardFile]) -> dict[str, Any]:
    """One `generate.json` for all shards: sums, and the settings they share."""
    sides = [shard.side for shard in shards]
    summary = {name: value for name, value in sides[0].items() if name != SHARD_KEY}
    summary |= {name: sum(side[name] for side in sides) for name in _SUMS}
    peaks = [side["peak_memory"] for side in sides if side.get("peak_memory") is not None]
    summary["peak_memory"] = max(peaks, default=None)
    num_designs = sum(side["num_designs"] for side in sides)
    calls = sum((side["mean_nfe"] or 0.0) * side["num_designs"] for side in sides)
    summary["num_designs"] = num_designs
    summary["mean_nfe"] = calls / num_designs if num_designs else None
    summary["failed"] = sorted(
        (failure for side in sides for failure in side["failed"]), key=lambda each: each["id"]
    )
    summary["device"] = "; ".join(dict.fromkeys(side["device"] for side in sides))
    summary["settings"] = {**_shared_settings(sides[0]["settings"]), "num_shards": len(shards)}
    return summary


def _shared_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "shard"}


def _merge_tables(shards: Sequence[ShardFile], out: Path) -> MergeResult:
    tables = [read_scores(shard.path) for shard in shards]
    places = [
        place
        for shard, table in zip(shards, tables, strict=True)
        for place in _places(shard, len(table))
    ]
    merged = pd.concat(tables, ignore_index=True)
    order = pd.Series(places, dtype="int64").argsort(kind="stable")
    merged = merged.iloc[order].reset_index(drop=True)
    _add_clusters(merged)
    # The summary last, as `score` does: it vouches for the settings that made the table.
    summary_path(out).unlink(missing_ok=True)
    write_scores(out, merged)
    write_json(summary_path(out), _merged_table_summary(shards))
    print(
        f"For the figures of the whole set, give the command of the shards without --shard and "
        f"with --resume --out {out}: nothing is scored again.",
        file=sys.stderr,
    )
    return MergeResult(out, len(shards), len(merged), 0, summary_path(out))


def _add_clusters(table: pd.DataFrame) -> None:
    """Number the clusters of the whole set: a shard cannot know them."""
    if not mmseqs.is_available():
        return
    scored = table.index[table["status"] == "ok"]
    numbers = cluster_numbers(table.loc[scored, "sequence"].tolist())
    table["cluster"] = pd.Series(numbers, index=scored, dtype="Int64").reindex(table.index)


def _merged_table_summary(shards: Sequence[ShardFile]) -> dict[str, Any]:
    """What the shards' summaries share; the figures of a set are no sums of its parts'."""
    own = (SHARD_KEY, *_OF_ONE_SHARD)
    shared = {name: value for name, value in shards[0].side.items() if name not in own}
    return {**shared, "num_shards": len(shards)}
