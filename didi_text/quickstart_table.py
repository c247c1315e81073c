"""What a quickstart with text prints: its table, its texts side by side, and what to try next."""

import shlex
import textwrap

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from didi_core.cli import console, print_table
from didi_core.commands.comparison_cells import Cell
from didi_core.commands.comparison_print import steps_in_words
from didi_core.commands.quickstart_print import (
    QuickstartWords,
    as_json,
    findings,
    printed_table,
)
from didi_text.quickstart import QuickstartResult
from didi_text.sample_files import read_samples
from didi_text.tokenizer import END_OF_TEXT

__all__ = ["as_json", "print_result"]

WORDS = QuickstartWords(
    noun="sample",
    unit="token",
    entropy="entropy",
    repeats="repetition",
    reference_entropy="entropy",
)
EXCERPT = 110
"""Characters of a text that are shown."""
WIDEST = 100
"""Characters of a line: excerpts in wider columns no longer stand side by side to the eye."""
READING = """\
Perplexity: of the judge, with its 95% interval; lower is easier to predict.
Entropy: of the tokens of a sample, mean. Repeats: share of 4-token runs that
stood in the sample before. A lower perplexity with less entropy or more repeats
is no better model. Calls and Seconds: what one sample costs."""


def print_result(result: QuickstartResult) -> None:
    """The table, what it shows, the texts, where things are, and what to try next."""
    print_table(printed_table(result, WORDS))
    print(f"{READING}\n\n{findings(result, WORDS)}\n")
    print("The first sample of each, by steps (¶ ends a line):")
    console().print(side_by_side(result))
    print(
        f"Samples     {result.out / 'samples'}\n"
        f"Student     {result.out / 'student'}\n"
        f"This table  {result.comparison}\n"
        f"Figure      {result.report or 'needs the extra report'}\n\n"
        f"Next, for example:\n{next_commands(result)}"
    )


def side_by_side(result: QuickstartResult) -> Table:
    """The beginning of the first sample of each cell: a column a model, a row a step count."""
    rows = result.table.to_dict("records")
    models = list(dict.fromkeys(row["model"] for row in rows))
    excerpts: dict[str, dict[str, str]] = {}
    for row in rows:
        steps = steps_in_words(row)
        cell = Cell(row["model"], None if steps == "limit" else int(steps), row["sampler"])
        samples = read_samples(result.out / "samples" / f"{cell.name}.jsonl")
        excerpts.setdefault(steps, {})[cell.model] = excerpt(samples[0]["text"])
    width = min(console().width, WIDEST)
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, show_lines=True, width=width)
    table.add_column("Steps", justify="right")
    for model in models:
        table.add_column(model, ratio=1)
    # By number; the limit, which has more calls than any, comes last.
    for steps in sorted(excerpts, key=lambda steps: (steps == "limit", len(steps), steps)):
        # As plain text: what looks like markup in a sample is part of it.
        table.add_row(steps, *(Text(excerpts[steps].get(model, "")) for model in models))
    return table


def excerpt(text: str) -> str:
    """The beginning of a text, in one line; what would steer a terminal is shown as �.

    >>> excerpt("<|endoftext|>It rained.\\nStill.")
    'It rained. ¶ Still.'
    """
    lines = text.replace(END_OF_TEXT, " ").strip().splitlines()
    short = textwrap.shorten(" ¶ ".join(lines), EXCERPT, placeholder=" …")
    return "".join(each if each.isprintable() else "�" for each in short)


def next_commands(result: QuickstartResult) -> str:
    """Commands that work as they stand."""
    student = shlex.quote(str(result.out / "student"))
    write = f"  didi-text generate --model {student} --steps 8"
    return (
        f"{write} --num 8 --length 128 --out more.jsonl\n"
        f'{write} --num 4 --length 128 --prefix "The house" --out house.jsonl\n'
        f"  didi-text evaluate --model {student} --task genppl --steps 8 --num 64 \\\n"
        "    --judge tiny-judge --out genppl.json"
    )
