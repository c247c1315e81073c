"""What `score` does: check, score in batches, compare with natural sequences, write.

Told here from top to bottom. What a batch goes through stands in `rows`, what computes columns in
`scorers` (`folding`, `family`), the figures of the set in `summary` and `set_measures`.
"""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from didi_core.cli.run import check_not_read, check_output
from didi_core.commands.processes import Processes, join_processes
from didi_core.errors import UserError
from didi_core.io.files import check_writable, write_json
from didi_core.io.journal import partial_path, partials_of, process_path
from didi_core.io.shards import Shard, parse_shard
from didi_core.number_checks import minimum_errors, seed_errors
from didi_core.progress import announce, counted, progress_bar
from didi_core.training.devices import check_precision, resolve_device, settle_precision
from didi_protein.families.statistics import FamilyStatistics
from didi_protein.models.judges import Judge, MaskedScorer, open_judge, open_masked_scorer
from didi_protein.scoring.embedding import EmbeddingMeasures, measure_embedding, open_embedder
from didi_protein.scoring.family import FamilyScorer, family_record, open_family_scorer
from didi_protein.scoring.folding import (
    add_foldable,
    check_files,
    check_folding,
    check_thresholds,
    check_top,
    folding_order,
    has_enough,
    open_fold_scorers,
    plan_rows,
)
from didi_protein.scoring.journal import KnownScores
from didi_protein.scoring.motifs import (
    Motifs,
    MotifShuffleScorer,
    add_motifs,
    check_motif,
    check_sites,
    read_motifs,
)
from didi_protein.scoring.options import ScoreOptions, ScoreResult
from didi_protein.scoring.parents import reason_against_counting, score_parents
from didi_protein.scoring.rows import Row, check_records, planned_work, score_rows
from didi_protein.scoring.scorers import (
    JudgeScorer,
    PropertyScorer,
    PseudoScorer,
    Scorer,
    autocast_of,
)
from didi_protein.scoring.structure_measures import (
    StructureMeasures,
    StructureRequest,
    measure_structures,
)
from didi_protein.scoring.summary import SummaryParts, build_summary, read_stored_scorers
from didi_protein.scoring.table import (
    build_table,
    check_suffix,
    plain_rows,
    read_scores,
    summary_path,
    write_scores,
)
from didi_protein.scoring.training import (
    NONE,
    AlignedTraining,
    TrainingSources,
    add_training,
    open_training,
    training_record,
)
from didi_protein.sequences.design_ids import OTHER_PREFIX, SharedIds
from didi_protein.sequences.fasta import Reading, read_records
from didi_protein.sequences.tables import asked_columns
from didi_protein.sequences.training_data import read_training_sequences
from didi_protein.similarity import mmseqs
from didi_protein.similarity.neighbours import (
    NEIGHBOUR_IDENTITY,
    Neighbour,
    clusters_at,
    nearest_neighbours,
)
from didi_protein.structures.read import point_from, say_which_models, say_without_plddt

if TYPE_CHECKING:
    from didi_protein.folding.scorer import FoldScorer


def run_score(
    options: ScoreOptions, judge: Judge | None = None, masked: MaskedScorer | None = None
) -> ScoreResult | None:
    """See `didi_protein.score.score`."""
    shard = _check_options(options)
    options = settle_precision(options)
    processes = join_processes()
    check_top(options, shard.count * processes.count)
    known = KnownScores(process_path(partial_path(options.out), processes.rank))
    if processes.is_first:
        _check_outputs(options)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    natural = read_natural(options)
    records = read_records(
        options.inputs,
        reading=_reading(options),
        on_shared=_say_shared if processes.is_first else None,
    )
    say = _say if processes.is_first else _ignore_line
    options = check_motif(options, records, say)
    motifs = read_motifs(options, records, say)
    sources = open_training(options, natural.training, records, natural.reference or ())
    check_thresholds(options, records)
    point_from([record.columns for record in records], options.out.parent)
    if processes.is_first:
        say_which_models((record.columns for record in records), options.all_models)
        say_without_plddt(record.columns for record in records)
    scorers = open_scorers(
        options,
        judge,
        processes.device(options.device),
        [record.id for record in records],
        motifs,
        masked,
    )
    # Opened before hours of scoring, so that a bad name costs none.
    embedder = None
    if processes.is_first:  # by a shard too: a wrong name is told before the work, not after merge
        embedder = open_embedder(options, scorers, processes.device(options.device))
    if shard.count > 1:  # it takes the whole set
        embedder = None
    rows = check_records(records, scorers, options.clean, options.max_length)
    check_sites(motifs, rows)
    places, batches = plan_rows(options, rows, shard)
    if processes.is_first:
        check_files(options, scorers, [rows[place].record.id for place in places])
    processes.wait()
    _recall(options, known, scorers)
    processes.wait()
    own = processes.share(batches)
    _score(options, rows, own, scorers, known, quiet=not processes.is_first)
    if not gather_rows(processes, rows, [place for batch in own for place in batch]):
        return None
    add_motifs(motifs, [rows[place] for place in places], options.out)
    return finish(options, natural, sources, shard, rows, places, scorers, known, embedder)


