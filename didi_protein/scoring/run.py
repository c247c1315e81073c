"""What `score` does: check, score in batches, and finish.

Told here from top to bottom. What a batch goes through stands in `rows`, what computes columns in
`scorers` (`folding`, `family`), what only the whole set can say in `finish`, and its figures in
`summary` and `set_measures`.
"""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, cast

import torch

from didi_core.cli.run import check_not_read, check_output
from didi_core.commands.processes import Processes, join_processes
from didi_core.errors import UserError
from didi_core.io.files import check_writable
from didi_core.io.journal import partial_path, partials_of, process_path
from didi_core.io.shards import Shard, parse_shard
from didi_core.number_checks import minimum_errors, seed_errors
from didi_core.progress import progress_bar
from didi_core.training.devices import check_precision, resolve_device, settle_precision
from didi_protein.models.judges import Judge, MaskedScorer, open_judge, open_masked_scorer
from didi_protein.scoring.embedding import open_embedder
from didi_protein.scoring.family import open_family_scorer
from didi_protein.scoring.finish import finish, read_natural
from didi_protein.scoring.folding import (
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
from didi_protein.scoring.rows import Row, check_records, planned_work, score_rows
from didi_protein.scoring.scorers import (
    JudgeScorer,
    PropertyScorer,
    PseudoScorer,
    Scorer,
)
from didi_protein.scoring.summary import read_stored_scorers
from didi_protein.scoring.table import (
    check_suffix,
    plain_rows,
    read_scores,
    summary_path,
)
from didi_protein.scoring.training import (
    open_training,
)
from didi_protein.sequences.design_ids import OTHER_PREFIX, SharedIds
from didi_protein.sequences.fasta import Reading, read_records
from didi_protein.sequences.tables import asked_columns
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
