"""The summary on standard output: the set beside its reference rows, and what the figures mean."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from didi_core.cli.run import console
from didi_core.progress import counted
from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.embedding import TITLES
from didi_protein.scoring.family import family_table
from didi_protein.scoring.length_bins import row_title
from didi_protein.scoring.options import ScoreResult
from didi_protein.scoring.own_shuffles import JUDGE_DOMAIN
from didi_protein.scoring.parents import PARENTS, figures_of_parent
from didi_protein.sequences.residues import hint_of
from didi_protein.similarity.neighbours import COPY_IDENTITY

PARENTS_SHOWN = 3
"""Parents that the terminal shows beside the set; the summary has all."""

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
