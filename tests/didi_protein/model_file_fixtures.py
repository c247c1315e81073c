"""Structure files as each program writes them, made of residues and numbers of our own."""

import gzip
from pathlib import Path

import numpy as np
from Bio.SeqUtils import seq3

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQ"
BACKBONE = ("N", "CA", "C", "O")
ATOM = (
    "{record:<6}{serial:5d}  {name:<3} {residue} {chain}{number:4d}    "
    "{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{b:6.2f}          {element:>2}\n"
)


def walk(length: int, seed: int = 0) -> np.ndarray:
    """C-alpha coordinates [length, 3] of a chain of random turns, 3.8 ångström apart."""
    steps = np.random.default_rng(seed).normal(size=(length, 3))
    return np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)


def constant_plddt(length: int, scale: float = 1.0) -> np.ndarray:
    """One value for all atoms of each residue [length, 4], as AlphaFold and ColabFold write."""
    return np.repeat(scale * np.linspace(41.5, 93.25, length)[:, None], len(BACKBONE), axis=1)


def varied_plddt(length: int, scale: float = 1.0) -> np.ndarray:
    """A value of its own for each atom [length, 4], as ESMFold and AlphaFold 3 write."""
    return constant_plddt(length, scale) - scale * np.array([3.0, 1.0, 2.0, 6.0])


def pdb_atoms(
    b_factors: np.ndarray,
    sequence: str = SEQUENCE,
    chain: str = "A",
    alphas: np.ndarray | None = None,
    first: int = 1,
    occupancy: float = 1.0,
) -> str:
    """ATOM records of the backbone, and TER."""
    alphas = walk(len(sequence)) if alphas is None else alphas
    lines = []
    for place, letter in enumerate(sequence):
        for kind, name in enumerate(BACKBONE):
            x, y, z = alphas[place] + 0.7 * (kind - 1) * np.array([1.0, -0.5, 0.25])
            lines.append(
                ATOM.format(
                    record="ATOM",
                    serial=len(lines) + 1,
                    name=name,
                    residue=seq3(letter).upper(),
                    chain=chain,
                    number=first + place,
                    x=x,
                    y=y,
                    z=z,
                    occupancy=occupancy,
                    b=b_factors[place, kind],
                    element=name[0],
                )
            )
    return "".join(lines) + "TER\n"


CIF_ITEMS = (
    "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id",
    "label_asym_id", "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y",
    "Cartn_z", "occupancy", "B_iso_or_equiv", "auth_seq_id", "auth_asym_id", "pdbx_PDB_model_num",
)  # fmt: skip


def cif_atoms(b_factors: np.ndarray, sequence: str = SEQUENCE, chain: str = "A") -> str:
    """The category `_atom_site` of the same atoms as `pdb_atoms`."""
    alphas, rows = walk(len(sequence)), []
    for place, letter in enumerate(sequence):
        for kind, name in enumerate(BACKBONE):
            x, y, z = alphas[place] + 0.7 * (kind - 1) * np.array([1.0, -0.5, 0.25])
            rows.append(
                f"ATOM {len(rows) + 1} {name[0]} {name} . {seq3(letter).upper()} {chain} 1 "
                f"{place + 1} ? {x:.3f} {y:.3f} {z:.3f} 1.0 {b_factors[place, kind]:.2f} "
                f"{place + 1} {chain} 1"
            )
    items = "".join(f"_atom_site.{item}\n" for item in CIF_ITEMS)
    return "loop_\n" + items + "\n".join(rows) + "\n#\n"


def loop(category: str, *rows: dict[str, str]) -> str:
    """An mmCIF category of several rows."""
    names = "".join(f"_{category}.{name}\n" for name in rows[0])
    return "#\nloop_\n" + names + "".join(" ".join(row.values()) + "\n" for row in rows) + "#\n"


ALPHAFOLD_DB = """HEADER                                            01-JUN-22
TITLE     ALPHAFOLD MONOMER V2.0 PREDICTION FOR A PROTEIN (P00000)
CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1
MODEL        1
"""
ESM_ATLAS = """HEADER                                            18-OCT-22
TITLE     ESMFOLD V1 PREDICTION FOR INPUT
"""
ESMFOLD = "PARENT N/A\n"
"""What OpenFold's writer puts first, in fair-esm and in transformers."""
CRYSTAL = """HEADER    PLANT PROTEIN                           30-APR-81   0XXX
EXPDTA    X-RAY DIFFRACTION
REMARK   2 RESOLUTION.    1.50 ANGSTROMS.
CRYST1   40.960   18.650   22.520  90.00  90.77  90.00 P 1 21 1      2
"""
MODEL_CIF = "data_AF-P00000-F1\n" + loop(
    "ma_qa_metric",
    {"id": "1", "mode": "global", "name": "pLDDT", "type": "pLDDT"},
    {"id": "2", "mode": "local", "name": "pLDDT", "type": "pLDDT"},
)


def write(path: Path, text: str) -> Path:
    """Plain, or gzipped by the name."""
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path