def _check_options(options: ScoreOptions) -> Shard:
    """Refuse what cannot be meant, before anything is opened."""
    check_suffix(options.out)
    check_precision(options.precision)
    resolve_device(options.device)
    check_folding(options)
    if options.contacts is not None and options.family is None:
        raise UserError(
            f"--contacts {options.contacts}: nothing is compared with contacts without --family; "
            "name the family's alignment there too."
        )
    if options.tm_pairs < 0:
        raise UserError(f"--tm-pairs {options.tm_pairs}: give a number of pairs, or 0 for none.")
    wrong = minimum_errors(options, max_length=1, threads=1, batch_tokens=1) + seed_errors(
        options.seed
    )
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    return parse_shard(options.shard)


def _reading(options: ScoreOptions) -> Reading:
    """Return what is asked of the inputs."""
    columns = asked_columns(options.sequence_column, options.id_column)
    return Reading(columns, options.all_models, keep_unreadable=True)


def _check_outputs(options: ScoreOptions) -> None:
    check_not_read(options.out, options.inputs)
    for path in (options.out, summary_path(options.out), partial_path(options.out)):
        check_writable(path)
    for path in (options.out, summary_path(options.out), *partials_of(options.out)):
        check_output(path, resume=options.resume, overwrite=options.overwrite)


def open_scorers(
    options: ScoreOptions,
    judge: Judge | None = None,
    device: torch.device | None = None,
    record_ids: Sequence[str] = (),
    motifs: Motifs | None = None,
    masked: MaskedScorer | None = None,
) -> list[Scorer]:
    """The scorers asked for, in the order in which each batch goes through them.

    Args:
        judge: the judge, where it is open already.
        device: to compute on; that of the options when None.
        record_ids: of all records: folding names its files by them.
        motifs: of the records.
        masked: the masked model, where it is open already.
    """
    device = device or resolve_device(options.device)
    scorers: list[Scorer] = [PropertyScorer()]
    if options.judge != "none":
        judge = judge or open_judge(options.judge, device, offline=options.offline)
        scorers.append(JudgeScorer(judge, options.batch_tokens, options.precision))
    if options.pseudo != "none":
        masked = masked or open_masked_scorer(options.pseudo, device, offline=options.offline)
        scorers.append(PseudoScorer(masked, options.batch_tokens, options.precision))
    if options.family is not None:
        scorers.append(open_family_scorer(options.family, options.contacts, options.threads))
    if options.fold != "none":
        folding, *second = open_fold_scorers(options, record_ids, device)
        scorers += [folding, *second]
        if motifs is not None:
            scorers.append(MotifShuffleScorer.of(motifs, cast("FoldScorer", folding), options.seed))
    return scorers


def _recall(options: ScoreOptions, known: KnownScores, scorers: Sequence[Scorer]) -> None:
    """Take over what an earlier run with the same settings found, or forget it."""
    if not options.resume:
        known.clear()
        return
    known.resume(partials_of(options.out))
    if options.out.is_file():
        stored = read_stored_scorers(summary_path(options.out))
        rows = list(plain_rows(read_scores(options.out, "--out")))
        for scorer in scorers:
            if stored.get(scorer.name) == scorer.settings:
                known.take_table(scorer, rows)


def _score(
    options: ScoreOptions,
    rows: Sequence[Row],
    batches: Sequence[Sequence[int]],
    scorers: Sequence[Scorer],
    known: KnownScores,
    *,
    quiet: bool,
) -> None:
    """Score batches, and then fold: what is quick to compute tells what to fold first."""
    first = next((at for at, each in enumerate(scorers) if each.name == "fold"), len(scorers))
    silent = quiet or options.quiet

    def run(what: str, batches: Sequence[Sequence[int]], scorers: Sequence[Scorer]) -> None:
        work = planned_work(rows, batches, scorers, known)
        shown = nullcontext(float) if silent else progress_bar(what, sum(work.values()))
        with shown as on_progress:
            enough = partial(has_enough, options, rows)
            score_rows(rows, batches, scorers, known, on_progress, work, enough)

    run("scoring", batches, scorers[:first])
    if scorers[first:]:
        run("folding", folding_order(options, rows, batches), scorers[first:])


def _say_shared(shared: SharedIds) -> None:
    _say(f"INPUT {shared}: the later ones are scored as ID#2, ID#3; {OTHER_PREFIX}.")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _ignore_line(line: str) -> None:
    """What another process says."""


# How rows that several processes scored come back into one table.
#
# See `didi_core.commands.processes`:
#
# torchrun --nproc-per-node 4 --no-python didi-protein score designs.fasta --fold esmfold ...


def gather_rows(processes: Processes, rows: Sequence[Row], places: Sequence[int]) -> bool:
    """Bring what each process found at its `places` into the first one's `rows`.

    Returns:
        Whether this is the first process.
    """
    found = [(place, rows[place].status, rows[place].error, rows[place].values) for place in places]
    parts = processes.collect(found)
    for place, status, error, values in (each for part in parts or () for each in part):
        rows[place].status, rows[place].error, rows[place].values = status, error, values
    return processes.is_first


# The end of `score`: what only the whole set can say, the table, and the summary beside it.


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
