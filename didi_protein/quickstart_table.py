"""What a quickstart prints: its table, what it shows, and what to try next."""

import json
import shlex
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from didi_core.cli import console
from didi_core.evaluation.bootstrap import Interval
from didi_protein.quickstart import PAIRED_STEPS, QuickstartResult

READING = """\
Perplexity: of the judge, with its 95% interval; lower reads more like a natural
protein. Entropy: of the 3-mers of all designs together. Repeats: share of the
residues in repeats. A lower perplexity with less entropy or more repeats is no
better model. Calls and Seconds: what one design costs."""


def as_json(result: QuickstartResult) -> str:
    """Table, gain and places as one JSON object."""
    record = {
        "out": str(result.out),
        "report": str(result.report),
        "comparison": str(result.comparison),
        f"nll_minus_teacher_at_{PAIRED_STEPS}_steps": result.gain.as_dict(),
        "table": json.loads(result.table.to_json(orient="records")),
    }
    return json.dumps(record, indent=2)


def print_result(result: QuickstartResult) -> None:
    """The table, what it shows, where things are, and what to try next."""
    console().print(_printed_table(result))
    print(
        f"{READING}\n\n{gain_in_words(result.gain)}\n\n"
        f"Report      {result.report}\n"
        f"Designs     {result.out / 'designs'}\n"
        f"Student     {result.out / 'student'}\n"
        f"This table  {result.comparison}\n\n"
        f"Next, for example:\n{next_commands(result)}"
    )


def gain_in_words(gain: Interval) -> str:
    """What the paired difference shows, which may be nothing."""
    if gain.high < 0:
        finding = "to the judge the student's designs read more naturally than its teacher's"
    elif gain.low > 0:
        finding = "to the judge the student's designs read less naturally than its teacher's"
    else:
        finding = "the interval includes zero: no difference is shown"
    return (
        f"Judge NLL at {PAIRED_STEPS} steps, student less teacher: {gain.mean:+.3f} nats a "
        f"residue\n(95% interval {gain.low:+.3f} to {gain.high:+.3f}):\n{finding}."
    )


def next_commands(result: QuickstartResult) -> str:
    """Commands that work as they stand."""
    student = shlex.quote(str(result.out / "student"))
    design = f"  didi-protein generate --model {student} --steps 8"
    return (
        f"{design} --num 100 --length 80-120 --out more.fasta\n"
        f"{design} --num 9 --template 20:HE__H:60 --out motif.fasta\n"
        "  didi-protein score more.fasta --pseudo none --out more.csv"
    )


def _printed_table(result: QuickstartResult) -> Table:
    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    table.add_column("Model")
    for heading in ("Steps", "Calls", "Perplexity", "Entropy", "Repeats", "Seconds"):
        table.add_column(heading, justify="right")
    previous = None
    for row in result.table.to_dict("records"):
        if row["model"] != previous and previous is not None:
            table.add_section()
        previous = row["model"]
        table.add_row(row["model"], *_printed_figures(row))
    _add_references(table, result.reference_rows)
    return table


def _printed_figures(row: dict[str, Any]) -> list[str]:
    ends = [float(np.exp(row[f"judge_nll_{end}"])) for end in ("low", "high")]
    entropy = row["pooled_3mer_entropy"]
    return [
        "limit" if pd.isna(row["steps"]) else str(row["steps"]),
        f"{row['calls']:.1f}",
        _with_interval(row["judge_perplexity"], *ends),
        "" if pd.isna(entropy) else f"{entropy:.2f}",
        f"{row['mean_repeat_fraction']:.3f}",
        f"{row['seconds_per_design']:.3f}",
    ]


def _with_interval(mean: float, low: float, high: float) -> str:
    return f"{mean:.2f} ({low:.1f}-{high:.1f})"


def _add_references(table: Table, rows: dict[str, Any] | None) -> None:
    """Natural and shuffled sequences, where the judge's folder knows them; not of equal number."""
    for number, (name, figures) in enumerate((rows or {}).items()):
        if number == 0:
            table.add_section()
        table.add_row(
            name.replace("_", " "),
            "",
            "",
            _with_interval(**figures["judge_perplexity"]),
            "",
            f"{figures['mean_repeat_fraction']:.3f}",
            "",
            style="dim",
        )
