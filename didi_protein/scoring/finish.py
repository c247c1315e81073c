"""The end of `score`: what only the whole set can say, the table, and the summary beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from didi_core.io.files import write_json
from didi_core.io.journal import partials_of
from didi_core.io.shards import Shard
from didi_core.progress import announce, counted
from didi_protein.families.statistics import FamilyStatistics
from didi_protein.models.judges import MaskedScorer
from didi_protein.scoring.embedding import EmbeddingMeasures, measure_embedding
from didi_protein.scoring.family import FamilyScorer, family_record
from didi_protein.scoring.folding import add_foldable
from didi_protein.scoring.journal import KnownScores
from didi_protein.scoring.options import ScoreOptions, ScoreResult
from didi_protein.scoring.parents import reason_against_counting, score_parents
from didi_protein.scoring.rows import Row
from didi_protein.scoring.scorers import Scorer, autocast_of
from didi_protein.scoring.structure_measures import (
    StructureMeasures,
    StructureRequest,
    measure_structures,
)
from didi_protein.scoring.summary import build_summary
from didi_protein.scoring.summary_parts import SummaryParts
from didi_protein.scoring.table import build_table, summary_path, write_scores
from didi_protein.scoring.training import (
    NONE,
    AlignedTraining,
    TrainingSources,
    add_training,
    training_record,
)
from didi_protein.sequences.training_data import read_training_sequences
from didi_protein.similarity import mmseqs
from didi_protein.similarity.neighbours import (
    NEIGHBOUR_IDENTITY,
    Neighbour,
    clusters_at,
    nearest_neighbours,
)


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
    training = None if str(options.training) == NONE else options.training
    return Natural(_read(options.reference, "--reference"), _read(training, "--training"))


def finish(
    options: ScoreOptions,
    natural: Natural,
    sources: TrainingSources,
    shard: Shard,
    rows: Sequence[Row],
    places: Sequence[int],
    scorers: Sequence[Scorer],
    known: KnownScores,
    embedder: MaskedScorer | None = None,
) -> ScoreResult:
    """Compare with natural sequences, write table and summary, and let the work in progress go."""
    own = [rows[place] for place in places]
    scored = [row for row in own if row.status == "ok"]
    # The sequence that an inverse folder was given has scores, and no place in figures of the set.
    designs = [row for row in scored if not row.is_native]
    sequences = [row.record.sequence for row in designs]
    reference, training = natural.reference, natural.training
    if not options.quiet:
        _announce_neighbours(sequences, reference, sources, shard)
    neighbours = _add_neighbours(designs, sequences, reference, options.threads)
    natives = [row for row in scored if row.is_native]
    _add_neighbours(natives, [row.record.sequence for row in natives], reference, options.threads)
    add_training(scored, sources)
    # A cluster is a matter of the whole set: `merge` finds those of shards.
    clusters = _add_clusters(designs, sequences, options.threads) if shard.count == 1 else None
    add_foldable(options, own)
    structures = _measure_structures(options, shard, designs)
    table = build_table([row.as_dict() for row in own])
    family = next((each for each in scorers if isinstance(each, FamilyScorer)), None)
    statistics = None
    if family is not None and shard.count == 1:
        statistics = _measure_family(options, family, designs)
    named = [(row.record.id, row.record.sequence) for row in scored]
    parents = score_parents(
        designs, [*named, *(reference or ())], scorers, known, quiet=options.quiet
    )
    only_parents = _only_parents(reference, designs)
    embedding = EmbeddingMeasures()
    if embedder is not None and not only_parents:
        embedding = _measure_embedding(options, embedder, sequences, reference or ())
    parts = SummaryParts(
        table=table,
        scorers=scorers,
        reference=None if reference is None else [sequence for _, sequence in reference],
        only_parents=only_parents,
        parents=parents,
        training=None if training is None else [sequence for _, sequence in training],
        held_against=training_record(sources),
        neighbours=neighbours,
        clusters=clusters,
        structures=structures,
        embedding=embedding,
        family=None if family is None else family_record(family, statistics),
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
    known.clear()
    for other in partials_of(options.out):
        other.unlink()
    return ScoreResult(table, summary, options.out, summary_file, len(own) - len(scored))


def _measure_embedding(
    options: ScoreOptions,
    embedder: MaskedScorer,
    sequences: Sequence[str],
    reference: Sequence[tuple[str, str]],
) -> EmbeddingMeasures:
    return measure_embedding(
        embedder,
        sequences,
        [sequence for _, sequence in reference],
        seed=options.seed,
        batch_tokens=options.batch_tokens,
        autocast=autocast_of(options.precision),
        quiet=options.quiet,
    )


def _measure_family(
    options: ScoreOptions, family: FamilyScorer, designs: Sequence[Row]
) -> FamilyStatistics:
    """Count the set against nature, or say why that would tell nothing."""
    if (reason := reason_against_counting(designs)) is not None:
        return FamilyStatistics(reason=reason, num_columns=family.profile.num_columns)
    sequences = [row.record.sequence for row in designs]
    return family.measure(sequences, options.seed, quiet=options.quiet)


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


def _only_parents(reference: Sequence[tuple[str, str]] | None, designs: Sequence[Row]) -> bool:
    """Return whether the natural sequences are nothing but parents of the designs."""
    parents = {row.record.header.get("parent") for row in designs}
    return reference is not None and parents.issuperset(name for name, _ in reference)


def _announce_neighbours(
    sequences: Sequence[str],
    reference: Sequence[tuple[str, str]] | None,
    sources: TrainingSources,
    shard: Shard,
) -> None:
    """Say how long MMseqs2 will look for neighbours, copies and clusters: it does not say it."""
    if not mmseqs.is_available():
        return
    designs, parts, seconds = counted(len(sequences), "design"), [], 0.0
    if reference is not None:
        parts.append(f"{counted(len(reference), 'sequence')} of --reference")
        seconds += mmseqs.seconds_of(sequences, [each for _, each in reference], searches=2)
    aligned = [each for each in sources.distinct if isinstance(each, AlignedTraining)]
    for source in aligned:
        parts.append(f"{counted(len(source), 'training sequence')}")
        seconds += mmseqs.seconds_of(sequences, [each for _, each in source.records])
    if shard.count == 1:
        parts.append("each other")
        seconds += mmseqs.seconds_of(sequences, sequences)
    if parts:
        announce(f"Comparing {designs} with {', '.join(parts)} (MMseqs2)", seconds)


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
) -> dict[float, list[int]] | None:
    """Number the clusters of the rows, at 40% identity, and return those at higher ones too."""
    if not mmseqs.is_available():
        return None
    clusters = clusters_at(sequences, threads=threads)
    for row, number in zip(rows, clusters[NEIGHBOUR_IDENTITY], strict=True):
        row.values["cluster"] = number
    return clusters
