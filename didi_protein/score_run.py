"""What `score` does: check, score in batches, compare with natural sequences, write."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch

from didi_core.cli import check_output
from didi_core.commands.processes import join_processes
from didi_core.errors import UserError
from didi_core.files import check_writable
from didi_core.number_checks import no_seed, too_small
from didi_core.progress import progress_bar
from didi_core.sampling.partial_file import partial_path, partials_of, process_path
from didi_core.shards import Shard, parse_shard
from didi_core.training.devices import check_precision, resolve_device, settle_precision
from didi_protein.fasta import read_records
from didi_protein.judges import Judge, open_judge, open_masked_scorer
from didi_protein.score import ScoreOptions, ScoreResult
from didi_protein.score_finish import finish, read_natural
from didi_protein.score_fold import check_files, check_folding, check_thresholds, plan_rows
from didi_protein.score_journal import Journal
from didi_protein.score_processes import gather_rows
from didi_protein.score_row import Row, check_records
from didi_protein.score_rows import score_rows
from didi_protein.score_summary import read_stored_scorers
from didi_protein.scorers import JudgeScorer, PropertyScorer, PseudoScorer, Scorer
from didi_protein.scores_table import check_suffix, plain_rows, read_scores, summary_path
from didi_protein.structures import point_from, say_without_plddt


def run_score(options: ScoreOptions, judge: Judge | None = None) -> ScoreResult | None:
    """See `didi_protein.score.score`."""
    shard = _check_options(options)
    options = settle_precision(options)
    processes = join_processes()
    journal = Journal(process_path(partial_path(options.out), processes.rank))
    if processes.is_first:
        _check_outputs(options)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    natural = read_natural(options)
    records = read_records(options.inputs, keep_unreadable=True)
    check_thresholds(options, records)
    point_from([record.columns for record in records], options.out.parent)
    if processes.is_first:
        say_without_plddt(record.columns for record in records)
    scorers = open_scorers(
        options, judge, processes.device(options.device), [record.id for record in records]
    )
    rows = check_records(records, scorers, options.clean, options.max_length)
    places, batches = plan_rows(options, rows, shard)
    if processes.is_first:
        check_files(options, scorers, [rows[place].record.id for place in places])
    processes.wait()
    _recall(options, journal, scorers)
    processes.wait()
    own = processes.share(batches)
    _score(options, rows, own, scorers, journal, quiet=not processes.is_first)
    if not gather_rows(processes, rows, [place for batch in own for place in batch]):
        return None
    return finish(options, natural, shard, rows, places, scorers, journal)


def _check_options(options: ScoreOptions) -> Shard:
    """Refuse what cannot be meant, before anything is opened."""
    check_suffix(options.out)
    check_precision(options.precision)
    resolve_device(options.device)
    check_folding(options)
    if options.tm_pairs < 0:
        raise UserError(f"--tm-pairs {options.tm_pairs}: give a number of pairs, or 0 for none.")
    wrong = too_small(options, max_length=1, threads=1, batch_tokens=1) + no_seed(options.seed)
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    return parse_shard(options.shard)


def _check_outputs(options: ScoreOptions) -> None:
    for path in (options.out, summary_path(options.out), partial_path(options.out)):
        check_writable(path)
    for path in (options.out, summary_path(options.out), *partials_of(options.out)):
        check_output(path, resume=options.resume, overwrite=options.overwrite)


def open_scorers(
    options: ScoreOptions,
    judge: Judge | None = None,
    device: torch.device | None = None,
    record_ids: Sequence[str] = (),
) -> list[Scorer]:
    """The scorers asked for, in the order in which each batch goes through them.

    Args:
        judge: the judge, where it is open already.
        device: to compute on; that of the options when None.
        record_ids: of all records: folding names its files by them.
    """
    device = device or resolve_device(options.device)
    scorers: list[Scorer] = [PropertyScorer()]
    if options.judge != "none":
        judge = judge or open_judge(options.judge, device, offline=options.offline)
        scorers.append(JudgeScorer(judge, options.batch_tokens, options.precision))
    if options.pseudo != "none":
        masked = open_masked_scorer(options.pseudo, device, offline=options.offline)
        scorers.append(PseudoScorer(masked, options.batch_tokens, options.precision))
    if options.fold != "none":
        # Imported here: ESMFold's modules take as long to load as all of the above.
        from didi_protein.folding.options import open_fold_scorer

        scorers.append(open_fold_scorer(options, record_ids, device))
    return scorers


def _recall(options: ScoreOptions, journal: Journal, scorers: Sequence[Scorer]) -> None:
    """Take over what an earlier run with the same settings found, or forget it."""
    if not options.resume:
        journal.clear()
        return
    journal.load()
    for other in partials_of(options.out):
        if other != journal.path:
            journal.load_from(other)
    if options.out.is_file():
        stored = read_stored_scorers(summary_path(options.out))
        rows = list(plain_rows(read_scores(options.out, "--out")))
        for scorer in scorers:
            if stored.get(scorer.name) == scorer.settings:
                journal.take_table(scorer, rows)


def _score(
    options: ScoreOptions,
    rows: Sequence[Row],
    batches: Sequence[Sequence[int]],
    scorers: Sequence[Scorer],
    journal: Journal,
    *,
    quiet: bool,
) -> None:
    total = sum(len(rows[place].record.sequence) for batch in batches for place in batch)
    shown = nullcontext(_ignore) if quiet or options.quiet else progress_bar("scoring", total)
    with shown as on_progress:
        score_rows(rows, batches, scorers, journal, on_progress)


def _ignore(done: float) -> None:
    """Progress that nobody watches."""
