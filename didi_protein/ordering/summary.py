"""What is said of a whole order: `F.order.json`, and the lines on the screen."""

import re
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import pandas as pd
from rich.table import Table

from didi_core import __version__
from didi_core.cli.command_options import command_line
from didi_core.cli.run import print_table
from didi_core.progress import counted
from didi_protein.ordering.construct import Frame
from didi_protein.ordering.hosts import CodonUsage
from didi_protein.ordering.options import OrderOptions, OrderResult
from didi_protein.ordering.rules import ForbiddenSite

FORMAT = "didi-protein order 1"
_HINTS = {
    "signal_peptide": "may begin with a signal peptide",
    "transmembrane_stretches": "may span a membrane",
    "odd_cysteines": "have an odd number of cysteines",
    "n_glycosylation_sites": "have an N-glycosylation site",
}
"""Columns of the table that are counted on the screen: above 0 each asks for a look."""


def summary_of(
    options: OrderOptions, table: pd.DataFrame, usage: CodonUsage, notes: Sequence[str]
) -> dict[str, Any]:
    """Return the contents of `F.order.json`."""
    ok = table[table["status"] == "ok"]
    return {
        "format": FORMAT,
        "command": command_line("didi-protein", "order", options, without=("json_output",)),
        "codon_usage": usage.table,
        "num_records": len(table),
        "by_status": dict(Counter(table["status"])),
        "num_plates": int(ok["plate"].max()) if ok["plate"].notna().any() else 0,
        "num_bases": int(ok["dna_length"].sum()),
        "hints": {name: int((ok[name] > 0).sum()) for name in _HINTS},
        "notes": list(notes),
        "versions": {"didi-protein": __version__, "dnachisel": version("dnachisel")},
    }


def notes_on(
    table: pd.DataFrame, frame: Frame, sites: Sequence[ForbiddenSite], num_natives: int
) -> list[str]:
    """Return sentences on what is as asked for, and may still surprise."""
    notes = [
        f"{flag} holds {site.title}: kept as you gave it"
        for flag, flank in (("--flank5", frame.flank5), ("--flank3", frame.flank3))
        for site in sites
        if site.places(flank, 0, 0)
    ]
    if num_natives:
        given = counted(num_natives, "sequence")
        notes.append(f"{given} that an inverse folder was given, no design: left out")
    odd = table.loc[~table["id"].str.fullmatch(r"[\w.-]+", flags=re.ASCII), "id"]
    if len(odd):
        notes.append(
            f"{counted(len(odd), 'name')} with signs that a vendor may refuse ({odd.iloc[0]}): "
            "letters, digits, points, hyphens and underscores are safe"
        )
    twins = int(table.loc[table["status"] == "ok", "dna"].duplicated().sum())
    if twins:
        notes.append(f"{counted(twins, 'design')} of a protein that another row orders too")
    return notes


def print_summary(result: OrderResult) -> None:
    """Print what can be ordered, what cannot and why, and what to look at."""
    summary, table = result.summary, Table(show_header=False, box=None)
    num_ok = summary["by_status"].get("ok", 0)
    plates = f" on {counted(summary['num_plates'], 'plate')}" if summary["num_plates"] else ""
    table.add_row("can be ordered", f"{counted(num_ok, 'design')}{plates}")
    for status in ("failed", "invalid"):
        if number := summary["by_status"].get(status):
            errors = result.table.loc[result.table["status"] == status, "error"]
            why, times = Counter(errors).most_common(1)[0]
            table.add_row(status, f"{counted(number, 'design')}, {times:,} of them: {why}")
    for name, hint in _HINTS.items():
        if number := summary["hints"][name]:
            table.add_row(name, f"{number:,} {hint}")
    for note in summary["notes"]:
        table.add_row("note", note)
    table.add_row("upload", ", ".join(map(str, result.uploads)))
    table.add_row("every design", str(result.designs_file))
    print_table(table)
