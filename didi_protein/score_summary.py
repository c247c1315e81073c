"""`NAME.summary.json`: the figures of a whole set, and all that is needed to read them."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from didi_core.evaluation.bootstrap import warnings_of_few
from didi_core.shards import SHARD_KEY, Shard, shard_record
from didi_protein.confidence_figures import confidence_figures
from didi_protein.neighbours import Neighbour
from didi_protein.score import ScoreOptions
from didi_protein.score_definitions import definitions, versions
from didi_protein.scorers import JudgeScorer, PseudoScorer, Scorer
from didi_protein.set_measures import SetMeasures, measure_reference_rows, measure_set
from didi_protein.structure_measures import StructureMeasures

if TYPE_CHECKING:
    from didi_protein.folding.scorer import FoldScorer

FORMAT = "didi-protein score summary 1"
STRUCTURE_FIGURES = {"mean_pairwise_tm": None, "num_structure_clusters": None}
"""Figures of the structures, where none were measured."""


@dataclass(frozen=True)
class SummaryParts:
    """What a run knows when its rows are done."""

    table: pd.DataFrame
    scorers: Sequence[Scorer]
    reference: Sequence[str] | None
    training: Sequence[str] | None
    neighbours: Sequence[Neighbour | None] | None
    clusters: Sequence[int] | None
    """Of the rows that are ok; None where not computed."""
    structures: StructureMeasures
    shard: Shard
    places: Sequence[int]
    """Place of each row among all records."""
    num_records: int
    """Of the whole request."""


def build_summary(options: ScoreOptions, parts: SummaryParts) -> dict[str, Any]:
    """The contents of the file."""
    by_status = Counter(parts.table["status"])
    summary = {
        "format": FORMAT,
        "inputs": [str(each) for each in options.inputs],
        "num_records": len(parts.table),
        "num_ok": by_status["ok"],
        "by_status": dict(sorted(by_status.items())),
        "judge": _model_of(parts.scorers, JudgeScorer),
        "pseudo": _model_of(parts.scorers, PseudoScorer),
        "fold": _fold(options, parts.scorers),
        "reference": _file(options.reference, parts.reference),
        "training": _file(options.training, parts.training),
        "set": {
            **measure_table(options, parts).figures,
            **confidence_figures(parts.table, options.seed),
            **STRUCTURE_FIGURES,
            **parts.structures.figures,
        },
        "reference_rows": _reference_rows(options, parts),
        "warnings": warnings_of_few(by_status["ok"], "sequences") if by_status["ok"] else [],
        "definitions": definitions(options, parts),
        "settings": {
            "scorers": {scorer.name: dict(scorer.settings) for scorer in parts.scorers},
            "clean": options.clean,
            "max_length": options.max_length,
            "seed": options.seed,
        },
        "versions": versions() | parts.structures.versions,
    }
    if parts.shard.count > 1:
        record = shard_record(parts.shard, parts.num_records, parts.places)
        summary[SHARD_KEY] = record.as_json()
    return summary


def read_stored_scorers(path: Path) -> dict[str, Any]:
    """Settings of each scorer in an earlier summary; none where it is missing or was cut short."""
    if not path.is_file():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["settings"]["scorers"]
    except (ValueError, KeyError, TypeError):
        return {}
    return stored if isinstance(stored, dict) else {}


def measure_table(options: ScoreOptions, parts: SummaryParts) -> SetMeasures:
    """The figures of the rows that are ok; of a shard only those that are means of rows."""
    rows = parts.table[parts.table["status"] == "ok"]
    whole = parts.shard.count == 1
    perplexity = rows["judge_perplexity"]
    calls = pd.to_numeric(rows["nfe"], errors="coerce").dropna()
    return measure_set(
        rows["sequence"].tolist(),
        held_out=parts.reference if whole else None,
        training=parts.training,
        judge_nll=np.log(perplexity) if len(rows) and perplexity.notna().all() else None,
        num_calls=calls.tolist(),
        neighbours=parts.neighbours,
        clusters=parts.clusters,
        seed=options.seed,
        threads=options.threads,
        find_clusters=False,
    )


def _reference_rows(options: ScoreOptions, parts: SummaryParts) -> dict[str, Any] | None:
    """Those of the judge's folder; else measured on the natural sequences given."""
    judges = [each.judge for each in parts.scorers if isinstance(each, JudgeScorer)]
    if not judges:
        return None
    if judges[0].reference_rows is not None:
        return judges[0].reference_rows
    rows = measure_reference_rows(
        judges[0], parts.reference, parts.training, seed=options.seed, threads=options.threads
    )
    return rows or None


def _model_of(scorers: Sequence[Scorer], kind: type) -> dict[str, Any] | None:
    for scorer in scorers:
        if isinstance(scorer, (JudgeScorer, PseudoScorer)) and isinstance(scorer, kind):
            model = scorer.judge if isinstance(scorer, JudgeScorer) else scorer.scorer
            return {
                "name": model.name,
                "num_parameters": model.num_parameters,
                "precision": scorer.precision,
            }
    return None


def _fold(options: ScoreOptions, scorers: Sequence[Scorer]) -> dict[str, Any] | None:
    """The folding model, how it was run, and the thresholds of `foldable`."""
    for scorer in scorers:
        if scorer.name == "fold":
            folding = cast("FoldScorer", scorer)
            return {
                "name": folding.model.name,
                "num_parameters": folding.model.num_parameters,
                "precision": folding.precision,
                "recycles": folding.settings["recycles"],
                "foldable": {
                    "min_plddt": options.foldable_plddt,
                    "min_ptm": options.foldable_ptm,
                    "max_pae": options.foldable_pae,
                },
            }
    return None


def _file(path: Path | None, sequences: Sequence[str] | None) -> dict[str, Any] | None:
    return None if sequences is None else {"file": str(path), "num_sequences": len(sequences)}
