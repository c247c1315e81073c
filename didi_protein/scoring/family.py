"""`score --family`: how each sequence fits a family, and the whole set counted against nature."""

import hashlib
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from didi_core.errors import UserError
from didi_core.progress import announce, counted, progress_bar
from didi_protein.families.contacts import ContactMap, coupling_scores
from didi_protein.families.profile import FamilyAlignment, FamilyProfile, extents
from didi_protein.families.statistics import (
    MAX_COLUMNS,
    FamilyStatistics,
    measure_family,
    num_passes,
)
from didi_protein.scoring.columns import names_by
from didi_protein.scoring.properties import RANGE, natural_ranges
from didi_protein.sequences.bundled import bundled_contacts, sequences_named

if TYPE_CHECKING:
    from didi_protein.sequences.fasta import ProteinRecord

_ENDS = ("family_start", "family_end")
FAMILY_VERSION = 2
"""Raised when a definition of the columns changes: old rows are then aligned again."""


@dataclass(frozen=True)
class FamilyScorer:
    """Bits, E-value and coverage under a family's profile; empty for what does not align."""

    file: str
    """What was given: a file or a bundled name."""
    profile: FamilyProfile
    contacts: ContactMap | None
    contacts_file: str | None
    fingerprint: str
    """Of the content of the family's file."""
    threads: int | None = None
    name: str = "family"
    columns: tuple[str, ...] = names_by("family")
    max_length: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return {"file": self.fingerprint, "version": FAMILY_VERSION}

    def score(self, records: Sequence["ProteinRecord"]) -> list[dict[str, Any]]:
        found = self.profile.align([record.sequence for record in records], self.threads)
        ends = np.full((len(records), 2), np.nan)
        ends[found.aligned] = extents(self.profile, found.take(found.aligned).sequences)
        numbers = zip(found.bits, found.evalue, found.coverage, *ends.T, strict=True)
        rows = [dict(zip(self.columns, map(known_or_none, each), strict=True)) for each in numbers]
        return [row | {name: _whole(row[name]) for name in _ENDS} for row in rows]

    def measure(
        self, sequences: Sequence[str], seed: int, *, quiet: bool = False
    ) -> FamilyStatistics:
        """Count a whole set against the family's natural sequences.

        Args:
            seed: of the bootstrap and of the controls.
            quiet: whether to say nothing of how long it takes.
        """
        started = time.perf_counter()
        designs = self.profile.align(sequences, self.threads)
        if not quiet:
            self._announce(designs, time.perf_counter() - started)
        nature = self.nature
        total = num_passes(self.contacts, self.profile.num_columns)
        shown = nullcontext(None) if quiet else progress_bar("counting the family", total)
        with shown as on_progress:
            return measure_family(
                designs, nature, self.contacts, seed=seed, on_progress=on_progress
            )

    @cached_property
    def nature(self) -> FamilyAlignment | None:
        """Align the family's own sequences; None where there are none."""
        return self.profile.align_members(self.threads)

    def natural_ranges(self) -> dict[str, list[float]]:
        """Return the 5th and 95th percentile of bits and coverage over natural sequences."""
        if self.nature is None or not self.nature.aligned.any():
            return {}
        known = self.nature.take(self.nature.aligned)
        columns = {"family_bits": known.bits, "family_coverage": known.coverage}
        return {name: np.quantile(each, RANGE).tolist() for name, each in columns.items()}

    def _announce(self, designs: FamilyAlignment, aligning: float) -> None:
        """Say what begins, and how long it will take by the pace of one alignment and one pass.

        Args:
            aligning: seconds in which the designs were aligned.
        """
        members, aligned = self.profile.members, designs.take(designs.aligned)
        if members is None or not len(aligned):
            return
        seconds = aligning * len(members) / len(designs)
        if self.contacts is not None and self.profile.num_columns <= MAX_COLUMNS:
            started = time.perf_counter()
            coupling_scores(aligned.rows)
            passes = num_passes(self.contacts, self.profile.num_columns)
            seconds += passes * (time.perf_counter() - started)
        natural = counted(len(members), "natural sequence")
        announce(
            f"Counting {counted(len(designs), 'design')} beside {natural} of the family "
            "(alignment, dependence of positions, intervals by bootstrap)",
            seconds,
        )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def open_family_scorer(
    family: Path, contacts: Path | None = None, threads: int | None = None
) -> FamilyScorer:
    """Open one family of `--family` and its contacts.

    Args:
        contacts: table of `--contacts`; a bundled family has one of its own.

    Raises:
        UserError: a file that cannot be read or has a bundled name, contacts that nothing would be
            compared with, or pyhmmer is missing.
    """
    bundled = sequences_named(family, "--family")
    place = bundled[0] if len(bundled) == 1 else family
    profile = FamilyProfile.read(place, "--family")
    source, known = contacts or bundled_contacts(family), None
    if source is not None:
        if profile.members is None:
            raise UserError(
                f"--contacts {source}: --family {family} is a profile alone; contacts "
                "are counted beside natural sequences, so give the family's alignment."
            )
        known = ContactMap.read(source, profile.num_columns, "--contacts")
    return FamilyScorer(
        file=str(family),
        profile=profile,
        contacts=known,
        contacts_file=None if source is None else str(contacts or source.name),
        fingerprint=hashlib.sha256(place.read_bytes()).hexdigest()[:16],
        threads=threads,
    )


