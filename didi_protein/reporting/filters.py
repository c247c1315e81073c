"""What `filter` rejected, for the report: the funnel, and which filter rejected which design.

Read from `F.rejected.csv` (one row a reason) and `F.filter.json` beside it (the funnel, and which
table was filtered).
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from didi_core.errors import UserError
from didi_core.io.tables import read_csv
from didi_core.progress import counted
from didi_protein.filtering.criteria import Natives
from didi_protein.filtering.funnel import REJECTED_COLUMNS
from didi_protein.filtering.options import FunnelStep
from didi_protein.reporting.tables import SELECTED_SUFFIX, ScoreTable, find_files

REJECTED_SUFFIX = ".rejected.csv"
MOST_SHOWN = 500
"""Rejected designs listed on the page; the file has all of them."""


@dataclass(frozen=True)
class RejectedDesign:
    """One rejected design, as a row of the page.

    Attributes:
        identifier: its id.
        cells: for each filter of the outcome (text, reason in words); "" and "" where it passed.
    """

    identifier: str
    cells: list[tuple[str, str]]


@dataclass(frozen=True)
class FilterOutcome:
    """One run of `filter`.

    Attributes:
        path: of `F.rejected.csv`.
        rejections: its rows; all texts, "" where empty.
        summary: contents of `F.filter.json`, or None where there is none.
        table: the table that was filtered, where it is known.
        ranks: rank of each design kept, by id, of `F.selected.csv`; empty where there is none.
    """

    path: Path
    rejections: pd.DataFrame
    summary: dict[str, Any] | None
    table: Path | None
    ranks: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the run is called: the name of its files without their suffix."""
        return self.path.name.removesuffix(REJECTED_SUFFIX)

    @property
    def reasons(self) -> dict[str, str]:
        """Why each rejected design was, by id."""
        found: dict[str, list[str]] = {}
        for row in self.rejections[["id", "reason"]].to_dict("records"):
            found.setdefault(row["id"], []).append(row["reason"])
        return {identifier: "; ".join(reasons) for identifier, reasons in found.items()}

    @property
    def rejected_ids(self) -> frozenset[str]:
        return frozenset(self.rejections["id"])

    @property
    def num_rejected(self) -> int:
        """How many designs were rejected: native inputs are none."""
        return self._of_designs["id"].nunique()

    @property
    def num_natives(self) -> int:
        listed = len(self.rejections) - len(self._of_designs)
        return int((self.summary or {}).get("num_natives", listed))

    @property
    def natives(self) -> str:
        return counted(self.num_natives, "native input")

    @property
    def kept(self) -> str:
        """How many of the designs were kept, in words."""
        summary = self.summary or {}
        total = summary["num_records"] - self.num_natives
        verb = "was" if summary["num_selected"] == 1 else "were"
        return f"{summary['num_selected']:,} of {counted(total, 'design')} {verb}"

    @property
    def _of_designs(self) -> pd.DataFrame:
        """The rejections of designs."""
        return self.rejections[self.rejections["filter"] != Natives.name]

    @property
    def steps(self) -> list[FunnelStep]:
        """The funnel; empty where no `F.filter.json` tells it."""
        return [FunnelStep(**step) for step in (self.summary or {}).get("filters", [])]

    @property
    def filters(self) -> list[tuple[str, str]]:
        """(name, what it keeps) of each filter that rejected anything, in the order of the file."""
        pairs = self._of_designs[["filter", "column", "threshold"]].drop_duplicates()
        found = [(name, f"{column} {asks}") for name, column, asks in pairs.values.tolist()]
        order = [(step.filter, f"{step.column} {step.threshold}") for step in self.steps]
        return sorted(found, key=lambda each: order.index(each) if each in order else len(order))

    @property
    def designs(self) -> list[RejectedDesign]:
        """The first `MOST_SHOWN` rejected designs."""
        names = [name for name, _ in self.filters]
        shown = []
        for identifier, reasons in self._of_designs.groupby("id", sort=False):
            by_filter = {row["filter"]: row for row in reasons.to_dict("records")}
            cells = [_cell(by_filter.get(name)) for name in names]
            shown.append(RejectedDesign(str(identifier), cells))
            if len(shown) == MOST_SHOWN:
                break
        return shown


