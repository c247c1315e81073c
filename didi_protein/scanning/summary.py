"""`NAME.summary.json` of a scan: how it was made, what stands out, and what to be wary of."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from didi_core.cli.command_options import command_line
from didi_core.data.length_ranges import LengthRanges
from didi_core.io.shards import NOT_OF_THE_WHOLE, SHARD_KEY, Shard, shard_record
from didi_core.progress import counted
from didi_core.training.run_folder import package_versions
from didi_protein.scanning.options import FORMAT, ScanOptions, ScanResult
from didi_protein.scanning.scorer import ScanScorer
from didi_protein.scanning.substitutions import (
    END,
    FEWEST_POSITIONS,
    SequenceScan,
    is_known,
    near_ends,
)
from didi_protein.scoring.rows import Row
from didi_protein.scoring.table import rounded
from didi_protein.sequences.residues import hint_of

NAMED = 10
"""Positions and substitutions of each sequence that the summary names."""


@dataclass(frozen=True)
class ScannedRow:
    """A record, and what was found of it."""

    row: Row
    scan: SequenceScan | None
    """None where it could not be scanned."""

    @property
    def id(self) -> str:
        return self.row.record.id

    @property
    def known(self) -> bool | None:
        """Whether the model knows such a sequence; None where too little was scanned to tell."""
        return None if self.scan is None else is_known(self.row.record.sequence, self.scan)

    def as_json(self, trained: LengthRanges | None) -> dict[str, Any]:
        """Return what the summary says of it.

        Args:
            trained: the lengths that the model was trained on; None where that is not known.
        """
        sequence = self.row.record.sequence
        about = {"id": self.id, "status": self.row.status, "sequence": sequence}
        if self.scan is None:
            return {**about, "error": self.row.error}
        most, least = self.scan.most_tolerant(NAMED), self.scan.least_tolerant(NAMED)
        ends = near_ends(len(sequence)).intersection(most + least)
        return {
            **about,
            "num_positions": len(self.scan.positions),
            "mean_nll": rounded(self.scan.mean_nll),
            "known": self.known,
            "length_known": None if trained is None else trained.knows(len(sequence)),
            "most_tolerant": [at + 1 for at in most],
            "least_tolerant": [at + 1 for at in least],
            "near_ends": [at + 1 for at in sorted(ends)],
            "best": {str(each): each.score for each in self.scan.best(NAMED)},
        }


def build_summary(
    options: ScanOptions,
    scorer: ScanScorer,
    rows: Sequence[ScannedRow],
    shard: Shard,
    places: Sequence[int],
    num_records: int,
) -> dict[str, Any]:
    """Return the contents of the file.

    Args:
        rows: of this shard.
        places: place of each row among all records.
        num_records: of the whole request.
    """
    trained = scorer.model.trained_lengths
    sequences = [each.as_json(trained) for each in rows]
    model = {"name": options.model, "trained_lengths": None if trained is None else str(trained)}
    summary = {
        "format": FORMAT,
        "inputs": [str(each) for each in options.inputs],
        **_counts([each.row.status for each in rows]),
        "sequences": sequences,
        "model": model,
        "warnings": warnings_of(model, sequences),
        "settings": {"scan": scorer.settings, "clean": options.clean},
        "versions": package_versions(),
    }
    if shard.count > 1:
        command = command_line("didi-protein", "scan", options, NOT_OF_THE_WHOLE)
        summary[SHARD_KEY] = shard_record(shard, num_records, places, command).as_json()
    return summary


def _counts(statuses: Sequence[str]) -> dict[str, Any]:
    by_status = Counter(statuses)
    return {
        "num_records": len(statuses),
        "num_ok": by_status["ok"],
        "by_status": dict(sorted(by_status.items())),
    }


def merged_summary(
    shards: Sequence[Mapping[str, Any]], sequences: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the summary of the whole.

    Args:
        shards: the summaries of its parts.
        sequences: what they say of each record, in the order of the whole.
    """
    shared = {name: each for name, each in shards[0].items() if name != SHARD_KEY}
    return {
        **shared,
        **_counts([each["status"] for each in sequences]),
        "sequences": list(sequences),
        "warnings": warnings_of(shared["model"], sequences),
        "num_shards": len(shards),
    }


