"""The end of `score`: what only the whole set can say, the table, and the summary beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from didi_core.files import write_json
from didi_core.sampling.partial_file import partials_of
from didi_core.shards import Shard
from didi_protein import mmseqs
from didi_protein.neighbours import Neighbour, cluster_numbers, nearest_neighbours
from didi_protein.score import ScoreOptions, ScoreResult
from didi_protein.score_fold import add_foldable
from didi_protein.score_journal import Journal
from didi_protein.score_row import Row
from didi_protein.score_summary import SummaryParts, build_summary
from didi_protein.scorers import Scorer
from didi_protein.scores_table import build_table, summary_path, write_scores
from didi_protein.structure_measures import StructureMeasures, StructureRequest, measure_structures
from didi_protein.training_sequences import read_training_sequences


@dataclass(frozen=True)
class Natural:
    """The sequences that a set is compared with: names and residues; None where not given."""

    reference: list[tuple[str, str]] | None
    training: list[tuple[str, str]] | None


def read_natural(options: ScoreOptions) -> Natural:
    """Read `--reference` and `--training`: before hours of scoring, so that a bad file costs none.

    Raises:
        UserError: a file that is missing or holds no sequence.
    """
    return Natural(_read(options.reference, "--reference"), _read(options.training, "--training"))


def finish(
    options: ScoreOptions,
    natural: Natural,
    shard: Shard,
    rows: Sequence[Row],
    places: Sequence[int],
    scorers: Sequence[Scorer],
    journal: Journal,
) -> ScoreResult:
    """Compare with natural sequences, write table and summary, and let go of the journal."""
    own = [rows[place] for place in places]
    scored = [row for row in own if row.status == "ok"]
    sequences = [row.record.sequence for row in scored]
    reference, training = natural.reference, natural.training
    neighbours = _add_neighbours(scored, sequences, reference, options.threads)
    # A cluster is a matter of the whole set: `merge` finds those of shards.
    clusters = _add_clusters(scored, sequences, options.threads) if shard.count == 1 else None
    add_foldable(options, own)
    structures = _measure_structures(options, shard, scored)
    table = build_table([row.as_dict() for row in own])
    parts = SummaryParts(
        table=table,
        scorers=scorers,
        reference=None if reference is None else [sequence for _, sequence in reference],
        training=None if training is None else [sequence for _, sequence in training],
        neighbours=neighbours,
        clusters=clusters,
        structures=structures,
        shard=shard,
        places=places,
        num_records=len(rows),
    )
    summary = build_summary(options, parts)
    # The summary last: it vouches for the settings that made the table.
    summary_file = summary_path(options.out)
    summary_file.unlink(missing_ok=True)
    write_scores(options.out, table)
    write_json(summary_file, summary)
    journal.clear()
    for other in partials_of(options.out):
        other.unlink()
    return ScoreResult(table, summary, options.out, summary_file, len(own) - len(scored))


def _measure_structures(
    options: ScoreOptions, shard: Shard, rows: Sequence[Row]
) -> StructureMeasures:
    request = StructureRequest(
        table=options.out,
        reference=options.reference,
        max_pairs=options.tm_pairs,
        seed=options.seed,
        threads=options.threads,
        whole_set=shard.count == 1,
        quiet=options.quiet,
    )
    return measure_structures(rows, request)


def _read(path: Path | None, flag: str) -> list[tuple[str, str]] | None:
    return None if path is None else read_training_sequences(path, name=flag)


def _add_neighbours(
    rows: Sequence[Row],
    sequences: Sequence[str],
    reference: Sequence[tuple[str, str]] | None,
    threads: int | None,
) -> list[Neighbour | None] | None:
    if reference is None:
        return None
    found = nearest_neighbours(sequences, [sequence for _, sequence in reference], threads)
    for row, neighbour in zip(rows, found, strict=True):
        if neighbour is not None:
            row.values["nearest_reference"] = reference[neighbour.index][0]
            row.values["nearest_reference_identity"] = neighbour.identity
    return found


def _add_clusters(
    rows: Sequence[Row], sequences: Sequence[str], threads: int | None
) -> list[int] | None:
    if not mmseqs.is_available():
        return None
    numbers = cluster_numbers(sequences, threads)
    for row, number in zip(rows, numbers, strict=True):
        row.values["cluster"] = number
    return numbers
