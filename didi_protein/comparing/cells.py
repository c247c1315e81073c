"""Designs and scores of one cell of a comparison: a model, a sampler and a number of steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from didi_core.commands.comparing import cells as shared
from didi_core.commands.comparing.cells import (
    Cell,
    ScoredCell,
    none_made,
    row_of,
    unjudged,
)
from didi_core.commands.comparing.sweep import MeasuredSet, Natural
from didi_core.commands.generating.options import GenerationResult
from didi_core.commands.generating.run import generate
from didi_core.commands.processes import of_first
from didi_core.evaluation.bootstrap import ENOUGH_RECORDS
from didi_core.evaluation.frontier import FrontierPoint, Level
from didi_core.evaluation.ratio import PooledKmerEntropy, Ratio
from didi_core.models.folder import LoadedModel
from didi_protein.comparing.families import ComparedFamilies, count_cell
from didi_protein.generating.designs import DESIGNS
from didi_protein.generating.options import GenerateOptions
from didi_protein.models.judges import Judge
from didi_protein.scoring.options import ScoreOptions, ScoreResult
from didi_protein.scoring.run import run_score
from didi_protein.scoring.set_measures import KMER
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.sequences.training_data import read_training_sequences

NOUN = "design"
DIVERSITY = PooledKmerEntropy(KMER, len(CANONICAL_RESIDUES))
NGRAMS = PooledKmerEntropy(KMER + 1, len(CANONICAL_RESIDUES))
"""Beside it: longer stretches, which a model that repeats what it has read has fewer of."""
FOLD_COLUMNS = ("mean_plddt", "ptm", "mean_pae")


@dataclass(frozen=True, kw_only=True)
class CellRequest(shared.CellRequest):
    """What all cells of a comparison share."""

    fold: str = "none"
    pdb_dir: Path | None = None
    reference: Path | None = None
    training: Path | None = None
    families: ComparedFamilies | None = None


def design_cell(cell: Cell, request: CellRequest, model: LoadedModel) -> GenerationResult:
    """Write `CELL.fasta`, or go on with it."""
    return of_first(generate(GenerateOptions(**request.generation(cell, ".fasta")), DESIGNS, model))


def score_cell(
    cell: Cell, request: CellRequest, made: GenerationResult, judge: Judge
) -> ScoredCell:
    """Write `CELL.csv` beside the designs, or go on with it.

    Designs of which none was judged, as they are too long for the judge, have a row that says so.
    """
    if not made.num_made:
        return unjudged(cell, made, NOUN, none_made(made, NOUN))
    if cell.temperature != 1:  # a point of a curve: the judge alone is asked
        request = replace(request, fold="none", pdb_dir=None, reference=None, training=Path("none"))
    fasta = made.out
    options = ScoreOptions(
        inputs=[str(fasta)],
        out=fasta.with_suffix(".csv"),
        judge=judge.name,
        pseudo="none",  # one network call a residue: more than all else together
        embedding="none",  # it would read as many natural sequences again for every row
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
    scored = of_first(run_score(options, judge))
    if scored.summary["set"]["judge_nll"] is None:
        reason = f"no design was judged ({scored.table['error'].dropna().iloc[0]})"
        return unjudged(cell, made, NOUN, reason, list(scored.table["id"]))
    figures = _figures(scored)
    if cell.temperature == 1:
        ok = scored.table["status"] == "ok"
        figures |= count_cell(options.out, scored.table["sequence"][ok].tolist(), request.families)
    row = row_of(cell, made, NOUN, scored.summary["set"]["n"], figures)
    return ScoredCell(cell, row, np.log(scored.table.set_index("id")["judge_perplexity"]))


def measure(scored: ScoredCell, request: CellRequest) -> MeasuredSet:
    """Judge NLL, every design alike, and pooled entropy of 3-mers and 4-mers."""
    nll = scored.judge_nll.dropna()

    def point(ids: Sequence[str]) -> FrontierPoint:
        designs = dict(read_training_sequences(request.path(scored.cell, ".fasta")))
        ranks = ranks_of([designs[each] for each in ids])
        judged = Ratio.mean_of(nll[list(ids)].to_numpy())
        temperature = scored.cell.temperature
        return FrontierPoint(temperature, judged, DIVERSITY(ranks), NGRAMS.where_known(ranks))

    return MeasuredSet(scored.cell, frozenset(nll.index), point)


def natural_designs(reference: Path, designs: Path, seed: int) -> Natural | None:
    """Natural sequences as designs: as many, cut to their lengths, for pooled entropies grow.

    A design for which no natural sequence is left that is as long has none and does not count;
    None where fewer than half of the designs, and fewer than 30, have one.
    """
    lengths = {name: len(each) for name, each in read_training_sequences(designs)}
    sequences = [each for _, each in read_training_sequences(reference, name="--reference")]
    partners = cut_to_lengths(sequences, lengths, seed)
    if len(partners) < min(ENOUGH_RECORDS, len(lengths) / 2):
        return None

    def level(ids: Sequence[str]) -> Level:
        ranks = ranks_of([partners[each] for each in ids])
        source = "that of as many natural sequences, cut to the lengths of the designs"
        return Level(DIVERSITY(ranks), source, NGRAMS.where_known(ranks))

    return Natural(level, frozenset(partners))


def cut_to_lengths(
    sequences: Sequence[str], lengths: Mapping[str, int], seed: int
) -> dict[str, str]:
    """Give each length, by name, the shortest sequence left that is as long, cut to it.

    Sequences of one length are taken in random order. As many names as can be are in the result.
    """
    order = np.random.default_rng(seed).permutation(len(sequences))
    left = iter(sorted((sequences[i] for i in order), key=len))
    found = {}
    for name, length in sorted(lengths.items(), key=lambda each: each[1]):
        partner = next((each for each in left if len(each) >= length), None)
        if partner is None:
            break
        found[name] = partner[:length]
    return found


def ranks_of(sequences: Sequence[str]) -> list[list[int]]:
    """Each residue as its place in the canonical order."""
    return [[CANONICAL_RESIDUES.index(residue) for residue in each] for each in sequences]


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
    return None if interval is None else interval["mean"]


def _folding(table: pd.DataFrame) -> dict[str, float | None]:
    """Means over the designs that were folded, and the share of those that should fold."""
    means = {
        column: pd.to_numeric(table[column], errors="coerce").mean() for column in FOLD_COLUMNS
    }
    known = table["foldable"].dropna()
    share = known.astype(str).str.lower().isin(("true", "1", "1.0")).mean() if len(known) else None
    return means | {"foldable_share": share}