def _cell(row: dict[str, str] | None) -> tuple[str, str]:
    """What to show and the reason in words: the value beyond a bound, else the reason itself, as
    the number of a cluster says nothing of the better design in it."""
    if row is None:
        return "", ""
    if not row["threshold"].startswith((">=", "<=")):
        return row["reason"], row["reason"]
    try:
        return f"{float(row['value']):.4g}", row["reason"]
    except ValueError:
        return row["value"] or "empty", row["reason"]


def is_rejections(path: str | os.PathLike[str]) -> bool:
    return Path(path).name.endswith(REJECTED_SUFFIX)


def tables_filtered(inputs: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The tables that the `.rejected.csv` files among the inputs are about, where they exist."""
    outcomes = [_read(Path(each)) for each in inputs if is_rejections(each)]
    return [each.table for each in outcomes if each.table is not None and each.table.is_file()]


def read_outcomes(
    inputs: Sequence[str | os.PathLike[str]], tables: Sequence[ScoreTable]
) -> list[FilterOutcome]:
    """Runs of `filter` named among the inputs, in the folders named, or beside the tables.

    Of those beside a table, only the ones that are about a table of the report.

    Raises:
        UserError: a file that was named cannot be read.
    """
    asked = [path for each in inputs for path in _asked_for(Path(each))]
    folders = dict.fromkeys(table.path.parent for table in tables)
    beside = [path for each in folders for path in sorted(each.glob(f"*{REJECTED_SUFFIX}"))]
    known = {table.path.resolve(): table.path for table in tables}
    outcomes: dict[Path | None, FilterOutcome] = {}
    for path in dict.fromkeys([*asked, *beside]):
        outcome = _linked(_read(path), known, was_asked=path in asked)
        if path in asked or outcome.table in known:
            outcomes.setdefault(path.resolve(), outcome)
    return list(outcomes.values())


def _asked_for(place: Path) -> list[Path]:
    if place.is_dir():
        return find_files(place, lambda path: is_rejections(path))
    return [place] if is_rejections(place) else []


def _linked(outcome: FilterOutcome, known: dict[Path, Path], was_asked: bool) -> FilterOutcome:
    """With the table it is about: the one its summary names, that of its name, or, where it was
    asked for, the only one."""
    if outcome.table is not None:
        return outcome
    same_name = outcome.path.name.removesuffix(REJECTED_SUFFIX)
    for resolved, path in known.items():
        beside = path.parent.resolve() == outcome.path.parent.resolve()
        if (beside and path.stem == same_name) or (was_asked and len(known) == 1):
            return replace(outcome, table=resolved)
    return outcome


def _read(path: Path) -> FilterOutcome:
    rows = pd.DataFrame(read_csv(path, "INPUT", REJECTED_COLUMNS), dtype=object)
    if missing := [name for name in REJECTED_COLUMNS if name not in rows]:
        raise UserError(
            f"INPUT {path} is no list of rejected designs: it has no {', '.join(missing)}. Write "
            "it with: didi-protein filter SCORES.csv --out F.fasta"
        )
    summary = _read_summary(path)
    table = (summary or {}).get("table")
    return FilterOutcome(
        path=path,
        rejections=rows,
        summary=summary,
        table=(path.parent / table).resolve() if table else None,
        ranks=_read_ranks(path),
    )


def _read_ranks(rejected: Path) -> dict[str, int]:
    path = rejected.with_name(rejected.name.removesuffix(REJECTED_SUFFIX) + SELECTED_SUFFIX)
    if not path.is_file():
        return {}
    rows = read_csv(path, "INPUT")
    pairs = zip(rows.get("id", ()), rows.get("rank", ()), strict=False)
    return {identifier: int(rank) for identifier, rank in pairs if rank.isdecimal()}


def _read_summary(rejected: Path) -> dict[str, Any] | None:
    path = rejected.with_name(rejected.name.removesuffix(REJECTED_SUFFIX) + ".filter.json")
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}): write it again with filter.") from error


def ranks_of(outcomes: Sequence[FilterOutcome], table: Path) -> dict[str, int]:
    """Return the rank of each design of a table that `filter` kept, by id; none where several runs
    rank it, as they need not agree."""
    runs = [each.ranks for each in outcomes if each.table == table.resolve() and each.ranks]
    return runs[0] if len(runs) == 1 else {}


def rejected_everywhere(outcomes: Sequence[FilterOutcome], table: Path) -> frozenset[str]:
    """Ids of a table that every run of `filter` on it rejected; none where there was no run."""
    runs = [each.rejected_ids for each in outcomes if each.table == table.resolve()]
    return frozenset.intersection(*runs) if runs else frozenset()
