"""Scores that are already known: of an interrupted run, or of a finished table.

They are kept by scorer, its settings, and record, so that a run with another judge, or with records
more, computes again only what has changed: no setting of the whole command is compared.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from didi_core.io.journal import Journal
from didi_protein.scoring.columns import is_text
from didi_protein.scoring.scorers import Scorer
from didi_protein.sequences.fasta import ProteinRecord

Values = Mapping[str, Any]
"""What a scorer found of a record, by column."""


@dataclass(frozen=True)
class ScoredBatch:
    """What one line of the journal holds."""

    scorer: str
    """Its name and settings."""
    rows: dict[str, Values]
    """By record."""

    @classmethod
    def from_json(cls, line: Any) -> "ScoredBatch":
        return cls(line["scorer"], {key: {**values} for key, values in line["rows"].items()})


class KnownScores:
    """Column values by scorer, its settings, and record."""

    def __init__(self, path: Path, command: str = "score") -> None:
        self._journal = _journal_at(path, command)
        self._known: dict[tuple[str, str], Values] = {}

    def resume(self, others: Iterable[Path]) -> None:
        """Take over what this process's file holds, if there is one, and what those of others do.

        Raises:
            UserError: a file that is no work in progress of this command.
        """
        if self._journal.path.is_file():
            self._journal.resume()
            self._take(self._journal.entries)
        for path in others:
            if path != self._journal.path:
                journal = _journal_at(path, self._journal.command)
                journal.load()
                self._take(journal.entries)

    def clear(self) -> None:
        """Forget everything, the file included."""
        self._known.clear()
        self._journal.remove()

    def get(self, scorer: Scorer, record: ProteinRecord) -> Values | None:
        """Values this scorer gave this very sequence under these settings; None if unknown."""
        return self._known.get((_scorer_key(scorer), _record_key(record)))

    def add(
        self, scorer: Scorer, records: Sequence[ProteinRecord], values: Sequence[Values]
    ) -> None:
        """Keep the values of a batch, on the disk too before this returns."""
        if not records:
            return
        rows = {_record_key(each): row for each, row in zip(records, values, strict=True)}
        batch = ScoredBatch(_scorer_key(scorer), rows)
        self._journal.append(batch)
        self._take([batch])

    def take(self, scorer: Scorer, record: ProteinRecord, values: Values) -> None:
        """Take over what this scorer found of a record, without keeping it on the disk."""
        self._known[_scorer_key(scorer), _record_key(record)] = values

    def take_table(self, scorer: Scorer, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take over this scorer's columns of the finished rows of a table made by it."""
        for row in rows:
            values = {name: row.get(name) for name in scorer.columns}
            # A column that somebody edited holds texts: what it says is computed again.
            whole = all(
                is_text(name) or not isinstance(value, str) for name, value in values.items()
            )
            known = any(value is not None for value in values.values())
            if row["status"] == "ok" and known and whole:
                self.take(scorer, ProteinRecord(row["id"], row["sequence"]), values)

    def _take(self, batches: Iterable[ScoredBatch]) -> None:
        self._known |= {
            (batch.scorer, record): row for batch in batches for record, row in batch.rows.items()
        }


def _journal_at(path: Path, command: str) -> Journal[ScoredBatch]:
    return Journal(path, command, {}, ScoredBatch.from_json)


def _scorer_key(scorer: Scorer) -> str:
    return json.dumps([scorer.name, scorer.settings], sort_keys=True)


def _record_key(record: ProteinRecord) -> str:
    digest = hashlib.sha256(record.sequence.encode()).hexdigest()[:16]
    return f"{digest} {record.id}"