def family_record(scorer: FamilyScorer, statistics: FamilyStatistics | None) -> dict[str, Any]:
    """Return what the summary says of the family.

    Args:
        statistics: of the whole set; None for a shard.
    """
    members, plots = scorer.profile.members, statistics and statistics.plot_data
    ranges = {} if members is None else natural_ranges(members)
    if statistics is not None:  # aligned for it already
        ranges |= scorer.natural_ranges()
    return {
        "file": scorer.file,
        "num_columns": scorer.profile.num_columns,
        "num_sequences": None if members is None else len(members),
        "natural_ranges": ranges,
        "contacts": scorer.contacts_file,
        "statistics": None if statistics is None else known_or_none(statistics.as_dict()),
        "plots": None if plots is None else plots.as_dict(),
    }


def family_path(table: Path) -> Path:
    """Return where `compare` keeps what it found of a table's designs: `NAME.family.json`."""
    return table.with_suffix(".family.json")


def known_or_none(value: Any) -> Any:
    """Return numbers as JSON has them: None for those that are undefined, at any depth."""
    if isinstance(value, dict):
        return {key: known_or_none(each) for key, each in value.items()}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


_SHOWN = {
    "n": "aligned",
    "covariance_correlation": "pair covariances, r",
    "covariance_slope": "pair covariances, slope",
    "site_correlation": "residues by column, r",
    "contact_precision": "contacts among the strongest pairs",
    "nearest_identity": "identity to the nearest natural",
    "copies": "at least 95% identical to a natural",
    "pairwise_identity": "identity of two of the set",
}
_SETS = {"designs": "this set", "natural": "natural", "independent": "independent columns"}


def family_table(statistics: dict[str, Any]) -> Table | None:
    """Return the statistics of a set beside its controls, for the terminal; None where none are.

    Args:
        statistics: as the summary has them.
    """
    sets = {title: statistics[name] for name, title in _SETS.items() if statistics[name]}
    if not sets:
        return None
    table = Table("the family", *sets)
    for key, title in _SHOWN.items():
        cells = [_in_words(found[key]) for found in sets.values()]
        if any(cells):
            table.add_row(title, *cells)
    return table


def _in_words(value: Any) -> str:
    if isinstance(value, dict) and None not in value.values():
        return f"{value['mean']:.3g} ({value['low']:.3g} to {value['high']:.3g})"
    if isinstance(value, dict):
        value = value["mean"]
    return "" if value is None else f"{value:,.3g}" if isinstance(value, float) else f"{value:,}"
