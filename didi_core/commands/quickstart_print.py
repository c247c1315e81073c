"""What a quickstart prints: its table, and what it shows."""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from didi_core.commands.comparison_cells import LIMIT_SAMPLER
from didi_core.commands.comparison_print import steps_in_words
from didi_core.commands.comparison_table import warnings_of
from didi_core.commands.quickstart_options import PAIRED_STEPS, STUDENT, QuickstartResult
from didi_core.evaluation.bootstrap import ENOUGH_RECORDS, Interval
from didi_core.sampling.folder_defaults import PLAIN_SAMPLER


@dataclass(frozen=True)
class QuickstartWords:
    """How one program speaks of its sequences, and where its table has the figures printed."""

    noun: str
    """One sequence: design."""
    unit: str
    """One token of it: residue."""
    entropy: str
    """Columns of the table."""
    repeats: str
    reference_entropy: str | None
    """Key of the reference rows; None where sets of their size do not compare."""


def as_json(result: QuickstartResult) -> str:
    """Table, gain and places as one JSON object."""
    record = {
        "out": str(result.out),
        "report": result.report and str(result.report),
        "comparison": str(result.comparison),
        f"nll_minus_teacher_at_{PAIRED_STEPS}_steps": (
            None if np.isnan(result.gain.mean) else result.gain.as_dict()
        ),
        "num_pairs": result.num_pairs,
        "warnings": warnings_of(result.table),
        "table": json.loads(result.table.to_json(orient="records")),
    }
    return json.dumps(record, indent=2)


def findings(result: QuickstartResult, words: QuickstartWords) -> str:
    """What the table shows, and what to mind."""
    gain = gain_in_words(result.gain, result.num_pairs, words, drawn_by(result.table))
    return "\n".join([*(textwrap.fill(each, 80) for each in warnings_of(result.table)), gain])


def drawn_by(table: pd.DataFrame) -> str:
    """Whose difference it is: with their samplers where those are two."""
    paired = table[table["steps"] == PAIRED_STEPS].set_index("model")["sampler"]
    student, teacher = paired[STUDENT], paired.iloc[0]
    if student == teacher:
        return "student less teacher"
    return f"student ({student}) less teacher ({teacher})"


def gain_in_words(
    gain: Interval, num_pairs: int, words: QuickstartWords, of: str = "student less teacher"
) -> str:
    """What the paired difference shows, which may be nothing."""
    if np.isnan(gain.mean):
        return f"Judge NLL at {PAIRED_STEPS} steps: no pair of {words.noun}s could be judged."
    if num_pairs < ENOUGH_RECORDS:
        pairs = "1 pair" if num_pairs == 1 else f"{num_pairs} pairs"
        return (
            f"Judge NLL at {PAIRED_STEPS} steps, {of}:\n{gain.mean:+.3f} nats a "
            f"{words.unit}, of {pairs} of {words.noun}s: fewer than {ENOUGH_RECORDS} show nothing."
        )
    if gain.high < 0:
        finding = f"to the judge the student's {words.noun}s read more naturally than its teacher's"
    elif gain.low > 0:
        finding = f"to the judge the student's {words.noun}s read less naturally than its teacher's"
    else:
        finding = "the interval includes zero: no difference is shown"
    return (
        f"Judge NLL at {PAIRED_STEPS} steps, {of}:\n{gain.mean:+.3f} nats a "
        f"{words.unit} (95% interval {gain.low:+.3f} to {gain.high:+.3f}):\n{finding}."
    )


def printed_table(result: QuickstartResult, words: QuickstartWords) -> Table:
    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    table.add_column("Model")
    for heading in ("Steps", "Calls", "Perplexity", "Entropy", "Repeats", "Seconds"):
        table.add_column(heading, justify="right")
    previous = None
    for row in result.table.to_dict("records"):
        if row["model"] != previous and previous is not None:
            table.add_section()
        previous = row["model"]
        usual = row["sampler"] in (PLAIN_SAMPLER, LIMIT_SAMPLER)
        model = row["model"] if usual else f"{row['model']} ({row['sampler']})"
        table.add_row(model, *_printed_figures(row, words))
    _add_references(table, result.reference_rows, words)
    return table


def _printed_figures(row: Mapping[str, Any], words: QuickstartWords) -> list[str]:
    ends = [float(np.exp(row[f"judge_nll_{end}"])) for end in ("low", "high")]
    entropy = row[words.entropy]
    return [
        steps_in_words(row),
        f"{row['calls']:.1f}",
        _with_interval(row["judge_perplexity"], *ends),
        "" if pd.isna(entropy) else f"{entropy:.2f}",
        "" if pd.isna(row[words.repeats]) else f"{row[words.repeats]:.3f}",
        f"{row[f'seconds_per_{words.noun}']:.3f}",
    ]


def _with_interval(mean: float, low: float, high: float) -> str:
    if np.isnan(mean):
        return ""
    return f"{mean:.2f} ({low:.1f}-{high:.1f})"


def _add_references(table: Table, rows: dict[str, Any] | None, words: QuickstartWords) -> None:
    """Real and shuffled sequences, where the judge's folder knows them; not of equal number."""
    for number, (name, figures) in enumerate((rows or {}).items()):
        if number == 0:
            table.add_section()
        key = words.reference_entropy
        table.add_row(
            name.replace("_", " "),
            "",
            "",
            _with_interval(**figures["judge_perplexity"]),
            "" if key is None else f"{figures[key]:.2f}",
            f"{figures[words.repeats]:.3f}",
            "",
            style="dim",
        )
