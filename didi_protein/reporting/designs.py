"""The designs a report puts forward, with their structures, and their FASTA."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pandas as pd

from didi_protein.filtering.memory import COLUMNS as MEMORY_COLUMNS
from didi_protein.filtering.memory import Memory
from didi_protein.filtering.ranking import JUDGED, SortKey, default_sort, ranked
from didi_protein.reporting.cells import OPTIONS, Cell
from didi_protein.reporting.filters import FilterOutcome, ranks_of, rejected_everywhere
from didi_protein.reporting.structures import Backbone, described, read_backbone
from didi_protein.scoring.columns import COLUMN
from didi_protein.scoring.ids import HEADER_PREFIX
from didi_protein.scoring.natural_range import NaturalRange
from didi_protein.scoring.score_column import ScoreColumn
from didi_protein.sequences.fasta import NAME_KEY, ProteinRecord, unique_ids
from didi_protein.similarity.neighbours import COPY_IDENTITY

_RANK = "_rank"
_IDENTITIES = ("nearest_reference_identity", *MEMORY_COLUMNS)


@dataclass(frozen=True)
class Design:
    """One design on the page.

    Attributes:
        identifier: its id, made unique within this list.
        sequence: one-letter residues.
        origin: (key, value) pairs for the header: model, sampler, steps, nfe, seed.
        figures: (heading, text) pairs of the scores it has.
        is_copy: whether it is nearly a sequence of the reference, or of the training data.
        is_foldable: by the rule of the table; None where it was not folded.
        backbone: its structure, where the table names a file that can be drawn.
        structure_file: the name of that file, as the table has it.
        note: why there is no structure although the table names a file.
    """

    identifier: str
    sequence: str
    origin: list[tuple[str, str]]
    figures: list[tuple[str, str]]
    is_copy: bool
    is_foldable: bool | None = None
    backbone: Backbone | None = None
    structure_file: str = ""
    note: str = ""

    @property
    def pictured(self) -> str:
        """What the picture of the structure shows, in words."""
        return described(self.identifier, self.backbone) if self.backbone else ""

    @property
    def blocks(self) -> list[str]:
        """The sequence in blocks of ten, as protein databases print it."""
        return [self.sequence[start : start + 10] for start in range(0, len(self.sequence), 10)]

    @property
    def fasta(self) -> str:
        pairs = [("length", str(len(self.sequence))), *self.origin]
        header = {key: value for key, value in pairs if value}
        lines = [self.sequence[start : start + 60] for start in range(0, len(self.sequence), 60)]
        title = ProteinRecord(self.identifier, self.sequence, header).title
        return "\n".join([title, *lines]) + "\n"


def best_designs(
    cells: Sequence[Cell],
    top: int,
    max_repeat: float,
    outcomes: Sequence[FilterOutcome] = (),
) -> list[Design]:
    """Return the first `top` distinct sequences that `filter` kept, in its order.

    Designs of tables that were not filtered come after those: the distinct sequences of highest
    pLDDT whose repeats pass `max_repeat`. Where nothing was folded the lowest judge perplexity
    decides, no further down than nature's; without either there is nothing to rank by. Of such
    tables copies of training sequences are left out, and so is what the judge itself wrote, or does
    not know, where it would be the one to rank it.
    """
    by_judge = [key.column for key in _order(cells)[:1]] == [JUDGED]
    cells = [
        cell
        for cell in cells
        if ranks_of(outcomes, cell.table) or not (by_judge and (cell.judges_itself or cell.foreign))
    ]
    frames = [_candidates(cell, number, outcomes) for number, cell in enumerate(cells)]
    designs = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if "repeat_fraction" in designs:
        unranked = designs[_RANK].isna()
        designs = designs[~((designs["repeat_fraction"] > max_repeat) & unranked)]
    ordered = _ranked(designs, cells).drop_duplicates("sequence") if len(designs) else designs
    rows = list(islice(ordered.to_dict("records"), top))
    identifiers = _unique_identifiers([(row["id"], cells[row["_cell"]].source) for row in rows])
    return [
        _design(row, cells[row["_cell"]], identifier)
        for row, identifier in zip(rows, identifiers, strict=True)
    ]


def _candidates(cell: Cell, number: int, outcomes: Sequence[FilterOutcome]) -> pd.DataFrame:
    if any(each.table == cell.table.resolve() for each in outcomes):
        rejected = cell.designs["id"].isin(rejected_everywhere(outcomes, cell.table))
    else:
        rejected = Memory.of(cell.designs).is_copy
    kept = cell.designs[~rejected]
    ranks = kept["id"].map(ranks_of(outcomes, cell.table)).astype(float)
    return kept.assign(**{"_cell": number, _RANK: ranks})


def order_of_filter(cells: Sequence[Cell], outcomes: Sequence[FilterOutcome]) -> str:
    """Return the order of the runs of `filter` that rank designs of the page, in words; "" where
    none does."""
    tables = {cell.table.resolve() for cell in cells if ranks_of(outcomes, cell.table)}
    orders = [
        f"{each.name}.fasta: {(each.summary or {}).get('order', 'its order')}"
        for each in outcomes
        if each.table in tables
    ]
    return "; ".join(orders)


def ranked_by(cells: Sequence[Cell]) -> str:
    """What decides which designs are best, in words; "" where nothing does."""
    return ", ".join(
        f"{COLUMN[each.column].better} {COLUMN[each.column].heading}{each.limit_in_words}"
        for each in _order(cells)
    )


def _order(cells: Sequence[Cell]) -> list[SortKey]:
    if not cells:
        return []
    return _usual_order(pd.concat([cell.designs for cell in cells]), cells)


def _usual_order(designs: pd.DataFrame, cells: Sequence[Cell]) -> list[SortKey]:
    """Return the order of designs of these cells; of several natural ranges the first counts."""
    natural = {name: each for cell in reversed(cells) for name, each in cell.natural.items()}
    return default_sort(designs, _judge_knows(cells), natural)


def _judge_knows(cells: Sequence[Cell]) -> bool:
    """Whether the judge can rank the designs of any row."""
    return any(cell.foreign is None for cell in cells)


def _unique_identifiers(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Ids of one word each; those that several tables use are followed by their table.

    Every `generate` run counts from design_000000, so this is the usual case.
    """
    plain = Counter(identifier for identifier, _ in pairs)
    return unique_ids(
        [
            identifier if plain[identifier] == 1 else f"{identifier}@{source}"
            for identifier, source in pairs
        ]
    )


