"""Designs and scores of one cell of a comparison: a model, a sampler and a number of steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from didi_core.commands import comparison_cells as shared
from didi_core.commands.comparison_cells import Cell, ScoredCell, none_made, row_of, unjudged
from didi_core.commands.comparison_frontier import MeasuredSet
from didi_core.evaluation.frontier import FrontierPoint
from didi_core.evaluation.ratio import PooledKmerEntropy, Ratio
from didi_core.models.folder import LoadedModel
from didi_protein.alphabet import CANONICAL_RESIDUES
from didi_protein.generate import GenerateOptions, GenerateResult, generate
from didi_protein.judges import Judge
from didi_protein.score import ScoreOptions, ScoreResult, score
from didi_protein.set_measures import KMER
from didi_protein.training_sequences import read_training_sequences

NOUN = "design"
DIVERSITY = PooledKmerEntropy(KMER, len(CANONICAL_RESIDUES))
FOLD_COLUMNS = ("mean_plddt", "ptm", "mean_pae")


@dataclass(frozen=True, kw_only=True)
class CellRequest(shared.CellRequest):
    """What all cells of a comparison share."""

    fold: str = "none"
    pdb_dir: Path | None = None
    reference: Path | None = None
    training: Path | None = None


def design_cell(cell: Cell, request: CellRequest, model: LoadedModel) -> GenerateResult:
    """Write `CELL.fasta`, or go on with it."""
    return generate(GenerateOptions(**request.generation(cell, ".fasta")), model)


def score_cell(cell: Cell, request: CellRequest, made: GenerateResult, judge: Judge) -> ScoredCell:
    """Write `CELL.csv` beside the designs, or go on with it.

    Designs of which none was judged, as they are too long for the judge, have a row that says so.
    """
    if not made.num_made:
        return unjudged(cell, made, NOUN, none_made(made, NOUN))
    fasta = made.fasta
    options = ScoreOptions(
        inputs=[str(fasta)],
        out=fasta.with_suffix(".csv"),
        judge=judge.name,
        pseudo="none",  # one network call a residue: more than all else together
        fold=request.fold,
        pdb_dir=None if request.pdb_dir is None else request.pdb_dir / cell.name,
        reference=request.reference,
        training=request.training,
        seed=request.seed,
        device=request.device,
        batch_tokens=request.batch_tokens,
        offline=request.offline,
        resume=True,
    )
    scored = score(options, judge)
    if scored.summary["set"]["judge_nll"] is None:
        reason = f"no design was judged ({scored.table['error'].dropna().iloc[0]})"
        return unjudged(cell, made, NOUN, reason, scored.table["id"])
    row = row_of(cell, made, NOUN, scored.summary["set"]["n"], _figures(scored))
    return ScoredCell(cell, row, np.log(scored.table.set_index("id")["judge_perplexity"]))


def measure(scored: ScoredCell, request: CellRequest) -> MeasuredSet:
    """Judge NLL, every design alike, and pooled 3-mer entropy."""
    nll = scored.judge_nll.dropna()

    def point(ids: Sequence[str]) -> FrontierPoint:
        designs = dict(read_training_sequences(request.path(scored.cell, ".fasta")))
        ranks = [[CANONICAL_RESIDUES.index(residue) for residue in designs[each]] for each in ids]
        return FrontierPoint(
            scored.cell.temperature, Ratio.mean_of(nll[list(ids)].to_numpy()), DIVERSITY(ranks)
        )

    return MeasuredSet(scored.cell, frozenset(nll.index), point)


def without_extras(request: CellRequest) -> CellRequest:
    """What the other temperatures are asked for: a judge alone."""
    return replace(request, fold="none", pdb_dir=None, reference=None, training=None)


def _figures(scored: ScoreResult) -> dict[str, Any]:
    """The figures of one set, as `score` found them."""
    figures = scored.summary["set"]
    nll = figures["judge_nll"]
    return {
        "judge_nll": nll["mean"],
        "judge_nll_low": nll["low"],
        "judge_nll_high": nll["high"],
        "judge_perplexity": figures["judge_perplexity"]["mean"],
        "precision": _mean(figures["precision"]),
        "recall": _mean(figures["recall"]),
        "copies": _mean(figures["copies"]),
        "pooled_3mer_entropy": _mean(figures["pooled_3mer_entropy"]),
        "mean_repeat_fraction": figures["mean_repeat_fraction"],
        "distinct_fraction": figures["distinct_fraction"],
        "num_clusters": figures["num_clusters"],
        **_folding(scored.table),
    }


def _mean(interval: dict[str, float] | None) -> float | None:
    return interval and interval["mean"]


def _folding(table: pd.DataFrame) -> dict[str, float | None]:
    """Means over the designs that were folded, and the share of those that should fold."""
    means = {
        column: pd.to_numeric(table[column], errors="coerce").mean() for column in FOLD_COLUMNS
    }
    known = table["foldable"].dropna()
    share = known.astype(str).str.lower().isin(("true", "1", "1.0")).mean() if len(known) else None
    return means | {"foldable_share": share}
