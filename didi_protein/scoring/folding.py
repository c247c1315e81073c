"""What `--fold` changes in `score`: batches and their order, which files, and who is foldable.

The folding models' own modules take long to load: they are imported only where something is folded.
"""

import math
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pandas as pd
import torch

from didi_core.cli.run import check_output
from didi_core.errors import UserError, missing_extra
from didi_core.io.shards import Shard
from didi_core.progress import counted
from didi_core.training.devices import resolve_device
from didi_protein.scoring.options import ScoreOptions
from didi_protein.scoring.rows import Row, select_shard
from didi_protein.scoring.scorers import Scorer
from didi_protein.sequences.fasta import ProteinRecord
from didi_protein.similarity import tm_score

if TYPE_CHECKING:
    from didi_protein.folding.scorer import AgreementScorer, FoldScorer

_THRESHOLDS = (("foldable_plddt", 100), ("foldable_ptm", 1), ("foldable_pae", 31))


_RULED = ("mean_plddt", "ptm", "mean_pae")
_LIKELIEST = ("judge_perplexity", "pseudo_perplexity")
"""What tells which designs are folded first: the first of these that was computed."""
AT_ONCE = 64
"""Likeliest designs whose batches are planned together with `--top`: so many may be folded in the
order of their lengths."""


def check_folding(options: ScoreOptions) -> None:
    """Raise UserError for values of the folding flags that cannot be meant."""
    wrong = [
        f"{_flag(name)} {getattr(options, name):g} must be from 0 to {most}"
        for name, most in _THRESHOLDS
        if not 0 <= getattr(options, name) <= most
    ]
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    if options.fold != "none":
        _check_fold_options(options)
        _check_models(options.fold)
        return
    for flag, value in (
        ("--top", options.top),
        ("--pdb-dir", options.pdb_dir),
        ("--per-residue", options.per_residue),
        ("--fold-recycles", options.fold_recycles),
        ("--fold-samples", options.fold_samples),
        ("--fold-seed", options.fold_seed or None),
        ("--fold-chunk-size", options.fold_chunk_size),
        ("--fold-pairs", options.fold_pairs),
        ("--fold-precision", None if options.fold_precision == "auto" else options.fold_precision),
    ):
        if value is not None:
            raise UserError(f"{flag} {value}: nothing is folded without --fold, as in esmfold.")


def _check_fold_options(options: ScoreOptions) -> None:
    """Collect what is wrong with single values, and show it together.

    Raises:
        UserError: naming each flag and value.
    """
    from didi_protein.folding.loading import PRECISIONS

    wrong = []
    for flag, value, least in (
        ("--top", options.top, 1),
        ("--fold-recycles", options.fold_recycles, 0),
        ("--fold-samples", options.fold_samples, 1),
        ("--fold-chunk-size", options.fold_chunk_size, 1),
        ("--fold-pairs", options.fold_pairs, 1),
    ):
        if value is not None and value < least:
            wrong.append(f"{flag} {value} must be {least} or more")
    if options.fold_precision not in ("auto", *PRECISIONS):
        wrong.append(f"--fold-precision {options.fold_precision} must be auto, float32, fp16, bf16")
    if wrong:
        raise UserError("; ".join(wrong) + ".")


def folding_models(fold: str) -> list[str]:
    """Return the names that `--fold` lists; one name, where a folder's own has the comma."""
    return [fold] if Path(fold).is_dir() else [each.strip() for each in fold.split(",")]


def _check_models(fold: str) -> None:
    """Raise UserError unless one model is named, or two whose structures can be compared."""
    names = folding_models(fold)
    if len(names) > 2 or len(set(names)) < len(names) or not all(names):
        raise UserError(
            f"--fold {fold}: name one folding model, or two that differ, as in esmfold,esmfold2."
        )
    if len(names) == 2 and not tm_score.is_available():
        raise missing_extra("tmtools", "metrics")


