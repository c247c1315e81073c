"""The summary on standard output: the set beside its reference rows, and what the figures mean."""

from collections.abc import Mapping

from rich.table import Table

from didi_core.cli import console
from didi_protein.score import ScoreResult

_SHOWN = {
    "n": "sequences",
    "judge_perplexity": "judge perplexity",
    "precision": "precision",
    "recall": "recall",
    "copies": "copies",
    "pooled_3mer_entropy": "pooled 3-mer entropy (nats)",
    "distinct_fraction": "share that is distinct",
    "num_clusters": "clusters",
    "mean_plddt": "pLDDT",
    "ptm": "pTM",
    "mean_pae": "PAE (ångström)",
    "foldable_fraction": "foldable",
    "mean_pairwise_tm": "TM between designs",
    "max_reference_tm": "TM to the nearest reference",
    "num_structure_clusters": "structure clusters",
    "mean_repeat_fraction": "in repeats",
    "mean_low_complexity_fraction": "of low complexity",
    "mean_nfe": "network calls each",
    "mean_length": "residues each",
}


_EXPLAINED = (
    "precision", "recall", "copies", "num_clusters",
    "mean_pairwise_tm", "max_reference_tm", "num_structure_clusters",
)  # fmt: skip
"""Figures that rest on another program: printed with definition, version and flags."""


def print_summary(result: ScoreResult) -> None:
    """The set beside its reference rows, as a table on standard output."""
    summary = result.summary
    sets = {"this set": summary["set"], **(summary["reference_rows"] or {})}
    table = Table("", *(name.replace("_", " ") for name in sets))
    for key, title in _SHOWN.items():
        values = [_in_words(figures.get(key), figures.get("n")) for figures in sets.values()]
        if any(values):
            table.add_row(title, *values)
    out = console()
    out.print(table)
    for warning in summary["warnings"]:
        out.print(warning, highlight=False)
    for name in _EXPLAINED:
        if name in summary["definitions"]:
            out.print(f"{_SHOWN[name]}: {summary['definitions'][name]}", highlight=False)
    statuses = ", ".join(f"{count:,} {name}" for name, count in summary["by_status"].items())
    out.print(f"{result.out}: {len(result.table):,} rows ({statuses})", highlight=False)
    out.print(f"{result.summary_file}: these figures, and how they were made", highlight=False)


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
