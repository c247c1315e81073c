"""What `foldable` asks for in the tables of a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from didi_protein.report_tables import ScoreTable


@dataclass(frozen=True)
class FoldRule:
    """What `foldable` asks for."""

    min_plddt: float = 80.0
    min_ptm: float = 0.7
    max_pae: float = 10.0
    differs: bool = False
    """Whether the tables were scored with different rules; this is then that of the first."""

    def in_words(self) -> str:
        text = f"pLDDT > {self.min_plddt:g}, pTM > {self.min_ptm:g}, PAE < {self.max_pae:g} Å"
        return text + (" (other tables: other thresholds)" if self.differs else "")


def fold_rule(tables: Sequence[ScoreTable]) -> FoldRule:
    """The rule stated in the summaries; the usual one where none is."""
    stated = [rule for table in tables if (rule := _stated(table.summary or {}))]
    if not stated:
        return FoldRule()
    differs = any(rule != stated[0] for rule in stated)
    return FoldRule(**stated[0], differs=differs)


def _stated(summary: Mapping[str, Any]) -> dict[str, float] | None:
    rule = (summary.get("fold") or {}).get("foldable")
    return (
        {name: float(rule[name]) for name in ("min_plddt", "min_ptm", "max_pae")} if rule else None
    )
