"""How a comparison is shown in the terminal."""

import json

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from didi_core.cli import console
from didi_protein.compare import CompareResult
from didi_protein.published import DPLM_PLDDT, PUBLISHED_LENGTHS

READING = """\
Less limit: judge NLL of a model less that of the teacher's limit, nats a residue, with its
95% interval over pairs of designs; below zero reads more naturally. A lower NLL with less
entropy, or with more copies, is no better model. Calls and Seconds: what one design costs."""

COLUMNS = {
    "Calls": ("calls", "{:.1f}"),
    "Guide": ("discriminator_calls", "{:.1f}"),
    "Judge NLL": ("judge_nll", "{:.3f}"),
    "Less limit": ("nll_minus_limit", "{:+.3f}"),
    "Entropy": ("pooled_3mer_entropy", "{:.2f}"),
    "Precision": ("precision", "{:.2f}"),
    "Recall": ("recall", "{:.2f}"),
    "Copies": ("copies", "{:.3f}"),
    "pLDDT": ("mean_plddt", "{:.1f}"),
    "pTM": ("ptm", "{:.2f}"),
    "Foldable": ("foldable_share", "{:.2f}"),
    "Seconds": ("seconds_per_design", "{:.3f}"),
    "Memory MB": ("peak_memory_mb", "{:,.0f}"),
}
"""Heading, column and format; a heading without figures is left out."""


def as_json(result: CompareResult) -> str:
    """Table and places as one JSON object."""
    record = {
        "out": str(result.out),
        "comparison": str(result.comparison),
        "report": result.report and str(result.report),
        "left_out": list(result.left_out),
        "table": json.loads(result.table.to_json(orient="records")),
    }
    return json.dumps(record, indent=2)


def print_result(result: CompareResult, *, folded: bool) -> None:
    """The table, published figures where designs were folded, and where things are."""
    console().print(printed_table(result.table))
    print(READING)
    if folded:
        print(published_rows())
    for reason in result.left_out:
        print(f"Left out: {reason}.")
    print(f"\nTable   {result.comparison}\nReport  {result.report or 'needs the extra report'}")


def printed_table(frame: pd.DataFrame) -> Table:
    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    table.add_column("Model")
    table.add_column("Sampler")
    table.add_column("Steps", justify="right")
    shown = {name: each for name, each in COLUMNS.items() if each[0] in frame}
    for heading in shown:
        table.add_column(heading, justify="right")
    for row in frame.to_dict("records"):
        steps = "limit" if pd.isna(row["steps"]) else str(row["steps"])
        figures = [
            "" if pd.isna(row[column]) else form.format(row[column]) + _interval(row, column)
            for column, form in shown.values()
        ]
        table.add_row(row["model"], row["sampler"], steps, *figures)
    return table


def _interval(row: dict, column: str) -> str:
    """Ends of the interval of a difference; other columns have theirs in the table's file."""
    if column != "nll_minus_limit":
        return ""
    return f" ({row[f'{column}_low']:+.3f}, {row[f'{column}_high']:+.3f})"


def published_rows() -> str:
    """DPLM's pLDDT, marked as published: other designs, other lengths, all atoms."""
    lengths = " ".join(f"{length:5d}" for length in PUBLISHED_LENGTHS)
    rows = [f"\nPublished, not measured here: ESMFold pLDDT of DPLM, 500 steps\n{'':22s}{lengths}"]
    for model, row in DPLM_PLDDT.items():
        rows.append(f"{model:22s}" + " ".join(f"{plddt:5.1f}" for plddt in row))
    return "\n".join(rows)