def check_thresholds(options: ScoreOptions, records: Sequence[ProteinRecord]) -> None:
    """Refuse thresholds of `foldable` where nothing is folded and no structure states all three.

    Raises:
        UserError: naming each flag that would not act.
    """
    if options.fold != "none" or any(set(_RULED) <= set(each.columns) for each in records):
        return
    idle = [
        f"{_flag(name)} {value:g}"
        for name, _ in _THRESHOLDS
        if (value := getattr(options, name)) != getattr(ScoreOptions, name)
    ]
    if idle:
        raise UserError(
            f"{', '.join(idle)}: no pLDDT, pTM and PAE to compare with; give --fold, as in --fold "
            "esmfold, or predicted structures that state them."
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def plan_rows(
    options: ScoreOptions, rows: Sequence[Row], shard: Shard
) -> tuple[list[int], list[list[int]]]:
    """The places and the batches of this shard; folding, where asked for, decides the batches."""
    if options.fold == "none":
        return select_shard(rows, options.batch_tokens, shard)
    from didi_protein.folding.memory import plan_pair_batches

    return select_shard(rows, _pair_budget(options), shard, plan_pair_batches)


def _pair_budget(options: ScoreOptions) -> int:
    from didi_protein.folding.memory import PAIR_BUDGETS

    kind = resolve_device(options.device).type
    return options.fold_pairs or PAIR_BUDGETS.get(kind, PAIR_BUDGETS["cuda"])


def check_top(options: ScoreOptions, num_parts: int) -> None:
    """Refuse `--top` where the set is scored in parts.

    Args:
        num_parts: shards times processes.

    Raises:
        UserError: there are several.
    """
    if options.top is not None and num_parts > 1:
        raise UserError(
            f"--top {options.top}: one of several parts of a set cannot know how many of the "
            "others fold; leave out --shard and torchrun, or --top."
        )


def folding_order(
    options: ScoreOptions, rows: Sequence[Row], batches: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Return the batches in which rows are folded, the likeliest first.

    All of them: the batches that were planned, by the mean rank of their rows, so that what was
    folded when a run is interrupted is worth most and no number depends on the order. With
    `--top`, batches of their own: of the likeliest `AT_ONCE`, then of the next.

    Args:
        batches: places of rows, which are scored but not folded.
    """
    ranked = _likeliest_first(rows, [place for batch in batches for place in batch])
    if options.top is not None:
        return [
            batch
            for start in range(0, len(ranked), AT_ONCE)
            for batch in _pair_batches(options, rows, ranked[start : start + AT_ONCE])
        ]
    if _likeliest_by(rows[place].values for place in ranked) is None:
        return [list(batch) for batch in batches]
    rank = {place: number for number, place in enumerate(ranked)}
    return sorted(map(list, batches), key=lambda b: sum(rank[place] for place in b) / len(b))


def _likeliest_first(rows: Sequence[Row], places: Sequence[int]) -> list[int]:
    """Sort places by the perplexity of their rows; those without one come last, in input order."""
    column = _likeliest_by(rows[place].values for place in places)
    return sorted(places, key=lambda place: (rows[place].values.get(column or "", math.inf), place))


def _likeliest_by(known: Iterable[Container[str]]) -> str | None:
    """Return the one perplexity that rows are ranked by, of the columns that each of them has."""
    computed = list(known)
    return next((name for name in _LIKELIEST if any(name in each for each in computed)), None)


def _pair_batches(
    options: ScoreOptions, rows: Sequence[Row], places: Sequence[int]
) -> list[list[int]]:
    from didi_protein.folding.memory import plan_pair_batches

    lengths = [len(rows[place].record.sequence) for place in places]
    plan = plan_pair_batches(lengths, _pair_budget(options))
    return [[places[number] for number in batch] for batch in plan]


def has_enough(options: ScoreOptions, rows: Iterable[Row]) -> bool:
    """Tell whether as many designs were folded and are foldable as `--top` asks for."""
    if options.top is None:
        return False
    # Of a row that failed no figure is made, whatever it folds into.
    own = (row for row in rows if row.status == "ok" and not row.is_native)
    folded = (row for row in own if "mean_plddt" in row.values)
    return sum(bool(_is_foldable(options, row)) for row in folded) >= options.top


def about_top(options: ScoreOptions, designs: pd.DataFrame) -> list[str]:
    """Say which designs the figures of structures rest on, where `--top` left some out."""
    folded = designs[designs["mean_plddt"].notna()]
    if options.top is None or len(folded) == len(designs):
        return []
    found = int(folded["foldable"].fillna(False).astype(bool).sum())
    by = _likeliest_by([designs.columns[designs.notna().any()]])
    order = "in input order" if by is None else f"the likeliest {AT_ONCE} first by {by}"
    return [
        f"--top {options.top}: {len(folded):,} of {counted(len(designs), 'design')} folded, "
        f"{order}, {found:,} of them foldable. Figures of structures are of these alone."
    ]


def check_files(
    options: ScoreOptions, scorers: Sequence[Scorer], record_ids: Sequence[str]
) -> None:
    """Refuse to replace structures that exist, unless told to."""
    for scorer in scorers:
        if scorer.name == "fold":
            _check_fold_files(options, cast("FoldScorer", scorer), record_ids)


def add_foldable(options: ScoreOptions, rows: Sequence[Row]) -> None:
    """Apply the thresholds: with others, nothing needs to be folded again; name the model."""
    model = folding_models(options.fold)[0]
    for row in rows:
        if options.fold != "none" and "mean_plddt" in row.values:
            row.values["fold_model"] = model
        if (foldable := _is_foldable(options, row)) is not None:
            row.values["foldable"] = foldable


def _is_foldable(options: ScoreOptions, row: Row) -> bool | None:
    known = row.as_dict()  # what a structure file states counts too
    plddt, ptm, pae = (known.get(name) for name in _RULED)
    if plddt is None or ptm is None or pae is None:
        return None
    return bool(
        plddt > options.foldable_plddt and ptm > options.foldable_ptm and pae < options.foldable_pae
    )


def open_fold_scorers(
    options: ScoreOptions, record_ids: Iterable[str], device: torch.device
) -> "list[FoldScorer | AgreementScorer]":
    """Return the scorers of `--fold`: of one model, and of a second where it names two.

    Raises:
        UserError: see `open_folding_model`; or none of the models draws, and was asked how.
    """
    from didi_protein.folding.fold import FoldRequest
    from didi_protein.folding.network import open_folding_model
    from didi_protein.folding.scorer import AgreementScorer, FoldScorer
    from didi_protein.folding.structure_files import FoldFiles, safe_names

    files = FoldFiles(
        safe_names(record_ids), options.out.parent, options.pdb_dir, options.per_residue
    )
    request = FoldRequest(options.fold_recycles, options.fold_samples, options.fold_seed)
    models = [
        open_folding_model(
            name,
            device,
            precision=options.fold_precision,
            offline=options.offline,
            request=request,
        )
        for name in folding_models(options.fold)
    ]
    if not any(each.draws for each in models):
        _refuse_draws(options)
    first = FoldScorer(models[0], files, options.fold_chunk_size)
    return [first, *(AgreementScorer(first, each) for each in models[1:])]


def _refuse_draws(options: ScoreOptions) -> None:
    asked = {"--fold-samples": options.fold_samples, "--fold-seed": options.fold_seed or None}
    for flag, value in asked.items():
        if value is not None:
            raise UserError(
                f"{flag} {value}: --fold {options.fold} draws no structures, as an ESMFold2 does; "
                f"leave {flag} out."
            )


def _check_fold_files(
    options: ScoreOptions, scorer: "FoldScorer", record_ids: Iterable[str]
) -> None:
    """Refuse to replace a structure that exists, unless told to; see `check_output`."""
    for record_id in record_ids:
        for path in scorer.files.paths(record_id):
            flag = "--pdb-dir" if path.suffix == ".pdb" else "--per-residue"
            check_output(path, resume=options.resume, overwrite=options.overwrite, flag=flag)
