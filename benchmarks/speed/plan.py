"""What is measured: every cell by its key, and the plans `quick` and `full`.

A key names a cell and its result file, as in set.tiny.ancestral.3x50-500.k8: the kind of cell, the
network's layout, the sampler or method, rows by length, and steps.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One comparison of two or three things timed in alternation."""

    kind: str
    """step: our sampler against its bare network calls; set: against the published loop in its
    plain form; compile: against itself with the network compiled; head: with a joint head against
    without; distill: our training step against its plain form."""
    layout: str
    """A name of `layouts.LAYOUTS`."""
    task: str
    """Of step, set and head: ancestral or dplm; of distill: didi or dmmd."""
    rows: int
    lengths: tuple[int, int]
    """Tokens of a row without framing, spread evenly from the first to the second."""
    steps: int = 0
    """Of sampling; 0 in distillation."""
    repeats: int = 5
    """Timed rounds, after one that warms up."""
    scaling: bool = False
    """Whether the cell is a point of the scaling curves."""

    @property
    def key(self) -> str:
        low, high = self.lengths
        steps = f".k{self.steps}" if self.steps else ""
        return f"{self.kind}.{self.layout}.{self.task}.{self.rows}x{low}-{high}{steps}"


MIXED = (50, 500)
"""Lengths of a set of proteins."""


def quick() -> list[Cell]:
    """Tiny networks: below 5 minutes on one core."""
    sets = [
        Cell("step", "tiny", "ancestral", 3, MIXED, 4, repeats=3),
        Cell("step", "dit-small", "ancestral", 4, (128, 128), 16, repeats=3),
        Cell("set", "tiny", "ancestral", 3, MIXED, 8, repeats=2),
        Cell("set", "tiny", "dplm", 3, MIXED, 8, repeats=2),
        Cell("set", "dit-small", "ancestral", 4, (128, 128), 16, repeats=2),
    ]
    compiled = [
        Cell("compile", "tiny", "ancestral", 3, MIXED, 8, repeats=3),
        Cell("compile", "dit-small", "ancestral", 4, (128, 128), 16, repeats=3),
    ]
    distill = [
        Cell("distill", "esm-small", "didi", 8, (96, 96)),
        Cell("distill", "esm-small", "dmmd", 8, (96, 96)),
        Cell("distill", "tiny", "didi", 16, (30, 160), repeats=3),
        Cell("distill", "tiny", "dmmd", 16, (30, 160), repeats=3),
        Cell("distill", "dit-small", "didi", 8, (128, 128), repeats=3),
        Cell("distill", "dit-small", "dmmd", 8, (128, 128), repeats=3),
    ]
    return _once(
        [*sets, *compiled, *distill, *scaling("esm-small", (1, 4, 12), (32, 128, 256), (8, 128))]
    )


def full() -> list[Cell]:
    """The published sizes: for a GPU."""
    cells = [Cell("step", name, "ancestral", 128, MIXED, 16) for name in ("tiny", "150m", "650m")]
    cells.append(Cell("step", "dit-169m", "ancestral", 8, (1024, 1024), 32))
    for name in ("tiny", "150m", "650m"):
        steps = (16, 64) if name == "650m" else (16, 64, 256)
        cells += [Cell("set", name, "ancestral", 128, MIXED, k, repeats=3) for k in steps]
        cells.append(Cell("set", name, "dplm", 128, MIXED, 64, repeats=3))
    cells += [
        Cell("set", "dit-169m", "ancestral", 8, (1024, 1024), k, repeats=3) for k in (16, 64, 256)
    ]
    cells += [Cell("compile", name, "ancestral", 128, MIXED, 16) for name in ("150m", "650m")]
    cells.append(Cell("compile", "dit-169m", "ancestral", 8, (1024, 1024), 16))
    for method in ("didi", "dmmd"):
        cells.append(Cell("distill", "150m", method, 32, (50, 254)))
        cells += [Cell("distill", "dit-169m", method, n, (1024, 1024)) for n in (4, 8, 16, 32)]
    cells += scaling("150m", (1, 4, 16, 64), (64, 256, 1022), (8, 64, 256, 1024))
    return _once(cells)


def published_on_cpu() -> list[Cell]:
    """Published sizes as far as a core manages them: about half an hour."""
    text = ("dit-169m", "ancestral", 1, (1024, 1024), 16)
    return [
        Cell("step", "150m", "ancestral", 4, (200, 200), 8, repeats=3),
        Cell("set", "150m", "dplm", 4, MIXED, 8, repeats=2),
        Cell("compile", "150m", "ancestral", 4, MIXED, 8, repeats=2),
        Cell("step", *text, repeats=1),
        Cell("set", *text, repeats=1),
    ]


def heads() -> list[Cell]:
    """What a joint head adds to a call, with few and with many tokens drawn in each."""
    return [
        Cell("head", layout, "ancestral", rows, (length, length), steps, repeats=3)
        for layout, rows, length in (("tiny", 16, 76), ("tiny", 16, 200), ("150m", 2, 200))
        for steps in (8, 4, 2, 1)
    ]


PLANS = {"quick": quick, "full": full, "cpu": published_on_cpu, "heads": heads}


CENTRE = {"batch": 4, "length": 128, "steps": 32}
"""Where the scaling curves cross: each varies one of these."""


def scaling(
    layout: str, batches: Iterable[int], lengths: Iterable[int], steps: Iterable[int]
) -> list[Cell]:
    """The cells of the three curves, the centre once."""

    def cell(**varied: int) -> Cell:
        at = CENTRE | varied
        length = (at["length"], at["length"])
        return Cell("set", layout, "ancestral", at["batch"], length, at["steps"], 3, scaling=True)

    cells = [cell(), *(cell(batch=each) for each in batches)]
    cells += [*(cell(length=each) for each in lengths), *(cell(steps=each) for each in steps)]
    return _once(cells)


def curve(cells: Iterable[dict[str, Any]], axis: str) -> list[tuple[int, dict[str, Any]]]:
    """Records of scaling cells that differ along `axis` alone, by their place on it."""
    points = []
    for record in cells:
        each = record["cell"]
        place = {"batch": each["rows"], "length": each["lengths"][1], "steps": each["steps"]}
        others = {name: value for name, value in place.items() if name != axis}
        if each["scaling"] and others.items() <= CENTRE.items():
            points.append((place[axis], record))
    return sorted(points, key=lambda point: point[0])


def _once(cells: Iterable[Cell]) -> list[Cell]:
    """Every key once."""
    return list({cell.key: cell for cell in cells}.values())
