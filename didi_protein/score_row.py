"""A record on its way to the table of scores: its checks, its status, and the row it becomes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from didi_protein.cleaning import clean_sequence, find_problem
from didi_protein.fasta import ProteinRecord
from didi_protein.scorers import Scorer
from didi_protein.scores_table import HEADER_COLUMNS, TEXT_COLUMNS, rounded, whole_number


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
        """What the structure file read says of itself, unless the sequence was folded anew.

        Infinity and NaN say nothing: their columns stay empty.
        """
        if "mean_plddt" in self.values:
            return {}
        return {
            key: rounded(value)
            for key, value in self.record.columns.items()
            if not isinstance(value, float) or math.isfinite(value)
        }


def _header_values(record: ProteinRecord) -> dict[str, Any]:
    """Columns of the header's pairs. The length is left out where it says what we measured."""
    pairs = dict(record.header)
    if pairs.get("length") == str(len(record.sequence)):
        del pairs["length"]
    return {
        key if key in HEADER_COLUMNS and _fits(key, value) else f"header_{key}": value
        for key, value in pairs.items()
    }


def _fits(column: str, value: str) -> bool:
    """Whether a column of ours takes this value: one of whole numbers takes no `007` or `1e9`.

    What it does not take goes where other pairs go, under its own name: nothing is lost.
    """
    try:
        return column in TEXT_COLUMNS or whole_number(value) >= 0
    except ValueError:
        return False


def check_records(
    records: Iterable[ProteinRecord], scorers: Sequence[Scorer], clean: bool, max_length: int | None
) -> list[Row]:
    """One row a record, with its status: ok, invalid, too_long or (its file) failed."""
    limit, reason = _length_limit(scorers, max_length)
    return [_check(record, clean, limit, reason) for record in records]


def _cleaned(record: ProteinRecord) -> ProteinRecord:
    """The record with its sequence mended; a length that was right before goes."""
    header = dict(record.header)
    if header.get("length") == str(len(record.sequence)):
        del header["length"]
    return replace(record, sequence=clean_sequence(record.sequence), header=header)


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
        record = _cleaned(record)
    row, length = Row(record), len(record.sequence)
    problem = find_problem(record.sequence)
    if record.problem is not None:
        row.fail("failed", record.problem)
    elif problem is not None:
        row.fail("invalid", problem)
    elif length > limit:
        row.fail("too_long", f"{length} residues: {reason} at most {limit}")
    return row
