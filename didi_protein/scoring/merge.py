"""What `didi-protein merge` does: designs, scores or scans of shards, in the order of the whole."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from didi_core.commands.generating.files import generate_json_path
from didi_core.commands.merge import (
    MergeResult,
    NotOneRequest,
    RecordFormat,
    ShardFile,
    merge_generated,
    open_shards,
)
from didi_core.errors import UserError
from didi_core.io.files import check_writable, write_json
from didi_protein.scanning.options import is_of_scan
from didi_protein.scanning.summary import merged_summary
from didi_protein.scanning.table import Cells, read_table, write_table
from didi_protein.scoring.own_shuffles import JUDGE_DOMAIN, merged_domain
from didi_protein.scoring.parents import PARENTS
from didi_protein.scoring.table import (
    SUFFIXES,
    build_table,
    is_native,
    plain_rows,
    read_scores,
    summary_path,
    without_figures,
    write_scores,
)
from didi_protein.sequences.design_ids import OTHER_PREFIX, shared_ids
from didi_protein.sequences.fasta import (
    FASTA_SUFFIXES,
    ProteinRecord,
    read_records,
    write_fasta,
)
from didi_protein.similarity import mmseqs
from didi_protein.similarity.neighbours import cluster_numbers


def run_merge(paths: Sequence[Path], out: Path) -> MergeResult:
    """See `didi_protein.merge.merge`."""
    is_fasta = _is_fasta(out)
    if any(_is_fasta(path) != is_fasta for path in paths):
        raise UserError(f"--out {out}: shards and output must be all FASTA or all score tables.")
    check_writable(out)
    if is_fasta:
        return merge_generated(_open_shards(paths, generate_json_path), out, DESIGNS)
    shards = _open_shards(paths, summary_path)
    return (_merge_scans if is_of_scan(shards[0].side) else _merge_tables)(shards, out)


def _open_shards(paths: Sequence[Path], side_path: Callable[[Path], Path]) -> list[ShardFile]:
    """Open all shards, in order; of files of several runs, say which ids they share.

    Raises:
        ShardsMissing, UserError: see `didi_core.commands.merge.open_shards`.
    """
    try:
        return open_shards(paths, side_path)
    except NotOneRequest as error:
        shared = shared_ids((each, _ids_of(each)) for each in paths if each.is_file())
        if shared is None:
            raise
        raise UserError(
            f"{error} {shared}: {OTHER_PREFIX}; score and order take the files of several runs."
        ) from error


def _ids_of(path: Path) -> list[str]:
    """Return the ids in a FASTA file or a table."""
    if _is_fasta(path):
        return [record.id for record in read_records([path], "SHARD")]
    return read_scores(path, "SHARD", ("id",))["id"].tolist()


def _is_fasta(path: Path) -> bool:
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in (*FASTA_SUFFIXES, *SUFFIXES):
        raise UserError(f"{path}: neither a FASTA file nor a table ({', '.join(SUFFIXES)}).")
    return suffix in FASTA_SUFFIXES


def _describe(record: ProteinRecord) -> tuple[str, str, int]:
    tries = record.header.get("tries", "1")
    return record.id, record.sequence, int(tries) if tries.isdecimal() else 1


DESIGNS = RecordFormat(
    noun="design",
    read=lambda path: read_records([path], "SHARD"),
    write=write_fasta,
    describe=_describe,
)


def _merge_tables(shards: Sequence[ShardFile], out: Path) -> MergeResult:
    tables = [read_scores(shard.path, "SHARD") for shard in shards]
    places = [
        place
        for shard, table in zip(shards, tables, strict=True)
        for place in shard.places(len(table))
    ]
    rows = [row for table in tables for row in plain_rows(table)]
    order = sorted(range(len(rows)), key=places.__getitem__)
    ordered = [rows[number] for number in order]
    _add_clusters(ordered)
    merged = build_table(ordered)
    # The summary last, as `score` does: it vouches for the settings that made the table.
    summary_path(out).unlink(missing_ok=True)
    write_scores(out, merged)
    write_json(summary_path(out), _merged_table_summary(shards))
    print(
        f"The figures of the whole set come of the command of the shards, without --shard and with "
        f"--resume --out {out}: nothing is scored again.",
        file=sys.stderr,
    )
    return MergeResult(out, len(shards), len(merged), 0, summary_path(out))


def _merge_scans(shards: Sequence[ShardFile], out: Path) -> MergeResult:
    """Put the rows of each record, and what the summaries say of it, in the order of the whole."""
    rows: list[tuple[int, tuple[str, list[Cells]]]] = []
    about: list[tuple[int, dict[str, Any]]] = []
    for shard in shards:
        own = read_table(shard.path, "SHARD")
        rows += zip(shard.places(len(own)), own, strict=True)
        about += zip(shard.record.records, shard.side["sequences"], strict=True)
    ordered = [own for _, (_, own) in sorted(rows, key=lambda each: each[0])]
    sequences = [each for _, each in sorted(about, key=lambda each: each[0])]
    summary_path(out).unlink(missing_ok=True)
    write_table(out, (row for own in ordered for row in own))
    write_json(summary_path(out), merged_summary([each.side for each in shards], sequences))
    return MergeResult(out, len(shards), len(ordered), 0, summary_path(out))


def _add_clusters(rows: Sequence[dict[str, Any]]) -> None:
    """Number the clusters of the whole set: a shard cannot know them."""
    if not mmseqs.is_available():
        return
    scored = [row for row in rows if row["status"] == "ok" and not is_native(row.get("native"))]
    numbers = cluster_numbers([row["sequence"] for row in scored])
    for row, number in zip(scored, numbers, strict=True):
        row["cluster"] = number


def _merged_table_summary(shards: Sequence[ShardFile]) -> dict[str, Any]:
    """What the shards' summaries share; the figures of a set are no sums of its parts'."""
    shared = without_figures(shards[0].side)
    domain = merged_domain([shard.side.get(JUDGE_DOMAIN) for shard in shards])
    known = [shard.side.get(PARENTS) or {} for shard in shards]
    parents = {name: scores for each in known for name, scores in each.items()}
    shared |= {PARENTS: parents} if parents else {}
    return {**shared, JUDGE_DOMAIN: domain, "num_shards": len(shards)}
