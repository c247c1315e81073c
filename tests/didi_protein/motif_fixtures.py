"""A structure to cut motifs from, as PDB and as mmCIF."""

from pathlib import Path

import numpy as np
from structure_fixtures import helix_bundle

_A = ("55 SER", "56 HIS", "57 ASP", "58 GLY", "58A TRP", "59 LYS")
_A_GOES_ON = ("64 LEU", "65 MSE", "66 ALA", "67 GLU", "68 SEP")
"""60 to 63 are not resolved."""
RESIDUES = [
    (chain, *residue.split())
    for chain, residues in (
        ("A", (*_A, *_A_GOES_ON)),
        ("H", ("-1 CYS", "0 TYR")),
        ("1", ("5 VAL",)),
    )
    for residue in residues
]
"""Chain, number with insertion code, and name of each residue."""
_ATOM = (
    "{record:6}{serial:5}  CA  {name} {chain}{number:>4}{insertion:1}   {x:8.3f}{y:8.3f}{z:8.3f}"
)
_MODIFIED = ("MSE", "SEP")


def coordinates() -> np.ndarray:
    """C-alpha coordinates [residues, 3] in ångström; 60 to 63 have places that no residue has."""
    whole = helix_bundle(len(RESIDUES) + 4)
    return np.delete(whole, range(6, 10), axis=0)


def _split(number: str) -> tuple[str, str]:
    return (number[:-1], number[-1]) if number[-1].isalpha() else (number, "")


def motif_pdb(path: Path) -> Path:
    """Write the structure as PDB."""
    lines = []
    for serial, ((chain, number, name), (x, y, z)) in enumerate(
        zip(RESIDUES, coordinates(), strict=True), 1
    ):
        digits, insertion = _split(number)
        record = "HETATM" if name in _MODIFIED else "ATOM"
        atom = _ATOM.format(
            record=record, serial=serial, name=name, chain=chain, number=digits,
            insertion=insertion, x=x, y=y, z=z,
        )  # fmt: skip
        lines.append(f"{atom}  1.00 20.00           C")
    path.write_text("\n".join([*lines, "END", ""]))
    return path


def motif_cif(path: Path) -> Path:
    """Write it as mmCIF: the author's chains and numbers, and others of the file's own."""
    items = (
        "group_PDB", "label_atom_id", "label_comp_id", "label_asym_id", "label_seq_id",
        "auth_asym_id", "auth_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z",
    )  # fmt: skip
    own = {"A": "X", "H": "Y", "1": "Z"}
    rows = []
    for serial, ((chain, number, name), (x, y, z)) in enumerate(
        zip(RESIDUES, coordinates(), strict=True), 1
    ):
        digits, insertion = _split(number)
        group = "HETATM" if name in _MODIFIED else "ATOM"
        rows.append(
            f"{group} CA {name} {own[chain]} {serial} {chain} {digits} {insertion or '?'} "
            f"{x:.3f} {y:.3f} {z:.3f}"
        )
    text = "data_x\nloop_\n" + "".join(f"_atom_site.{item}\n" for item in items)
    path.write_text(text + "\n".join(rows) + "\n#\n")
    return path
