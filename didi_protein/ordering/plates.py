"""Wells of plates, and the sheets that vendors take."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from didi_core.cli.run import check_output
from didi_core.errors import UserError

PLATES = {96: (8, 12), 384: (16, 24)}
"""Rows and columns of each plate."""
VENDORS = ("any", "idt")
IDT_COLUMNS = ("Well Position", "Name", "Sequence")
"""Of the sheet that IDT's order forms take of one plate."""


@dataclass(frozen=True)
class Well:
    """Where a design stands."""

    plate: int
    """From 1."""
    name: str
    """As in A1 and H12."""


@dataclass(frozen=True)
class Sheet:
    """How designs are put on plates and written for a vendor."""

    wells: int | None
    """Wells of a plate; None without plates."""
    fill: str
    """`rows` (A1, A2, ...) or `columns` (A1, B1, ...)."""
    vendor: str
    """`any` or `idt`."""

    def check(self) -> None:
        """Raise UserError for what is no plate, order or vendor."""
        if self.wells not in (None, *PLATES):
            raise UserError(f"--plate {self.wells}: give {' or '.join(map(str, PLATES))}.")
        if self.fill not in ("rows", "columns"):
            raise UserError(f"--fill {self.fill}: give rows or columns.")
        if self.vendor not in VENDORS:
            raise UserError(f"--vendor {self.vendor}: give {' or '.join(VENDORS)}.")

    def places(self, number: int) -> list[Well | None]:
        """Return a well for each of `number` designs, plate after plate; None without plates."""
        if self.wells is None:
            return [None] * number
        names = list(self._names(*PLATES[self.wells]))
        return [Well(1 + place // len(names), names[place % len(names)]) for place in range(number)]

    def _names(self, num_rows: int, num_columns: int) -> Iterator[str]:
        rows, columns = "ABCDEFGHIJKLMNOP"[:num_rows], range(1, num_columns + 1)
        if self.fill == "rows":
            yield from (f"{row}{column}" for row in rows for column in columns)
        else:
            yield from (f"{row}{column}" for column in columns for row in rows)

    def num_uploads(self, number: int) -> int:
        """Return how many files are uploaded of `number` designs."""
        if self.vendor != "idt" or self.wells is None:
            return 1
        return max(1, -(-number // self.wells))

    def tables(self, orderable: pd.DataFrame) -> list[pd.DataFrame]:
        """Return what is uploaded: one table, or for IDT's plates one a plate.

        Args:
            orderable: rows with `id`, `dna`, `plate` and `well`.
        """
        sheet = pd.DataFrame({"Name": orderable["id"], "Sequence": orderable["dna"]})
        if self.wells is None:
            return [sheet]
        if self.vendor == "any":
            return [sheet.assign(Plate=orderable["plate"], Well=orderable["well"])]
        sheet.insert(0, IDT_COLUMNS[0], orderable["well"])
        return [each for _, each in sheet.groupby(orderable["plate"].astype(int))] or [sheet]


@dataclass(frozen=True)
class OrderFiles:
    """Where one run writes: F.csv and, beside it, F.designs.csv and F.order.json."""

    out: Path

    @property
    def designs(self) -> Path:
        return self.out.with_suffix(".designs.csv")

    @property
    def summary(self) -> Path:
        return self.out.with_suffix(".order.json")

    def upload(self, number: int) -> Path:
        """Return the file of one upload, from 1: F.csv, then F.2.csv and so on."""
        return self.out if number == 1 else self.out.with_suffix(f".{number}.csv")

    def later_plates(self) -> list[Path]:
        """Return what an earlier run wrote of its second plate and those after it."""
        pattern = re.compile(re.escape(self.out.stem) + r"\.[1-9][0-9]*\.csv")
        if not self.out.parent.is_dir():
            return []
        named = (path for path in self.out.parent.iterdir() if pattern.fullmatch(path.name))
        first = f"{','.join(IDT_COLUMNS)}\n".encode()
        return sorted(
            path for path in named if path.is_file() and path.read_bytes().startswith(first)
        )

    def check(self, inputs: Sequence[Path], num_uploads: int, overwrite: bool) -> None:
        """Refuse a name that is no CSV file's, and whatever would be lost.

        Args:
            inputs: files that are read.
            num_uploads: files to upload, at most.

        Raises:
            UserError: see above.
        """
        if self.out.suffix != ".csv":
            raise UserError(f"--out {self.out}: the name must end in .csv.")
        read = {path.resolve() for path in inputs}
        uploads = [self.upload(number) for number in range(1, num_uploads + 1)]
        for path in (*uploads, self.designs, self.summary, *self.later_plates()):
            if path.resolve() in read:
                raise UserError(f"--out {self.out} would replace the input {path}: rename it.")
            if path.is_dir():
                raise UserError(f"--out {self.out}: {path} is a folder; choose another name.")
            check_output(path, overwrite=overwrite)
