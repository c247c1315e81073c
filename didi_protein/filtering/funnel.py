"""Run designs through the filters, and say which one rejected how many."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from didi_core.cli.run import print_table
from didi_core.progress import counted
from didi_protein.filtering.criteria import Filter, Rejection, Status
from didi_protein.filtering.options import FunnelStep as FunnelStep
from didi_protein.filtering.ranking import SHORTEST_JUDGED
from didi_protein.scoring.columns import COLUMN

if TYPE_CHECKING:
    from didi_protein.filtering.options import FilterResult

PARENTS_SHOWN = 3
"""Parents that the terminal shows; `F.filter.json` has all."""
REJECTED_COLUMNS = ("id", "filter", "column", "value", "threshold", "reason")


@dataclass(frozen=True)
class Funnel:
    """What became of every row."""

    steps: list[FunnelStep]
    kept: pd.DataFrame
    """Rows that passed, best first."""
    rejections: dict[int, list[Rejection]]
    """By place in the table: every reason. A filter that compares designs looks only at those that
    passed the filters before it, so it adds a reason to no design that was rejected already."""


def run_funnel(table: pd.DataFrame, scored: pd.DataFrame, filters: Sequence[Filter]) -> Funnel:
    """Apply filters in their order.

    Args:
        table: every row, indexed by place.
        scored: the rows whose status is ok, best first.
        filters: those after the status.
    """
    status = Status()
    rejections = {place: [each] for place, each in status.reject(table).items()}
    steps = [_step(status, len(rejections), len(rejections), len(scored))]
    left = scored
    for each in filters:
        alone = each.reject(scored)
        rejected = each.reject(left) if each.compares else alone
        for place, rejection in rejected.items():
            rejections.setdefault(place, []).append(rejection)
        passed = left[~left.index.isin(list(rejected))]
        steps.append(_step(each, len(alone), len(left) - len(passed), len(passed)))
        left = passed
    return Funnel(steps, left, dict(sorted(rejections.items())))


def _step(of: Filter, alone: int, in_sequence: int, left: int) -> FunnelStep:
    return FunnelStep(of.name, of.column, of.threshold, alone, in_sequence, left)


def rejected_table(table: pd.DataFrame, funnel: Funnel) -> pd.DataFrame:
    """One row a reason, in input order."""
    rows = [
        {"id": table["id"][place], **asdict(rejection)}
        for place, reasons in funnel.rejections.items()
        for rejection in reasons
    ]
    return pd.DataFrame(rows, columns=list(REJECTED_COLUMNS), dtype=object)


def print_funnel(result: "FilterResult") -> None:
    """The funnel as a table, and where things are."""
    table = Table(Column("filter", no_wrap=True), "keeps", box=SIMPLE_HEAD)
    for heading in ("rejects\nalone", "rejects in\nsequence", "left"):
        table.add_column(heading, justify="right")
    for step in result.funnel:
        counts = (step.rejected_alone, step.rejected_in_sequence, step.left)
        flag = step.filter.removesuffix(f" {step.column}")
        table.add_row(flag, f"{step.column} {step.threshold}", *(f"{each:,}" for each in counts))
    print_table(table)
    summary = result.summary
    kept, total = summary["num_selected"], summary["num_records"] - summary["num_natives"]
    print(f"{result.out}: {kept:,} of {counted(total, 'design')}, {summary['order']}")
    print(f"{summary['files']['rejected']}: why the others are not")
    if short := summary["num_too_short"]:
        print(
            f"Too short to judge, and so last (fewer than {SHORTEST_JUDGED} residues): {short:,}; "
            f"--min length={SHORTEST_JUDGED} leaves them out."
        )
    if near := summary["num_nearer_than_nature"]:
        print(
            f"Nearer to a training sequence than any other training sequence is, and so after the "
            f"others by likelihood: {near:,}."
        )
    if (beyond := summary["beyond_nature"]) is not None:
        print(_beyond_in_words(beyond))
    print(_copies_in_words(summary["copies"], summary["num_scored"]))
    for each in summary["parents"][:PARENTS_SHOWN]:
        print(
            f"Parent {each['parent']}: {each['column']} {each['value']:.4g}; of its "
            f"{counted(each['of'], 'variant')} kept {each['better']:,} do better."
        )
    for warning in summary["warnings"]:
        print(warning)
    if not kept:
        print("No design passes: loosen the filter that rejects most alone.")


def _beyond_in_words(beyond: Mapping[str, Any]) -> str:
    column = COLUMN[beyond["column"]]
    side = "below" if column.better == "lowest" else "above"
    return (
        f"{column.title} {side} nature's range ({column.write(beyond['nature'])}) is not better, "
        f"and ranks as equal: {beyond['num_kept']:,} of those kept."
    )


def _copies_in_words(copies: Mapping[str, Any], num_scored: int) -> str:
    known, found = copies["num_known"], copies["num_copies"]
    if not known:
        return (
            "Copies of training sequences were not looked for: the table says nothing of them "
            "(score --training F.fasta does)."
        )
    others = counted(num_scored - known, "design")
    unknown = f" Of {others} that is not known." if known < num_scored else ""
    if copies["policy"] == "keep":
        return f"Copies of training sequences, kept as any other: {found:,}.{unknown}"
    return f"Copies of training sequences, left out: {found:,} (--copies keep keeps them).{unknown}"
