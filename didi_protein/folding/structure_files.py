"""Files of a prediction: the structure as PDB, and the confidence of each residue as CSV."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers.models.esm.openfold_utils import OFProtein, to_pdb

from didi_core.io.files import path_from, write_text
from didi_protein.folding.confidence import Fold

PER_RESIDUE_COLUMNS = ("position", "residue", "plddt", "plddt_all_atom", "pae")


@dataclass(frozen=True)
class FoldFiles:
    """Where the files of each record go."""

    names: Mapping[str, str]
    """File name of each id, without suffix."""
    table_folder: Path
    """Of the score table: `pdb_file` is relative to it, so that they can move together."""
    pdb_dir: Path | None = None
    per_residue: Path | None = None

    def paths(self, record_id: str) -> list[Path]:
        """List all files that a folded record has."""
        return [path for path in (self.pdb_path(record_id), self.csv_path(record_id)) if path]

    def pdb_path(self, record_id: str) -> Path | None:
        """Return the path of the structure; None where none is asked for."""
        return None if self.pdb_dir is None else self.pdb_dir / f"{self.names[record_id]}.pdb"

    def csv_path(self, record_id: str) -> Path | None:
        """Return the path of the values by residue; None where they are not asked for."""
        if self.per_residue is None:
            return None
        return self.per_residue / f"{self.names[record_id]}.csv"

    def pdb_file(self, record_id: str) -> str | None:
        """Return what the column `pdb_file` says: the path from the table's folder."""
        path = self.pdb_path(record_id)
        return None if path is None else path_from(self.table_folder, path)

    def write(self, record_id: str, sequence: str, fold: Fold, model: str) -> None:
        """Write what is asked for; each file appears whole."""
        pdb, csv = self.pdb_path(record_id), self.csv_path(record_id)
        if pdb is not None:
            write_text(pdb, pdb_text(fold, record_id, model))
        if csv is not None:
            write_text(csv, per_residue_text(sequence, fold))


def pdb_text(fold: Fold, record_id: str, model: str) -> str:
    """Write a PDB file with the pLDDT of each atom, 0 to 100, in the B-factor column."""
    protein = OFProtein(
        aatype=fold.residues.numpy(),
        atom_positions=fold.atoms.numpy(),
        atom_mask=fold.atom_exists.numpy(),
        residue_index=np.arange(1, len(fold.residues) + 1),
        b_factors=fold.atom_plddt.numpy(),
    )
    # PARENT is a record of CASP submissions, not of the PDB format.
    atoms = [line for line in to_pdb(protein).splitlines() if not line.startswith("PARENT")]
    remarks = (
        f"{_plain(record_id)}, predicted by {_plain(model)}",
        "B-factor: pLDDT of the atom, 0 to 100",
        f"mean pLDDT {fold.mean_plddt:.2f} over alpha carbons, pTM {fold.ptm:.4f}, mean PAE "
        f"{fold.mean_pae:.2f}",
    )
    header = [f"REMARK 999 {remark}"[:80] for remark in remarks]
    return "\n".join([*header, *atoms]) + "\n"


def _plain(text: str) -> str:
    """Keep printable ASCII, as the PDB format asks."""
    return "".join(each if " " <= each <= "~" else "?" for each in text)


def per_residue_text(sequence: str, fold: Fold) -> str:
    """Write one line a residue, positions from 1."""
    columns: Sequence[Sequence[float]] = (
        fold.plddt.tolist(),
        fold.residue_plddt.tolist(),
        fold.residue_pae.tolist(),
    )
    lines = [",".join(PER_RESIDUE_COLUMNS)]
    for position, (residue, *values) in enumerate(zip(sequence, *columns, strict=True), start=1):
        lines.append(f"{position},{residue}," + ",".join(f"{value:.4f}" for value in values))
    return "\n".join(lines) + "\n"


# File names made from ids: safe anywhere, and different for different ids.
#
# An id may hold slashes, blanks, `..` or hundreds of letters, and two ids may differ by case alone,
# which many file systems do not tell apart.

MAX_LENGTH = 100
"""Of a name without its suffix; file systems take 255 bytes with it."""


_UNSAFE = re.compile(r"[^A-Za-z0-9._+=@#-]+")


_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""


_DIGITS = 10


def safe_names(ids: Iterable[str]) -> dict[str, str]:
    """Make a name, without suffix, for each id; names differ also where case is not told apart.

    An id that is safe is its own name. Any other gets its safe letters and a digest of the whole
    id. Which ids come later never changes the name of an earlier one.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for each in dict.fromkeys(ids):
        name = _safe_name(each)
        tries = 0
        while name.casefold() in taken:
            name = _with_digest(name, each, tries)
            tries += 1
        taken.add(name.casefold())
        names[each] = name
    return names


def _safe_name(record_id: str) -> str:
    plain = unicodedata.normalize("NFKD", record_id).encode("ascii", "ignore").decode()
    name = _UNSAFE.sub("_", plain).strip("._-")
    safe = name and name == record_id and len(name) <= MAX_LENGTH and not _RESERVED.fullmatch(name)
    return name if safe else _with_digest(name, record_id)


def _with_digest(name: str, record_id: str, tries: int = 0) -> str:
    content = record_id.encode("utf-8", "surrogatepass") + b"\0" * tries
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    stem = name[: MAX_LENGTH - _DIGITS - 1].rstrip("._-") or "id"
    # In front of the first dot Windows still sees a device.
    return f"{stem.replace('.', '_') if _RESERVED.fullmatch(stem) else stem}-{digest}"
