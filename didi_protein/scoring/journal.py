"""Scores that are already known: of an interrupted run, or of a finished table.

While a run goes on, every finished batch is one line of `OUT.partial`, flushed to the disk. A
killed process leaves at worst a broken last line, which is cut off again.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from didi_core.errors import UserError
from didi_core.io.files import append_durably
from didi_protein.scoring.columns import is_text
from didi_protein.scoring.scorers import Scorer
from didi_protein.sequences.fasta import ProteinRecord


class Journal:
    """Column values by scorer, its settings, and record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[tuple[str, str], dict[str, Any]] = {}

    def load(self) -> None:
        """Take over what the file holds, if there is one, and drop a broken last line."""
        if self.path.is_file():
            self._load(self.path, "rb+")

    def load_from(self, path: Path) -> None:
        """Take over what another process's file holds, and leave the file as it is."""
        self._load(path, "rb")

    def _load(self, path: Path, mode: str) -> None:
        good = 0
        with open(path, mode) as stream:
            for line in stream:
                if not self._take(line):
                    break
                good += len(line)
            if mode == "rb+":
                stream.truncate(good)

    def _take(self, line: bytes) -> bool:
        if not line.endswith(b"\n"):
            return False
        try:
            entry = json.loads(line)
            self._known |= {(entry["scorer"], key): row for key, row in entry["rows"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"--resume: {self.path} is no unfinished run of this command ({error}); "
                "start again with --overwrite."
            ) from error
        return True

    def clear(self) -> None:
        """Forget everything, the file included."""
        self._known.clear()
        self.path.unlink(missing_ok=True)

    def get(self, scorer: Scorer, record: ProteinRecord) -> dict[str, Any] | None:
        """Values this scorer gave this very sequence under these settings; None if unknown."""
        return self._known.get((_scorer_key(scorer.name, scorer.settings), _record_key(record)))

    def add(
        self, scorer: Scorer, records: Sequence[ProteinRecord], values: Sequence[dict[str, Any]]
    ) -> None:
        """Keep the values of a batch, on the disk too before this returns."""
        if not records:
            return
        key = _scorer_key(scorer.name, scorer.settings)
        rows = {_record_key(each): row for each, row in zip(records, values, strict=True)}
        self._known |= {(key, record): row for record, row in rows.items()}
        append_durably(self.path, json.dumps({"scorer": key, "rows": rows}).encode() + b"\n")

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
                key = _scorer_key(scorer.name, scorer.settings)
                self._known[key, _record_key(ProteinRecord(row["id"], row["sequence"]))] = values


def _scorer_key(name: str, settings: Mapping[str, Any]) -> str:
    return json.dumps([name, settings], sort_keys=True)


def _record_key(record: ProteinRecord) -> str:
    digest = hashlib.sha256(record.sequence.encode()).hexdigest()[:16]
    return f"{digest} {record.id}"
