"""What is said of a whole order: `F.order.json`, and the lines on the screen."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
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
from didi_protein.sequences.bundled import FRAGMENTS, writes_fragments
from didi_protein.sequences.fasta import ProteinRecord

FORMAT = "didi-protein order 1"
_HINTS = {
    "signal_peptide": "may begin with a signal peptide",
    "transmembrane_stretches": "may span a membrane",
    "odd_cysteines": "have an odd number of cysteines",
    "n_glycosylation_sites": "have an N-glycosylation site",
}
"""Columns of the table that are counted on the screen: above 0 each asks for a look."""
_HARMLESS = {"ecoli": {"n_glycosylation_sites": "of no concern in E. coli, which adds no sugars"}}
"""Of these what does not matter in a host, and why."""


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
        "dna_lengths": _ends(ok["dna_length"]),
        "flanks": [len(options.flank5 or ""), len(options.flank3 or "")],
        "hints": {name: int((ok[name] > 0).sum()) for name in _HINTS},
        "notes": list(notes),
        "versions": {"didi-protein": __version__, "dnachisel": version("dnachisel")},
    }


def _ends(lengths: pd.Series) -> list[int] | None:
    """Return the shortest and the longest; None of no design."""
    return [int(lengths.min()), int(lengths.max())] if len(lengths) else None


def notes_on(
    table: pd.DataFrame,
    records: Sequence[ProteinRecord],
    frame: Frame,
    sites: Sequence[ForbiddenSite],
    num_natives: int,
) -> list[str]:
    """Return sentences on what is as asked for, and may still surprise.

    Args:
        records: the designs of the table.
        num_natives: how many sequences were left out as no designs.
    """
    notes = [
        f"{flag} holds {site.title}: kept as you gave it"
        for flag, flank in (("--flank5", frame.flank5), ("--flank3", frame.flank3))
        for site in sites
        if site.places(flank, 0, 0)
    ]
    origins = [(each.header.get("model"), each.header.get("parent")) for each in records]
    if fragments := sum(writes_fragments(*each) for each in origins):
        notes.append(f"{counted(fragments, 'design')} of a bundled model: {FRAGMENTS}")
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


def print_summary(result: OrderResult, options: OrderOptions) -> None:
    """Print what can be ordered, what cannot and why, and what to look at."""
    summary, table = result.summary, Table(show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")  # a long path is broken, never cut off
    table.add_row("can be ordered", _orderable(summary))
    for status in ("failed", "invalid"):
        if number := summary["by_status"].get(status):
            errors = result.table.loc[result.table["status"] == status, "error"]
            why, times = Counter(errors).most_common(1)[0]
            table.add_row(status, f"{counted(number, 'design')}, {times:,} of them: {why}")
    harmless = _HARMLESS.get(options.host.lower(), {})
    for name, hint in _HINTS.items():
        if number := summary["hints"][name]:
            about = f", {harmless[name]}" if name in harmless else ""
            table.add_row(name, f"{number:,} {hint}{about}")
    for note in summary["notes"]:
        table.add_row("note", note)
    if summary["dna_lengths"] is not None:
        table.add_row("upload", ", ".join(map(str, result.uploads)))
    table.add_row("every design", str(result.designs_file))
    print_table(table)


def _orderable(summary: Mapping[str, Any]) -> str:
    """Return how many designs, on how many plates, how long their DNA is, and what is around it."""
    num_ok, lengths = summary["by_status"].get("ok", 0), summary["dna_lengths"]
    if lengths is None:
        return "0 designs: there is nothing to order"
    plates = f" on {counted(summary['num_plates'], 'plate')}" if summary["num_plates"] else ""
    low, high = lengths
    bases = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    front, behind = summary["flanks"]
    flanks = f"flanks of {front} and {behind} bases included"
    if not front and not behind:
        flanks = "no flanks or adapters added (--flank5, --flank3)"
    return f"{counted(num_ok, 'design')}{plates}, {bases} bases of DNA each; {flanks}"