def _ranked(designs: pd.DataFrame, cells: Sequence[Cell]) -> pd.DataFrame:
    """Return those that `filter` ranked, then the others that have a value to rank by."""
    by_filter = designs[designs[_RANK].notna()].sort_values(_RANK, kind="stable")
    others = designs[designs[_RANK].isna()]
    keys = _usual_order(others, cells)
    if not keys:
        return by_filter
    others = others[others[keys[0].column].notna()]
    # Tables of other lengths have other natural ranges: each is held to its own.
    plain = [replace(key, nature=None) for key in keys]
    values = {key.column: _as_ranked(others, key, cells) for key in plain}
    return pd.concat([by_filter, others.loc[ranked(others.assign(**values), plain).index]])


def _as_ranked(designs: pd.DataFrame, key: SortKey, cells: Sequence[Cell]) -> pd.Series:
    """Return a column with values beyond the natural range of their own table as its end."""
    parts = [
        key.limited(cells[number].natural).as_ranked(rows[key.column])
        for number, rows in designs.groupby("_cell")
    ]
    return pd.concat(parts) if parts else designs[key.column]


def _design(row: dict[str, Any], cell: Cell, identifier: str) -> Design:
    identities: list[Any] = [row.get(name) for name in _IDENTITIES]
    foldable = row.get("foldable")
    structure = read_backbone(row, cell.table.parent)
    return Design(
        identifier=identifier,
        sequence=row["sequence"],
        origin=_origin(row, cell),
        figures=[*_figures(row, cell), *_own_columns(row)],
        is_copy=any(pd.notna(each) and each >= COPY_IDENTITY for each in identities),
        is_foldable=None if pd.isna(foldable) else bool(foldable),
        backbone=structure if isinstance(structure, Backbone) else None,
        structure_file=str(row.get("pdb_file")),
        note=structure if isinstance(structure, str) else "",
    )


def _figures(row: dict[str, Any], cell: Cell) -> list[tuple[str, str]]:
    """Return the scores of a design; those outside nature's range say so."""
    return [
        (column.heading, _figure(row[column.name], column, cell.natural.get(column.name)))
        for column in COLUMN.values()
        if column.on_card and pd.notna(row.get(column.name))
    ]


def _figure(value: float, column: ScoreColumn, natural: NaturalRange | None) -> str:
    text = f"{column.write(value)} {column.unit}".strip()
    beside = natural.beside(value, column) if natural else ""
    return f"{text}, {beside}" if beside else text


def _own_columns(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the user wrote into the header of a design."""
    return [
        (own_heading(name), str(value))
        for name, value in row.items()
        if is_own(str(name)) and pd.notna(value) and value != ""
    ]


def is_own(column: str) -> bool:
    """Return whether a column holds what a user wrote into the headers of designs."""
    written = column in (OPTIONS, f"{HEADER_PREFIX}{NAME_KEY}")
    return column.startswith(HEADER_PREFIX) and not written


def own_heading(column: str) -> str:
    """Return the title of such a column: its key in the header."""
    return column.removeprefix(HEADER_PREFIX)


def _origin(row: dict, cell: Cell) -> list[tuple[str, str]]:
    pairs: list[tuple[str, object]] = [("model", row.get("model")), ("sampler", cell.sampler)]
    pairs.append(("steps", cell.steps))
    pairs += [(key, row.get(key)) for key in ("nfe", "seed")]
    pairs.append((NAME_KEY, row.get(f"{HEADER_PREFIX}{NAME_KEY}")))
    return [(key, _as_text(value)) for key, value in pairs if pd.notna(value) and value != ""]


def _as_text(value: object) -> str:
    """Whole numbers without a point: the columns of numbers are floats here."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def fasta_link(designs: Sequence[Design]) -> str:
    """A data: address that holds the designs as FASTA."""
    text = "".join(design.fasta for design in designs)
    return "data:text/plain;base64," + base64.b64encode(text.encode()).decode("ascii")
