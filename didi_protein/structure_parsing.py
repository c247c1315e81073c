"""From the text of a PDB or mmCIF file to Biopython's model and the evidence beside the atoms."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
from Bio import BiopythonWarning
from Bio.Data.PDBData import protein_letters_3to1_extended
from Bio.PDB import FastMMCIFParser, PDBParser
from Bio.PDB.Chain import Chain
from Bio.PDB.MMCIF2Dict import MMCIF2Dict
from Bio.PDB.Model import Model
from Bio.PDB.Residue import Residue
from jaxtyping import Float
from numpy import ndarray

from didi_core.errors import UserError
from didi_core.text_files import damage_explained
from didi_protein.structure_evidence import Evidence, cif_evidence, pdb_evidence
from didi_protein.text_input import open_text

CIF_SUFFIXES = (".cif", ".mmcif")
STRUCTURE_SUFFIXES = (".pdb", ".ent", *CIF_SUFFIXES)


def parse_structure(path: str | os.PathLike[str], name: str = "INPUT") -> tuple[Model, Evidence]:
    """The first model of a file, plain or gzipped, and what the file says of itself.

    Raises:
        UserError: the file cannot be read, is no structure, or holds no protein chain.
    """
    suffix = Path(path).name.lower().removesuffix(".gz")
    with open_text(path, name) as stream, damage_explained(f"{name} {path}"):
        text = stream.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BiopythonWarning)
        try:
            model, evidence = (_parse_cif if suffix.endswith(CIF_SUFFIXES) else _parse_pdb)(text)
        except Exception as error:  # Biopython lets through whatever a damaged file leads to
            raise UserError(
                f"{name} {path} holds no protein chain that can be read ({error!r})."
            ) from error
    if not any(protein_residues(chain) for chain in model):
        raise UserError(f"{name} {path} holds no protein chain.")
    return model, evidence


def _parse_pdb(text: str) -> tuple[Model, Evidence]:
    structure = PDBParser(QUIET=True).get_structure("file", io.StringIO(text))
    return structure[0], pdb_evidence(text)


def _parse_cif(text: str) -> tuple[Model, Evidence]:
    structure = FastMMCIFParser(QUIET=True).get_structure("file", io.StringIO(text))
    return structure[0], cif_evidence(MMCIF2Dict(io.StringIO(text)))


def letter_of(residue: Residue) -> str:
    """One letter of an amino acid, that of the parent for a modified one; X for anything else."""
    return protein_letters_3to1_extended.get(residue.get_resname().strip().upper(), "X")


def protein_residues(chain: Chain) -> list[Residue]:
    """The residues of a chain that are amino acids: no water, ligand or nucleotide."""
    return [residue for residue in chain.get_unpacked_list() if letter_of(residue) != "X"]


def alpha_trace(chain: Chain) -> tuple[Float[ndarray, "residues 3"], str]:
    """C-alpha coordinates in ångström, and the sequence of the residues that have one."""
    residues = [residue for residue in protein_residues(chain) if "CA" in residue]
    coordinates = [residue["CA"].get_coord() for residue in residues]
    letters = "".join(letter_of(residue) for residue in residues)
    return np.array(coordinates, dtype=np.float64).reshape(-1, 3), letters
