"""What a quickstart with proteins prints: its table, what it shows, and what to try next."""

import shlex

from didi_core.cli import print_table
from didi_core.commands.quickstart_print import (
    QuickstartWords,
    as_json,
    findings,
    printed_table,
)
from didi_protein.quickstart import QuickstartResult

__all__ = ["as_json", "print_result"]

WORDS = QuickstartWords(
    noun="design",
    unit="residue",
    entropy="pooled_3mer_entropy",
    repeats="mean_repeat_fraction",
    reference_entropy=None,  # pooled entropies grow with the size of the set
)
READING = """\
Perplexity: of the judge, with its 95% interval; lower reads more like a natural
protein. Entropy: of the 3-mers of all designs together. Repeats: share of the
residues in repeats. A lower perplexity with less entropy or more repeats is no
better model. Calls and Seconds: what one design costs."""


def print_result(result: QuickstartResult) -> None:
    """The table, what it shows, where things are, and what to try next."""
    print_table(printed_table(result, WORDS))
    print(
        f"{READING}\n\n{findings(result, WORDS)}\n\n"
        f"Report      {result.report}\n"
        f"Designs     {result.out / 'designs'}\n"
        f"Student     {result.out / 'student'}\n"
        f"This table  {result.comparison}\n\n"
        f"Next, for example:\n{next_commands(result)}"
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
