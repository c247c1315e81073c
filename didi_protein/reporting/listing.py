"""Every design of the tables as a row of one list: choice and rank of `filter`, scores, sequence.

Cells are short: 2,000 designs make a page of a few megabytes. A browser is given the first rows,
and the rest as text, of which `listing.js` makes rows once they are asked for.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from didi_core.progress import counted
from didi_protein.reporting.designs import is_own, own_heading
from didi_protein.reporting.filters import FilterOutcome
from didi_protein.reporting.tables import ScoreTable
from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.parents import PARENTS
from didi_protein.scoring.score_column import ScoreColumn
from didi_protein.scoring.table import are_designs, numbers_of

FEWEST_VALUES = 2
"""Values that a column of settings must have to be shown: where all are alike it says nothing."""
SHOWN_FIRST = 100
"""Rows that a browser is given at first; thousands would take it seconds."""
SETTINGS = ("model", "sampler", "steps")
TEXTS = ("parent", "motif")
"""Columns of ours that hold text and are shown."""
NATIVE = "native input"
"""Note of what an inverse folder was given: no design."""
PARENT = "parent, no design"
"""Note of what variants were made from."""
NO_SCORES = ("id", "length", "native", "rank", "steps", "nfe", "seed", "cluster",
             "structure_cluster")  # fmt: skip
"""Numbers of ours that rank and tell no design."""


@dataclass(frozen=True)
class ListColumn:
    """A column of the list."""

    heading: str
    meaning: str
    better: str = ""
    """"lower", "higher" or ""."""
    is_number: bool = False


@dataclass(frozen=True)
class ListedDesign:
    """A row of the list.

    Attributes:
        identifier: its id.
        title: of its FASTA record: the id, followed by the table where several tables have it.
        note: `NATIVE`, `PARENT`, why it was not scored, or "".
        choices: of each run of `filter`, (value to sort by, text, whether it was kept).
        cells: of each column, (value to sort by where the text is another, text).
        sequence: one-letter residues.
    """

    identifier: str
    title: str
    note: str
    choices: list[tuple[str, str, bool]]
    cells: list[tuple[str, str]]
    sequence: str

    @property
    def is_native(self) -> bool:
        return self.note == NATIVE

    @property
    def is_design(self) -> bool:
        return self.note not in (NATIVE, PARENT)


@dataclass(frozen=True)
class DesignList:
    """All designs of the page, in the order of the first run of `filter`, else of the tables."""

    runs: list[str]
    """Names of the runs of `filter`."""
    columns: list[ListColumn]
    rows: list[ListedDesign]

    @property
    def counts(self) -> str:
        """Return how many rows of what there are, in words."""
        natives = sum(row.is_native for row in self.rows)
        designs = sum(row.is_design for row in self.rows)
        parents = len(self.rows) - natives - designs
        found = [counted(designs, "design")]
        found += [counted(natives, "native input")] if natives else []
        return " and ".join(found + ([counted(parents, "parent")] if parents else []))


def list_designs(tables: Sequence[ScoreTable], outcomes: Sequence[FilterOutcome]) -> DesignList:
    """Return every row of the tables: those kept first, by rank, and natives last."""
    frames = [_numbered(table) for table in tables]
    merged = pd.concat([*frames, *_parents(tables)], ignore_index=True)
    columns = _columns(merged)
    names = [str(table.path.resolve()) for table in tables]
    known = [each for each in outcomes if str(each.table) in names]
    choices = [_choices(merged, outcome) for outcome in known]
    cells = [_cells(merged[name], name) for name in columns]
    notes = _notes(merged)
    several = merged.groupby("id")["_label"].nunique()
    rows = [
        ListedDesign(
            identifier=identifier,
            title=identifier if several[identifier] == 1 else f"{identifier}@{label}",
            note=note,
            choices=[each[place] for each in choices],
            cells=[each[place] for each in cells],
            sequence=sequence,
        )
        for place, (identifier, label, sequence, note) in enumerate(
            zip(merged["id"], merged["_label"], merged["sequence"], notes, strict=True)
        )
    ]
    return DesignList(
        runs=[each.name for each in known],
        columns=[_described(name) for name in columns],
        rows=sorted(rows, key=_place),
    )


def numeric_columns(rows: pd.DataFrame) -> list[ScoreColumn]:
    """Return the scores of ours that some row has a value of, in the order of the registry."""
    return [
        column
        for column in COLUMN.values()
        if column.type != "text"
        and column.name not in NO_SCORES
        and column.name in rows
        and rows[column.name].notna().any()
    ]


def _numbered(table: ScoreTable) -> pd.DataFrame:
    """Return the rows of a table, scores as floats, with its label and path."""
    rows = table.rows.copy()
    for column in numeric_columns(rows):
        rows[column.name] = numbers_of(rows, column.name, f"INPUT {table.path}")
    return rows.assign(_label=table.label, _path=str(table.path.resolve()))


def _parents(tables: Sequence[ScoreTable]) -> Iterator[pd.DataFrame]:
    """Yield the parents of variants as rows, each of the first table whose summary has it."""
    seen: set[tuple[str, str]] = set()
    for table in tables:
        for name, scores in ((table.summary or {}).get(PARENTS) or {}).items():
            key = (name, scores["sequence"])
            if key not in seen and not (table.rows["id"] == name).any():
                seen.add(key)
                row = {**scores, "id": name, "status": "ok", "_note": PARENT}
                yield pd.DataFrame([row]).assign(_label=table.label, _path="")


def _columns(rows: pd.DataFrame) -> list[str]:
    """Return the columns shown, those that a user wrote last."""
    settings = [
        name
        for name in ("_label", *SETTINGS)
        if name in rows and rows[name].nunique() >= FEWEST_VALUES
    ]
    texts = [name for name in TEXTS if name in rows and _says(rows[name]).any()]
    scores = [column.name for column in numeric_columns(rows)]
    own = [name for name in rows if is_own(str(name)) and _says(rows[name]).any()]
    return [*settings, "length", *scores, *texts, *own]


def _says(values: pd.Series) -> pd.Series:
    return values.notna() & (values.astype(str) != "")


def _described(name: str) -> ListColumn:
    if name == "_label":
        return ListColumn("Table", "The table of scores it stands in.")
    if name not in COLUMN:
        return ListColumn(own_heading(name), "From the header of the design, as it was written.")
    column = COLUMN[name]
    better = {"highest": "higher", "lowest": "lower", "": ""}[column.plainly_better]
    meaning = f"{column.name}. {column.advice}." if column.advice else column.name
    return ListColumn(column.title, meaning, better, column.type != "text")


def _cells(values: pd.Series, name: str) -> list[tuple[str, str]]:
    column = COLUMN.get(name)
    if column is None or column.type == "text":
        return [("", "" if pd.isna(each) else str(each)) for each in values]
    return [_number(each, column) for each in values.astype(float)]


def _number(value: float, column: ScoreColumn) -> tuple[str, str]:
    """Return the value to sort by, where rounding hides it, and the text."""
    if math.isnan(value):
        return "", ""
    if column.type == "yes_no":
        return f"{value:.0f}", "yes" if value else "no"
    text = f"{value:.0f}" if column.type == "integer" else column.write(value)
    exact = f"{value:.6g}"
    return ("" if text == exact else exact), text


def _choices(rows: pd.DataFrame, outcome: FilterOutcome) -> list[tuple[str, str, bool]]:
    reasons = outcome.reasons
    return [
        _choice(identifier, outcome.ranks, reasons)
        if path == str(outcome.table)
        else ("", "", False)
        for identifier, path in zip(rows["id"], rows["_path"], strict=True)
    ]


def _choice(
    identifier: str, ranks: dict[str, int], reasons: dict[str, str]
) -> tuple[str, str, bool]:
    if identifier in ranks:
        return str(ranks[identifier]), f"kept, rank {ranks[identifier]}", True
    if identifier in reasons:
        return "", f"rejected: {reasons[identifier]}", False
    return "", "" if ranks else "kept", not ranks


def _notes(rows: pd.DataFrame) -> Iterator[str]:
    parents = rows["_note"] if "_note" in rows else pd.Series("", index=rows.index)
    for native, parent, status, error in zip(
        ~are_designs(rows),
        parents == PARENT,
        rows["status"],
        rows.get("error", rows["status"]),
        strict=True,
    ):
        if native:
            yield NATIVE
        elif parent:
            yield PARENT
        else:
            yield "" if status == "ok" else f"{status}: {error}"


def _place(row: ListedDesign) -> tuple[bool, bool, float]:
    """Return what puts a row before others: kept, by rank, rejected, and last what is no design."""
    first = row.choices[0] if row.choices else ("", "", True)
    return not row.is_design, not first[2], float(first[0] or math.inf)
