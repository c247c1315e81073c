"""`NAME.summary.json`: the figures of a whole set, and all that is needed to read them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from didi_core.cli.command_options import command_line
from didi_core.evaluation.bootstrap import warnings_of_few
from didi_core.io.shards import NOT_OF_THE_WHOLE, SHARD_KEY, shard_record
from didi_core.models.fingerprint import count_parameters
from didi_protein.scoring.definitions import definitions, versions
from didi_protein.scoring.folding import about_top
from didi_protein.scoring.options import ScoreOptions
from didi_protein.scoring.own_shuffles import JUDGE_DOMAIN
from didi_protein.scoring.parents import PARENTS
from didi_protein.scoring.properties import natural_ranges
from didi_protein.scoring.scorers import JudgeScorer, PseudoScorer, Scorer
from didi_protein.scoring.set_measures import (
    SetMeasures,
    copy_figures,
    mean_figures,
    measure_set,
)
from didi_protein.scoring.summary_parts import SummaryParts
from didi_protein.scoring.table import are_designs, scored_designs
from didi_protein.scoring.yardsticks import measure_yardsticks

if TYPE_CHECKING:
    from didi_protein.folding.fold import FoldingModel
    from didi_protein.folding.scorer import AgreementScorer, FoldScorer

FORMAT = "didi-protein score summary 1"


STRUCTURE_FIGURES = dict.fromkeys(
    ("helix_fraction", "strand_fraction", "mean_pairwise_tm", "num_structure_clusters")
)
"""Figures of the structures, where none were measured."""


def build_summary(options: ScoreOptions, parts: SummaryParts) -> dict[str, Any]:
    """The contents of the file."""
    by_status = Counter(parts.table["status"])
    scored = scored_designs(parts.table)
    judges = [each for each in parts.scorers if isinstance(each, JudgeScorer)]
    yardsticks = measure_yardsticks(options, judges, parts.table, parts.reference, parts.training)
    few = warnings_of_few(len(scored), "sequences") if len(scored) else []
    summary = {
        "format": FORMAT,
        "inputs": [str(each) for each in options.inputs],
        "num_records": len(parts.table),
        "num_ok": len(scored),
        "num_natives": int((~are_designs(parts.table)).sum()),
        "by_status": dict(sorted(by_status.items())),
        "judge": _model_of(parts.scorers, JudgeScorer),
        "pseudo": _model_of(parts.scorers, PseudoScorer),
        "fold": _fold(options, parts.scorers),
        "reference": _file(options.reference, parts.reference),
        "reference_ranges": natural_ranges(parts.reference or ()),
        "training": parts.held_against,
        "embedding": parts.embedding.record,
        "family": parts.family,
        **({PARENTS: parts.parents} if parts.parents else {}),
        "set": {
            **measure_table(options, parts).figures,
            "copies_estimated": copy_figures(scored, options.seed)["copies_estimated"],
            **mean_figures(scored, options.seed),
            **STRUCTURE_FIGURES,
            **parts.structures.figures,
            **parts.embedding.figures,
        },
        "reference_rows": _with_rows(yardsticks.rows, parts.embedding.rows),
        JUDGE_DOMAIN: yardsticks.domain,
        "warnings": [
            *few,
            *parts.about_shares,
            *about_top(options, scored),
            *yardsticks.warnings,
            *parts.embedding.warnings,
        ],
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
        command = command_line("didi-protein", "score", options, NOT_OF_THE_WHOLE)
        record = shard_record(parts.shard, parts.num_records, parts.places, command)
        summary[SHARD_KEY] = record.as_json()
    return summary


def _with_rows(
    rows: Mapping[str, Mapping[str, Any]] | None, more: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]] | None:
    """Return the judge's rows with what the embedding says of the same kinds of sequences."""
    joined = {name: dict(row) for name, row in (rows or {}).items()}
    for name, figures in more.items():
        joined.setdefault(name, {"n": figures["fbd"]["n"]}).update(figures)
    return joined or None


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
    rows = scored_designs(parts.table)
    whole = parts.shard.count == 1
    perplexity = rows["judge_perplexity"]
    calls = pd.to_numeric(rows["nfe"], errors="coerce").dropna()
    return measure_set(
        rows["sequence"].tolist(),
        held_out=parts.reference if whole and parts.shares_mean_something else None,
        training_identity=rows["training_identity"].dropna().tolist(),
        judge_nll=np.log(perplexity).tolist() if len(rows) and perplexity.notna().all() else None,
        num_calls=calls.tolist(),
        neighbours=parts.neighbours if parts.shares_mean_something else None,
        clusters=parts.clusters,
        seed=options.seed,
        threads=options.threads,
        find_clusters=False,
    )


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
    """The folding model, how it was run, and the thresholds of `foldable`; a second one too."""
    by_name = {scorer.name: scorer for scorer in scorers}
    if "fold" not in by_name:
        return None
    record = _folding_model(cast("FoldScorer", by_name["fold"]).model) | {
        "top": options.top,
        "foldable": {
            "min_plddt": options.foldable_plddt,
            "min_ptm": options.foldable_ptm,
            "max_pae": options.foldable_pae,
        },
    }
    if (second := by_name.get("fold_second")) is not None:
        record["second"] = _folding_model(cast("AgreementScorer", second).model)
    return record


def _folding_model(model: "FoldingModel") -> dict[str, Any]:
    return {
        "name": model.name,
        "num_parameters": count_parameters(model.network),
        "precision": model.precision,
        **model.settings,
    }


def _file(path: Path | None, sequences: Sequence[str] | None) -> dict[str, Any] | None:
    return None if sequences is None else {"file": str(path), "num_sequences": len(sequences)}
