"""What `scan` does: check, score every substitution in batches, write table, summary and plots.

Records, their checks, the batches that fail and what is known of an interrupted run are those of
`score`: a scan is one more scorer, whose finding is a table of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from didi_core.cli.run import check_not_read, check_output
from didi_core.errors import UserError
from didi_core.evaluation.headroom_plot import require_matplotlib
from didi_core.io.files import check_writable, write_json
from didi_core.io.journal import partial_path
from didi_core.io.shards import Shard, parse_shard
from didi_core.models.folder import LoadedModel
from didi_core.models.hub_names import last_name
from didi_core.number_checks import minimum_errors
from didi_core.progress import counted, progress_bar
from didi_core.training.devices import check_precision, resolve_device, settle_precision
from didi_protein.folding.structure_files import safe_names
from didi_protein.scanning.heat_map import plot_scan
from didi_protein.scanning.options import ScanOptions, ScanResult
from didi_protein.scanning.scorer import LOG_ODDS, ScanScorer, open_scorer
from didi_protein.scanning.summary import ScannedRow, build_summary, read_stored
from didi_protein.scanning.table import (
    Cells,
    read_table,
    row_of_failure,
    rows_of_scan,
    scans_of,
    write_table,
)
from didi_protein.scoring.journal import KnownScores
from didi_protein.scoring.rows import Row, check_records, planned_work, score_rows, select_shard
from didi_protein.scoring.table import summary_path
from didi_protein.sequences.fasta import ProteinRecord, Reading, read_records
from didi_protein.sequences.positions import parse_positions
from didi_protein.sequences.tables import asked_columns

PLOTS = (".png", ".svg", ".pdf")


def run_scan(options: ScanOptions, model: LoadedModel | None = None) -> ScanResult:
    """See `didi_protein.scan.scan`."""
    shard, positions = _check_options(options)
    options = settle_precision(options)
    known = KnownScores(partial_path(options.out), "scan")
    _check_outputs(options)
    columns = asked_columns(options.sequence_column, options.id_column)
    records = read_records(options.inputs, reading=Reading(columns, keep_unreadable=True))
    scorer = open_scorer(options, positions, model)
    rows = check_records(records, [scorer], options.clean, None)
    _check_positions(options, rows, positions)
    places, batches = select_shard(rows, options.batch_tokens, shard, scorer.plan)
    plots = _plot_paths(options, [rows[place] for place in places])
    _recall(options, known, scorer)
    work = planned_work(rows, batches, [scorer], known)
    bar = nullcontext(float) if options.quiet else progress_bar("scanning", sum(work.values()))
    with bar as show:
        score_rows(rows, batches, [scorer], known, show, work)
    return _finish(options, shard, rows, places, scorer, plots, known)


def _check_options(options: ScanOptions) -> tuple[Shard, tuple[int, ...] | None]:
    """Refuse what cannot be meant, before anything is opened."""
    wrong = minimum_errors(options, batch_tokens=1)
    if options.out.suffix != ".csv":
        wrong.append(f"--out {options.out} must end in .csv")
    if options.plot is not None and options.plot.suffix not in PLOTS:
        wrong.append(f"--plot {options.plot} must end in {', '.join(PLOTS)}")
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    check_precision(options.precision)
    resolve_device(options.device)
    if options.plot is not None:
        require_matplotlib()
    asked = options.positions
    positions = None if asked is None else parse_positions(asked, "--positions")
    return parse_shard(options.shard), positions


def _check_outputs(options: ScanOptions) -> None:
    check_not_read(options.out, options.inputs)
    for path in (options.out, summary_path(options.out), partial_path(options.out)):
        check_writable(path)
        check_output(path, resume=options.resume, overwrite=options.overwrite)


def _check_positions(
    options: ScanOptions, rows: Sequence[Row], positions: tuple[int, ...] | None
) -> None:
    """Raise UserError where a position is beyond a sequence."""
    if positions is None:
        return
    short = [
        row for row in rows if row.status == "ok" and len(row.record.sequence) <= positions[-1]
    ]
    if short:
        first, more = short[0].record, len(short) - 1
        others = f", and {counted(more, 'other')} too few" if more else ""
        raise UserError(
            f"--positions {options.positions}: {first.id} has {len(first.sequence):,} residues"
            f"{others}, so there is no position {positions[-1] + 1}; give positions that all "
            "sequences have, or scan those apart."
        )


def _plot_paths(options: ScanOptions, rows: Sequence[Row]) -> dict[str, Path]:
    """Return the file of each record that can be scanned: NAME of one, NAME_ID of several.

    Raises:
        UserError: one exists.
    """
    if options.plot is None:
        return {}
    ids = [row.record.id for row in rows if row.status == "ok"]
    plot = options.plot
    names = {each: plot.with_stem(f"{plot.stem}_{name}") for each, name in safe_names(ids).items()}
    paths = names if len(ids) > 1 else dict.fromkeys(ids, plot)
    for path in paths.values():
        check_writable(path, "--plot")
        check_output(path, resume=options.resume, overwrite=options.overwrite, flag="--plot")
    return paths


def _recall(options: ScanOptions, known: KnownScores, scorer: ScanScorer) -> None:
    """Take over what an earlier run with the same settings found, or forget it."""
    if not options.resume:
        known.clear()
        return
    known.resume([])
    stored = read_stored(summary_path(options.out))
    if options.out.is_file() and stored.scorer == scorer.settings:
        for record_id, scan in scans_of(dict(read_table(options.out, "--out"))).items():
            sequence = stored.sequences.get(record_id)
            if sequence is not None and scan.positions == scorer.places(len(sequence)):
                values = {LOG_ODDS: scan.log_odds.tolist()}
                known.take(scorer, ProteinRecord(record_id, sequence), values)


def _finish(
    options: ScanOptions,
    shard: Shard,
    rows: Sequence[Row],
    places: Sequence[int],
    scorer: ScanScorer,
    plots: Mapping[str, Path],
    known: KnownScores,
) -> ScanResult:
    """Write table, plots and summary, and let the work in progress go."""
    own = [
        ScannedRow(rows[place], scorer.scan_of(rows[place]) if rows[place].status == "ok" else None)
        for place in places
    ]
    summary = build_summary(options, scorer, own, shard, places, len(rows))
    # The summary last: it vouches for the settings that made the table.
    summary_file = summary_path(options.out)
    summary_file.unlink(missing_ok=True)
    write_table(options.out, (cells for each in own for cells in _cells(each)))
    scans = {each.id: each.scan for each in own if each.scan is not None}
    drawn = tuple(plots[record_id] for record_id in scans if record_id in plots)
    for record_id, scan in scans.items():
        if record_id in plots:
            title = f"{record_id}, scanned by {last_name(options.model)}; dots: the wild type"
            plot_scan(scan, plots[record_id], title)
    write_json(summary_file, summary)
    known.clear()
    return ScanResult(
        scans=scans,
        summary=summary,
        out=options.out,
        summary_file=summary_file,
        plots=drawn,
        num_records=len(own),
        num_failed=len(own) - len(scans),
    )


def _cells(scanned: ScannedRow) -> Iterable[Cells]:
    if scanned.scan is not None:
        return rows_of_scan(scanned.id, scanned.scan)
    return [row_of_failure(scanned.id, scanned.row.status, scanned.row.error)]
