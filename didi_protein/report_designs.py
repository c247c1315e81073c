"""The designs a report puts forward, and their FASTA."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import pandas as pd

from didi_protein.neighbours import COPY_IDENTITY
from didi_protein.report_data import Cell

# Column of the table -> heading of the figure on a design's card, format.
SHOWN_FIGURES = {
    "judge_perplexity": ("judge perplexity", "{:.2f}"),
    "mean_plddt": ("pLDDT", "{:.1f}"),
    "ptm": ("pTM", "{:.2f}"),
    "repeat_fraction": ("repeats", "{:.0%}"),
    "nearest_reference_identity": ("identity to nearest natural", "{:.0%}"),
    "instability_index": ("instability", "{:.0f}"),
    "isoelectric_point": ("pI", "{:.1f}"),
}


@dataclass(frozen=True)
class Design:
    """One design on the page.

    Attributes:
        identifier: its id, made unique within this list.
        sequence: one-letter residues.
        origin: (key, value) pairs for the header: model, sampler, steps, nfe, seed.
        figures: (heading, text) pairs of the scores it has.
        is_copy: whether it is nearly a sequence of the reference.
    """

    identifier: str
    sequence: str
    origin: list[tuple[str, str]]
    figures: list[tuple[str, str]]
    is_copy: bool

    @property
    def blocks(self) -> list[str]:
        """The sequence in blocks of ten, as protein databases print it."""
        return [self.sequence[start : start + 10] for start in range(0, len(self.sequence), 10)]

    @property
    def fasta(self) -> str:
        pairs = [("length", str(len(self.sequence))), *self.origin]
        header = " ".join([self.identifier, *(f"{key}={value}" for key, value in pairs if value)])
        lines = [self.sequence[start : start + 60] for start in range(0, len(self.sequence), 60)]
        return "\n".join([f">{header}", *lines]) + "\n"


def best_designs(cells: Sequence[Cell], top: int, max_repeat: float) -> list[Design]:
    """The `top` distinct sequences of lowest judge perplexity whose repeats pass `max_repeat`.

    Without a judge the highest pLDDT decides; without either there is nothing to rank by, and the
    list is empty.
    """
    frames = [cell.designs.assign(_cell=number) for number, cell in enumerate(cells)]
    designs = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if "repeat_fraction" in designs:
        designs = designs[~(designs["repeat_fraction"] > max_repeat)]
    ranked = _ranked(designs).drop_duplicates("sequence") if len(designs) else designs
    rows = list(islice(ranked.to_dict("records"), top))
    identifiers = _unique_identifiers([(row["id"], cells[row["_cell"]].source) for row in rows])
    return [
        _design(row, cells[row["_cell"]], identifier)
        for row, identifier in zip(rows, identifiers, strict=True)
    ]


def _unique_identifiers(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Ids of one word each; those that several tables use are followed by their table.

    Every `generate` run counts from design_000000, so this is the usual case.
    """
    plain = Counter(identifier for identifier, _ in pairs)
    seen: Counter[str] = Counter()
    unique = []
    for identifier, source in pairs:
        name = _one_word(identifier if plain[identifier] == 1 else f"{identifier}@{source}")
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return unique


def _ranked(designs: pd.DataFrame) -> pd.DataFrame:
    for column, ascending in (("judge_perplexity", True), ("mean_plddt", False)):
        if column in designs and designs[column].notna().any():
            known = designs[designs[column].notna()]
            return known.sort_values(column, ascending=ascending, kind="stable")
    return designs.iloc[:0]


def _design(row: dict, cell: Cell, identifier: str) -> Design:
    identity = row.get("nearest_reference_identity")
    return Design(
        identifier=identifier,
        sequence=row["sequence"],
        origin=_origin(row, cell),
        figures=[
            (heading, style.format(row[column]))
            for column, (heading, style) in SHOWN_FIGURES.items()
            if pd.notna(row.get(column))
        ],
        is_copy=bool(pd.notna(identity) and identity >= COPY_IDENTITY),
    )


def _origin(row: dict, cell: Cell) -> list[tuple[str, str]]:
    pairs: list[tuple[str, object]] = [("model", row.get("model")), ("sampler", cell.sampler)]
    pairs.append(("steps", cell.steps))
    pairs += [(key, row.get(key)) for key in ("nfe", "seed")]
    return [(key, _one_word(value)) for key, value in pairs if pd.notna(value) and value != ""]


def _one_word(value: object) -> str:
    """As it may stand in a FASTA header: whole numbers without a point, no blanks."""
    whole = isinstance(value, float) and value.is_integer()
    text = str(int(value)) if whole else str(value)
    return "_".join(text.split())


def fasta_link(designs: Sequence[Design]) -> str:
    """A data: address that holds the designs as FASTA."""
    text = "".join(design.fasta for design in designs)
    return "data:text/plain;base64," + base64.b64encode(text.encode()).decode("ascii")
