"""What `score` does: check, score in batches, compare with natural sequences, write."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from didi_core.cli import check_output
from didi_core.errors import UserError
from didi_core.files import write_json
from didi_core.progress import progress_bar
from didi_core.sampling.partial_file import partial_path
from didi_core.shards import Shard, parse_shard
from didi_core.training.devices import check_precision, resolve_device
from didi_protein import mmseqs
from didi_protein.fasta import read_records, read_training_sequences
from didi_protein.judges import Judge, open_judge, open_masked_scorer
from didi_protein.neighbours import Neighbour, cluster_numbers, nearest_neighbours
from didi_protein.score import ScoreOptions, ScoreResult
from didi_protein.score_journal import Journal
from didi_protein.score_rows import Row, check_records, score_rows, select_shard
from didi_protein.score_summary import SummaryParts, build_summary, read_stored_scorers
from didi_protein.scorers import JudgeScorer, PropertyScorer, PseudoScorer, Scorer
from didi_protein.scores_table import (
    build_table,
    check_suffix,
    read_scores,
    summary_path,
    write_scores,
)
from didi_protein.structure_measures import StructureMeasures, StructureRequest, measure_structures
from didi_protein.structures import say_without_plddt


def run_score(options: ScoreOptions, judge: Judge | None = None) -> ScoreResult:
    """See `didi_protein.score.score`."""
    shard = _check_options(options)
    journal = Journal(partial_path(options.out))
    _check_outputs(options, journal.path)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    records = read_records(options.inputs)
    say_without_plddt(record.columns for record in records)
    scorers = open_scorers(options, judge)
    rows = check_records(records, scorers, options.clean, options.max_length)
    places, batches = select_shard(rows, options.batch_tokens, shard)
    _recall(options, journal, scorers)
    try:
        _score(options, rows, batches, scorers, journal)
    finally:
        journal.close()
    return _finish(options, shard, rows, places, scorers, journal)


def _check_options(options: ScoreOptions) -> Shard:
    """Refuse what cannot be meant, before anything is opened."""
    check_suffix(options.out)
    check_precision(options.precision)
    resolve_device(options.device)
    if options.fold != "none":
        raise UserError(
            f"--fold {options.fold}: this version does not fold; leave --fold at none, and the "
            "columns mean_plddt to pdb_file stay empty."
        )
    if options.pdb_dir is not None:
        raise UserError(f"--pdb-dir {options.pdb_dir}: there are no structures without --fold.")
    if options.tm_pairs < 0:
        raise UserError(f"--tm-pairs {options.tm_pairs}: give a number of pairs, or 0 for none.")
    for flag, value in (
        ("--max-length", options.max_length),
        ("--threads", options.threads),
        ("--batch-tokens", options.batch_tokens),
    ):
        if value is not None and value < 1:
            raise UserError(f"{flag} {value}: give a number of 1 or more.")
    return parse_shard(options.shard)


def _check_outputs(options: ScoreOptions, partial: Path) -> None:
    for path in (options.out, summary_path(options.out), partial):
        check_output(path, resume=options.resume, overwrite=options.overwrite)
    options.out.parent.mkdir(parents=True, exist_ok=True)


def open_scorers(options: ScoreOptions, judge: Judge | None = None) -> list[Scorer]:
    """The scorers asked for, in the order in which each batch goes through them."""
    device = resolve_device(options.device)
    scorers: list[Scorer] = [PropertyScorer()]
    if options.judge != "none":
        judge = judge or open_judge(options.judge, device, offline=options.offline)
        scorers.append(JudgeScorer(judge, options.batch_tokens, options.precision))
    if options.pseudo != "none":
        masked = open_masked_scorer(options.pseudo, device, offline=options.offline)
        scorers.append(PseudoScorer(masked, options.batch_tokens, options.precision))
    return scorers


def _recall(options: ScoreOptions, journal: Journal, scorers: Sequence[Scorer]) -> None:
    """Take over what an earlier run with the same settings found, or forget it."""
    if not options.resume:
        journal.clear()
        return
    journal.load()
    if options.out.is_file():
        stored = read_stored_scorers(summary_path(options.out))
        rows = read_scores(options.out).astype(object).where(lambda table: table.notna(), None)
        for scorer in scorers:
            if stored.get(scorer.name) == scorer.settings:
                journal.take_table(scorer, rows.to_dict("records"))


def _score(
    options: ScoreOptions,
    rows: Sequence[Row],
    batches: Sequence[Sequence[int]],
    scorers: Sequence[Scorer],
    journal: Journal,
) -> None:
    total = sum(len(rows[place].record.sequence) for batch in batches for place in batch)
    shown = nullcontext(_ignore) if options.quiet else progress_bar("scoring", total)
    with shown as on_progress:
        score_rows(rows, batches, scorers, journal, on_progress)


def _ignore(done: float) -> None:
    """Progress that nobody watches."""


def _finish(
    options: ScoreOptions,
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
    reference = _read(options.reference, "--reference")
    training = _read(options.training, "--training")
    neighbours = _add_neighbours(scored, sequences, reference, options.threads)
    # A cluster is a matter of the whole set: `merge` finds those of shards.
    clusters = _add_clusters(scored, sequences, options.threads) if shard.count == 1 else None
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
