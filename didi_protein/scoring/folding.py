"""The flags of `score` that folding understands: what they must be, and the scorer they make."""

from collections.abc import Iterable

import torch

from didi_core.cli.run import check_output
from didi_core.errors import UserError
from didi_protein.folding.network import PRECISIONS, open_folding_model
from didi_protein.folding.scorer import FoldScorer
from didi_protein.folding.structure_files import FoldFiles, safe_names
from didi_protein.scoring.options import ScoreOptions


def check_fold_options(options: ScoreOptions) -> None:
    """Collect what is wrong with single values, and show it together.

    Raises:
        UserError: naming each flag and value.
    """
    wrong = []
    for flag, value, least in (
        ("--fold-recycles", options.fold_recycles, 0),
        ("--fold-chunk-size", options.fold_chunk_size, 1),
        ("--fold-pairs", options.fold_pairs, 1),
    ):
        if value is not None and value < least:
            wrong.append(f"{flag} {value} must be {least} or more")
    if options.fold_precision not in ("auto", *PRECISIONS):
        wrong.append(f"--fold-precision {options.fold_precision} must be auto, float32, fp16, bf16")
    if wrong:
        raise UserError("; ".join(wrong) + ".")


def open_fold_scorer(
    options: ScoreOptions, record_ids: Iterable[str], device: torch.device
) -> FoldScorer:
    """The scorer of `--fold`; see `open_folding_model` for what it raises."""
    files = FoldFiles(
        safe_names(record_ids), options.out.parent, options.pdb_dir, options.per_residue
    )
    model = open_folding_model(
        options.fold, device, precision=options.fold_precision, offline=options.offline
    )
    return FoldScorer(model, files, options.fold_recycles, options.fold_chunk_size)


def check_fold_files(options: ScoreOptions, files: FoldFiles, record_ids: Iterable[str]) -> None:
    """Refuse to replace a structure that exists, unless told to; see `check_output`."""
    for record_id in record_ids:
        for path in files.paths(record_id):
            flag = "--pdb-dir" if path.suffix == ".pdb" else "--per-residue"
            check_output(path, resume=options.resume, overwrite=options.overwrite, flag=flag)