def warnings_of(model: Mapping[str, Any], sequences: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which sequences are none that the model knows.

    Args:
        model: its name, and the lengths that it was trained on in words, if they are known.
        sequences: what the summary says of each.
    """
    scanned = [each for each in sequences if each["status"] == "ok"]
    total, found, name = counted(len(scanned), "sequence"), [], model["name"]
    foreign = [each["id"] for each in scanned if each["known"] is False]
    if foreign:
        found.append(
            f"{len(foreign):,} of {total} ({_named(foreign)}): {name} guesses the residues hardly "
            "better than counting them does, so it does not know such proteins, and its scores "
            "say nothing of them: use a model that was trained on their family, or give the "
            "domain that it knows alone (score --family says where: family_start, family_end)."
        )
    if any(each["known"] is None for each in scanned):
        found.append(
            f"Fewer than {FEWEST_POSITIONS} positions do not tell whether {name} knows a protein "
            "at all; a scan of the whole sequence does."
        )
    other = [each["id"] for each in scanned if each["length_known"] is False]
    if other:
        found.append(
            f"{len(other):,} of {total} ({_named(other)}) of a length that {name} was not "
            f"trained on: it knows {model['trained_lengths']} residues."
        )
    return found


def _named(ids: Sequence[str], most: int = 3) -> str:
    more = f" and {len(ids) - most:,} more" if len(ids) > most else ""
    return ", ".join(ids[:most]) + more


@dataclass(frozen=True)
class StoredScan:
    """What an earlier summary says of the table beside it."""

    scorer: dict[str, Any] | None
    """Settings of the scan; None where there is no such summary, or it was cut short."""
    sequences: dict[str, str]
    """By id, of the records that were scanned."""


def read_stored(path: Path) -> StoredScan:
    """Read the summary of an earlier run."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        sequences = {
            each["id"]: each["sequence"] for each in stored["sequences"] if each["status"] == "ok"
        }
        return StoredScan(stored["settings"]["scan"], sequences)
    except (OSError, ValueError, KeyError, TypeError):
        return StoredScan(None, {})


def _tolerant_in_words(sequence: Mapping[str, Any]) -> str:
    """Name the most tolerant positions, those near the ends apart.

    >>> _tolerant_in_words({"most_tolerant": [1, 9, 12], "near_ends": [1, 2]})
    '9, 12 (near an end: 1)'
    """
    ends = [at for at in sequence["most_tolerant"] if at in sequence.get("near_ends", ())]
    inside = [at for at in sequence["most_tolerant"] if at not in ends]
    apart = f" (near an end: {', '.join(map(str, ends))})" if ends else ""
    return (", ".join(map(str, inside)) or "none inside") + apart


def print_summary(result: ScanResult) -> None:
    """Print what stands out of the first sequences, what to be wary of, and where all of it is."""
    shown = [each for each in result.summary["sequences"] if each["status"] == "ok"][:NAMED]
    for each in shown:
        best = ", ".join(f"{name} ({score:+.2f})" for name, score in list(each["best"].items())[:5])
        least = ", ".join(map(str, each["least_tolerant"]))
        print(
            f"{each['id']}: most tolerant positions {_tolerant_in_words(each)}; least tolerant "
            f"{least}; substitutions the model finds likeliest (nats, nothing measured) {best}; "
            f"the protein as it is: pseudo-perplexity {math.exp(each['mean_nll']):.2f}"
        )
    for warning in result.summary["warnings"]:
        print(warning)
    if hint := hint_of(each.get("error") for each in result.summary["sequences"]):
        print(hint)
    statuses = ", ".join(f"{n:,} {name}" for name, n in result.summary["by_status"].items())
    print(f"{result.out}: {counted(result.num_records, 'sequence')} ({statuses})")
    if any(each["known"] for each in shown):
        print(
            "Before you vary: a residue that is unusual in its family looks tolerant, whatever it "
            "is there for. Add to --keep what you know to matter: an active site, a contact. "
            f"Within {END} positions of an end the model sees little context, and tolerance says "
            "little: keep those, too."
        )
    if result.plots:
        more = f" and {len(result.plots) - 1:,} more" if len(result.plots) > 1 else ""
        print(f"{result.plots[0]}{more}: the same as a heat map")
