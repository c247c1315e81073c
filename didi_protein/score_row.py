"""A record on its way to the table of scores: its checks, its status, and the row it becomes."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from didi_protein.cleaning import clean_sequence, find_problem
from didi_protein.fasta import ProteinRecord
from didi_protein.scorers import Scorer
from didi_protein.scores_table import HEADER_COLUMNS, TEXT_COLUMNS, rounded


@dataclass
class Row:
    """A record on its way to the table."""

    record: ProteinRecord
    status: str = "ok"
    error: str | None = None
    values: dict[str, Any] = field(default_factory=dict)

    def fail(self, status: str, error: str) -> None:
        """Note a failure; the first one gives the status, all are named."""
        if self.status == "ok":
            self.status = status
        self.error = error if self.error is None else f"{self.error}; {error}"

    def as_dict(self) -> dict[str, Any]:
        """The row under its column names."""
        values = {key: rounded(value) for key, value in self.values.items()}
        return {
            "id": self.record.id,
            "length": len(self.record.sequence),
            "status": self.status,
            "error": self.error,
            "sequence": self.record.sequence,
            **_header_values(self.record),
            **self._stated_values(),
            **values,
        }

    def _stated_values(self) -> dict[str, Any]:
        """What the structure file read says of itself, unless the sequence was folded anew."""
        if "mean_plddt" in self.values:
            return {}
        return {key: rounded(value) for key, value in self.record.columns.items()}


def _header_values(record: ProteinRecord) -> dict[str, Any]:
    """Columns of the header's pairs. The length is left out where it says what we measured."""
    pairs = dict(record.header)
    if pairs.get("length") == str(len(record.sequence)):
        del pairs["length"]
    known = {
        key: pairs[key] if key in TEXT_COLUMNS else _number(pairs[key])
        for key in HEADER_COLUMNS
        if key in pairs
    }
    # A column of numbers takes no text: it goes where other pairs go, under its own name.
    known = {k: v for k, v in known.items() if k in TEXT_COLUMNS or not isinstance(v, str)}
    pairs = {key: value for key, value in pairs.items() if key not in known}
    return known | {f"header_{key}": _number(value) for key, value in pairs.items()}


def _number(text: str) -> int | float | str | None:
    """A number where the text is plainly one; `007`, `nan` and `1_000` stay texts."""
    if re.fullmatch(r"-?(0|[1-9]\d*)", text):
        return int(text)
    if re.fullmatch(r"-?\d+\.\d*(e[+-]?\d+)?|-?\d+e[+-]?\d+", text, re.IGNORECASE):
        return float(text)
    return text or None


def check_records(
    records: Iterable[ProteinRecord], scorers: Sequence[Scorer], clean: bool, max_length: int | None
) -> list[Row]:
    """One row a record, with its status: ok, invalid, too_long or (its file) failed."""
    limit, reason = _length_limit(scorers, max_length)
    return [_check(record, clean, limit, reason) for record in records]


def _length_limit(scorers: Sequence[Scorer], max_length: int | None) -> tuple[float, str]:
    """The shortest limit, and who sets it."""
    limits = [(scorer.max_length, f"the {scorer.name} model reads") for scorer in scorers]
    limits.append((max_length, "--max-length allows"))
    return min(
        ((limit, reason) for limit, reason in limits if limit is not None),
        default=(math.inf, ""),
    )


def _check(record: ProteinRecord, clean: bool, limit: float, reason: str) -> Row:
    if clean:
        record = replace(record, sequence=clean_sequence(record.sequence))
    row, length = Row(record), len(record.sequence)
    problem = find_problem(record.sequence)
    if record.problem is not None:
        row.fail("failed", record.problem)
    elif problem is not None:
        row.fail("invalid", problem)
    elif length > limit:
        row.fail("too_long", f"{length} residues: {reason} at most {limit}")
    return row
