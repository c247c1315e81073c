"""What `quickstart` does with text: its judge and figure, and how it is shown."""

import shlex
import textwrap
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from didi_core.cli.run import console, print_table
from didi_core.commands.comparing import quickstart as shared
from didi_core.commands.comparing.cells import Cell, CellRequest
from didi_core.commands.comparing.compare import Bench
from didi_core.commands.comparing.options import QuickstartResult
from didi_core.commands.comparing.quickstart import (
    QuickstartWords,
    as_json,
    findings,
    plan_settings,
    printed_table,
    request_of,
)
from didi_core.commands.comparing.sweep import Sweep
from didi_core.commands.comparing.table import steps_in_words
from didi_core.models.causal_folder import read_reference_rows
from didi_core.models.folder import LoadedModel
from didi_text.comparing import compare
from didi_text.comparing.cells import NOUN
from didi_text.comparing.options import QuickstartOptions
from didi_text.models.judges import open_judge
from didi_text.samples.files import read_samples
from didi_text.settings import DistillSettings
from didi_text.tokenizers.tokenizer import END_OF_TEXT

__all__ = ["as_json", "print_result"]


def run_quickstart(options: QuickstartOptions) -> QuickstartResult:
    """See `didi_text.quickstart.quickstart`."""
    return shared.run_quickstart(options, DOMAIN)


def prepare(options: QuickstartOptions, teacher: LoadedModel, device: torch.device) -> Bench:
    """Open the judge, with what its folder knows of real text."""
    del teacher
    judge = open_judge(options.plan.judge, device, offline=True)
    request = request_of(options, NOUN, CellRequest)
    return Bench(request, judge, reference_rows=read_reference_rows(judge.folder))


def show(
    options: QuickstartOptions, table: pd.DataFrame, bench: Bench, sweep: Sweep
) -> Path | None:
    """Draw the figure."""
    del sweep
    return compare.plot_comparison(table, options.out / "comparison.png", bench.judge.name)


DOMAIN = replace(
    compare.DOMAIN,
    settings_of=lambda options, _: plan_settings(options, DistillSettings),
    prepare=prepare,
    show=show,
)


# What a quickstart with text prints: its table, its texts side by side, and what to try next.

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
        number = None if steps == "limit" else int(steps)
        cell = Cell.labelled(row["model"], number, row["sampler"])
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
