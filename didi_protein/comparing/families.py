"""`compare --family`: the designs of every row held against families, by counting.

What is found of a row stands in `NAME.family.json` beside its designs: a comparison that goes on
takes it from there, and the page draws it.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core.commands.comparing.labels import split_words
from didi_core.errors import UserError
from didi_core.io.files import write_json
from didi_core.progress import counted
from didi_protein.families.profile import bare_name
from didi_protein.families.sets import Family, split_designs
from didi_protein.families.statistics import ENOUGH_DESIGNS, TOO_FEW_DESIGNS
from didi_protein.scoring.family import (
    FamilyScorer,
    family_path,
    family_record,
    known_or_none,
    open_family_scorer,
)
from didi_protein.sequences.bundled import bundled_contacts

VERSION = 1
"""Raised when a definition of the statistics changes: old ones are then counted again."""
MEASURES = (
    "covariance_correlation",
    "covariance_slope",
    "contact_precision",
    "pairwise_identity",
    "copies",
)
"""Statistics that the table has, each with its interval, nature's and independent columns'."""
FAMILY_READING = """\
r and slope of a family: pair covariances of the designs against nature's; natural: what as many
natural sequences reach. Positions drawn independently of each other have r = 0."""


@dataclass(frozen=True)
class ComparedFamilies:
    """The families of a comparison, opened once for all its rows."""

    families: tuple[Family, ...]
    scorers: tuple[FamilyScorer, ...]
    """What each was opened from."""
    fingerprint: str
    """Of all that decides the statistics of given designs."""


def open_families(
    family: str | None, contacts: str | None = None, seed: int = 0
) -> ComparedFamilies | None:
    """Open the families of `--family`, with the contacts of `--contacts`; None where none is given.

    Args:
        family: one or several, between commas; `contacts` likewise, one for each.
        seed: of controls and intervals.

    Raises:
        UserError: a file that cannot be read or holds no natural sequences, two of one name, or
            contacts that are not one table for each family.
    """
    given, tables = split_words(family or ""), split_words(contacts or "")
    if tables and len(tables) != len(given):
        raise UserError(
            f"--contacts {contacts}: {len(tables)} tables for {len(given)} families of "
            "--family; give one for each, in the same order."
        )
    names = [bare_name(each) for each in given]  # a bundled family's is its accession
    if len(set(names)) < len(names):
        raise UserError(f"--family {family}: two of one name; rename a file.")
    sources = [bundled_contacts(each) or Path(each) for each in tables]
    scorers = tuple(
        open_family_scorer(Path(each), source) for each, source in zip_longest(given, sources)
    )
    families = tuple(
        Family.of(name, each.profile, each.contacts, called=f"--family {each.file}", seed=seed)
        for name, each in zip(names, scorers, strict=True)
    )
    if not families:
        return None
    parts = [part for each in scorers for part in (each.file, each.fingerprint)]
    parts += [_content(each) for each in scorers if each.contacts is not None]
    return ComparedFamilies(families, scorers, _hash([VERSION, seed, *parts]))


def _content(scorer: FamilyScorer) -> str:
    assert scorer.contacts is not None
    return hashlib.sha256(scorer.contacts.distances.tobytes()).hexdigest()


def _hash(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def count_cell(
    table: Path, sequences: Sequence[str], compared: ComparedFamilies | None
) -> dict[str, Any]:
    """Hold the designs of a row against the families; write `NAME.family.json`.

    Args:
        table: the row's table of scores, which the file stands beside.
        compared: None where no family was given; a file of an earlier run is then removed.

    Returns:
        Columns of the row.
    """
    path = family_path(table)
    if compared is None:
        path.unlink(missing_ok=True)
        return {}
    key = _hash([compared.fingerprint, list(sequences)])
    records = _stored(path, key)
    if records is None:
        records = _counted(sequences, compared)
        write_json(path, {"fingerprint": key, "families": records})
    names = [family.name for family in compared.families]
    return {
        column: value
        for name, record in zip(names, records.values(), strict=True)
        for column, value in _columns_of(name, record["statistics"]).items()
    }


def _stored(path: Path, key: str) -> dict[str, Any] | None:
    """Read what an earlier run counted of the same designs; None where there is no such thing."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return stored["families"] if stored["fingerprint"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _counted(sequences: Sequence[str], compared: ComparedFamilies) -> dict[str, Any]:
    """Count the designs of each family, by what `--family` called it."""
    split = split_designs(sequences, compared.families)
    return {
        scorer.file: family_record(scorer, family.measure(split[family.name]))
        for family, scorer in zip(compared.families, compared.scorers, strict=True)
    }


def _columns_of(name: str, statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns `family_NAME_MEASURE`, with ends of intervals and controls at equal n."""
    designs = statistics["designs"]
    if designs is None:
        return {f"family_{name}_n": 0}
    columns = {f"family_{name}_n": designs["n"], f"family_{name}_n_given": designs["n_given"]}
    for measure in MEASURES:
        column = f"family_{name}_{measure}"
        for end in ("mean", "low", "high"):
            suffix = "" if end == "mean" else f"_{end}"
            columns[column + suffix] = (designs[measure] or {}).get(end)
        for control in ("natural", "independent"):
            columns[f"{column}_{control}"] = (statistics[control][measure] or {}).get("mean")
    return known_or_none(columns)


def _names_in(table: pd.DataFrame) -> list[str]:
    """Return the families that a table has columns of."""
    found = [re.fullmatch(r"family_(\w+)_n", column) for column in table.columns]
    return [match[1] for match in found if match]


def family_headings(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return what the terminal shows of the families: heading, column and format."""
    shown = {"r": "covariance_correlation", "natural": "covariance_correlation_natural"}
    shown |= {"slope": "covariance_slope", "contacts": "contact_precision"}
    return {
        f"{name} {word}": (f"family_{name}_{column}", "{:.2f}")
        for name in _names_in(table)
        for word, column in shown.items()
        if f"family_{name}_{column}" in table
    }


def family_notes(table: pd.DataFrame) -> list[str]:
    """Warn of rows with too few designs of a family, of different numbers, and of misfits."""
    notes = []
    for name in _names_in(table):
        counts = table[f"family_{name}_n"].dropna()
        given = table.get(f"family_{name}_n_given", counts).fillna(counts)
        some = counts[counts > 0]
        if len(some) < len(counts):
            notes.append(
                f"{name}: in {len(counts) - len(some)} of {counted(len(counts), 'row')} no design "
                "aligns to the family."
            )
        if len(some) and some.min() < ENOUGH_DESIGNS:
            low, high = int(some.min()), int(some.max())
            span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
            worth = "are mostly noise" if low < TOO_FEW_DESIGNS else "compare at equal n only"
            notes.append(
                f"{name}: covariances and contacts of {span} designs a set {worth}; "
                f"{ENOUGH_DESIGNS:,} are enough (--num), and nature at the same n stands beside."
            )
        if lost := int((given - counts).sum()):
            notes.append(
                f"{name}: {lost:,} of {counted(int(given.sum()), 'design')} without an alignment "
                "to the family: in none of its figures."
            )
    return notes
