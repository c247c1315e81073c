"""The rows that frame a comparison: natural sequences, and the same residues shuffled."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from didi_protein.report_figures import Estimate, figures_from_summary
from didi_protein.report_tables import ScoreTable

# Key in the summary -> title in the table, title in the plot ("" where it is not drawn).
TITLES = {
    "natural_held_out": ("Natural sequences, held out", "natural, held out"),
    "natural_training": ("Natural sequences, training", ""),
    "residue_shuffled": ("The same residues, shuffled", "shuffled"),
}


@dataclass(frozen=True)
class ReferenceRow:
    """Figures of sequences that are not designs.

    Attributes:
        key: natural_held_out, natural_training or residue_shuffled.
        title: what the table calls it; names the score table where several disagree.
        num_sequences: how many sequences the figures rest on.
        figures: figure name -> estimate, as in a cell.
        composition: share of each residue; empty where the summary holds none.
    """

    key: str
    title: str
    num_sequences: int
    figures: dict[str, Estimate]
    composition: dict[str, float] = field(default_factory=dict)

    @property
    def short_title(self) -> str:
        return TITLES[self.key][1]


def references_of(tables: Sequence[ScoreTable]) -> list[ReferenceRow]:
    """The distinct reference rows of all summaries: usually every table repeats the same ones."""
    rows = []
    for key, (title, _) in TITLES.items():
        distinct = _distinct_rows(tables, key)
        for label, row in distinct:
            full_title = title if len(distinct) == 1 else f"{title} ({label})"
            rows.append(
                ReferenceRow(
                    key=key,
                    title=full_title,
                    num_sequences=int(row["n"]),
                    figures=_without_cost(figures_from_summary(row)),
                    composition=row.get("residue_composition") or {},
                )
            )
    return rows


def _without_cost(figures: dict[str, Estimate]) -> dict[str, Estimate]:
    return {name: each for name, each in figures.items() if name != "calls"}  # nobody drew these


def _distinct_rows(tables: Sequence[ScoreTable], key: str) -> list[tuple[str, dict]]:
    """(label of the first table that has it, row), each different row once."""
    found: dict[str, tuple[str, dict]] = {}
    for table in tables:
        row = ((table.summary or {}).get("reference_rows") or {}).get(key)
        if row:
            found.setdefault(json.dumps(row, sort_keys=True), (table.label, row))
    return list(found.values())


def natural_row(references: Sequence[ReferenceRow]) -> ReferenceRow | None:
    """The row designs are held against: held-out natural sequences, else training ones."""
    natural = [row for row in references if row.key != "residue_shuffled"]
    return natural[0] if natural else None
