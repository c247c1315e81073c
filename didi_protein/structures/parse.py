"""From the text of a PDB or mmCIF file to chains of residues and the evidence beside the atoms.

Atoms are read here, not by Biopython's parsers: these leave out, with a warning at most, residues
and chains whose name or number was there before, and need items that mmCIF holds optional. What
cannot be read rightly is an error; no atom of an amino acid of the first model is passed over, save
alternates.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from Bio.Data.IUPACData import atom_weights
from Bio.Data.PDBData import protein_letters_3to1_extended
from Bio.PDB.Atom import Atom
from Bio.PDB.Chain import Chain
from Bio.PDB.Model import Model
from Bio.PDB.PDBExceptions import PDBException
from Bio.PDB.Residue import Residue
from jaxtyping import Float
from numpy import ndarray

from didi_core.errors import UserError, as_written
from didi_core.io.text_files import damage_explained, open_text
from didi_protein.structures.cif import ABSENT, cif_items
from didi_protein.structures.evidence import Evidence, cif_evidence, pdb_evidence

CIF_SUFFIXES = (".cif", ".mmcif")
STRUCTURE_SUFFIXES = (".pdb", ".ent", *CIF_SUFFIXES)
LARGEST = 1e6
"""Ångström; coordinates beyond are none. PDB has room for 10,000."""
_FORCE_FIELD_LETTERS = {
    name: letter
    for letter, names in {
        "C": "CYX CYM CYZ CYN CYS2 CYSH CYS1",
        "D": "ASH ASPH ASPP AS4",
        "E": "GLH GLUH GLUP GL4",
        "H": "HIE HID HIP HIN HSD HSE HSP HISA HISB HISD HISE HISH HISP HIS1 HIS2",
        "K": "LYN LSN LYSH LYSN LYP",
        "R": "ARN ARGN",
        "Y": "TYM TYN TYRM",
    }.items()
    for name in names.split()
}
"""Protonation states and bridges as AMBER, CHARMM, GROMACS and Maestro name them."""
_HOMOSERINE = "HSE"
"""A component of the PDB, as HETATM; in ATOM records it is CHARMM's histidine."""
_WATERS = ("HOH", "WAT", "DOD", "H2O", "TIP3", "SOL")


class _AtomSite(NamedTuple):
    """One atom as the file writes it."""

    chain: str
    part: str
    """Which of the molecules called `chain`: TER records before it, or the label_asym_id."""
    number: str
    insertion: str
    residue: str
    name: str
    alternate: str
    """A blank where the atom has one place only, as for `insertion`."""
    xyz: tuple[str, str, str]
    occupancy: str
    b_factor: str
    element: str
    is_hetero: bool
    is_polymer: bool
    """False for a ligand, even where its name is an amino acid's."""


def parse_structure(path: str | os.PathLike[str], name: str = "INPUT") -> tuple[Model, Evidence]:
    """Return the protein chains of a file's first model, and what the file says of itself.

    Of residues with alternates one is kept: that of the highest occupancy, the first in the file
    where several have it. A second molecule of one name becomes `A#2`.

    Raises:
        UserError: the file cannot be read, is no structure, or holds no protein chain.
    """
    suffix = Path(path).name.lower().removesuffix(".gz")
    with open_text(path, name) as stream, damage_explained(as_written(name, path)):
        text = stream.read()
    try:
        if suffix.endswith(CIF_SUFFIXES):
            items = cif_items(text)
            atoms, evidence = list(_cif_atoms(items)), cif_evidence(items)
        else:
            atoms, evidence = _pdb_atoms(text), pdb_evidence(text)
        model = _model(atoms)
    except (ValueError, LookupError, PDBException) as error:
        raise UserError(
            f"{as_written(name, path)} holds no protein chain that can be read rightly: {error}."
        ) from error
    if not any("CA" in residue for chain in model for residue in chain):
        raise UserError(f"{as_written(name, path)} holds no protein chain.")
    return model, replace(evidence, marks=_marks(atoms))


def letter_of(residue: Residue) -> str:
    """Return one letter of an amino acid, of its parent where it is modified; X if unknown."""
    return _letter(residue.get_resname(), is_hetero=residue.id[0] != " ")


def letter_of_name(name: str) -> str:
    """Return the letter of a residue's name as SEQRES states it; X if unknown."""
    return _letter(name, is_hetero=True)


def _letter(name: str, is_hetero: bool) -> str:
    name = name.strip().upper()
    if name in _FORCE_FIELD_LETTERS and not (is_hetero and name == _HOMOSERINE):
        return _FORCE_FIELD_LETTERS[name]
    if len(name) == 4 and name[0] in "NC":  # AMBER's first and last residue: NALA, CHIE
        return _letter(name[1:], is_hetero)
    return protein_letters_3to1_extended.get(name, "X")


def alpha_residues(chain: Chain) -> list[Residue]:
    """Return the residues of a chain that have a C-alpha."""
    return [residue for residue in chain if "CA" in residue]


def alpha_trace(chain: Chain) -> tuple[Float[ndarray, "residues 3"], str]:
    """Return C-alpha coordinates in ångström, and the sequence of the residues that have one."""
    residues = alpha_residues(chain)
    coordinates = [residue["CA"].get_coord() for residue in residues]
    letters = "".join(letter_of(residue) for residue in residues)
    return np.array(coordinates, dtype=np.float64).reshape(-1, 3), letters


def _pdb_atoms(text: str) -> list[_AtomSite]:
    """Return the atoms of the first model of a PDB file.

    What follows the TER of its chain is ligand and water, where it is HETATM alone.
    """
    atoms: list[_AtomSite] = []
    ended = Counter[str]()
    for line in _first_model(text.split("\n")):
        if _is_atom(line):
            atoms.append(_pdb_atom(line.ljust(80), ended))
        elif atoms:
            ended[atoms[-1].chain] += 1
    polymers = {(atom.chain, atom.part) for atom in atoms if atom.is_polymer}
    return [
        atom._replace(is_polymer=True)
        if not atom.is_polymer and (atom.chain, atom.part) in polymers
        else atom
        for atom in atoms
    ]


def _pdb_atom(line: str, ended: Counter[str]) -> _AtomSite:
    residue, chain = _name_and_chain(line)
    is_hetero = line.startswith("HETATM")
    return _AtomSite(
        chain=chain,
        part=str(ended[chain]),
        number=line[22:26].strip(),
        insertion=line[26],
        residue=residue,
        name=line[12:16].strip(),
        alternate=line[16],
        xyz=(line[30:38], line[38:46], line[46:54]),
        occupancy=line[54:60].strip(),
        b_factor=line[60:66].strip(),
        element=line[76:78].strip(),
        is_hetero=is_hetero,
        is_polymer=not (is_hetero and ended[chain]),
    )


def _name_and_chain(line: str) -> tuple[str, str]:
    """Return both; the column between them belongs to a name of four letters, or to the chain."""
    name = line[17:21].strip().upper()
    if line[20] == " " or (len(name) == 4 and _letter(name, is_hetero=False) != "X"):
        return name, line[21]
    return line[17:20].strip().upper(), line[20:22].rstrip()


def _first_model(lines: Sequence[str]) -> Iterator[str]:
    """Yield the ATOM, HETATM and TER lines up to the end of the first model.

    Raises:
        ValueError: other residues stand behind END, which then separates no models.
    """
    residues = set[str]()
    for place, line in enumerate(lines):
        record = line[:6].rstrip()
        if residues and record in ("MODEL", "ENDMDL", "END"):
            if record == "END":
                _check_behind_end(lines[place + 1 :], residues)
            return
        if _is_atom(line):
            residues.add(line[17:27])
            yield line
        elif line[:4].rstrip() == "TER":
            yield line


def _check_behind_end(lines: Sequence[str], residues: set[str]) -> None:
    others = (line[17:27] for line in lines if _is_atom(line) and line[17:27] not in residues)
    other = next(others, None)
    if other is not None and not any(line[:6].rstrip() == "MODEL" for line in lines):
        raise ValueError(f"residue {other.strip()} stands behind END: a file for each is needed")


def _is_atom(line: str) -> bool:
    return line.startswith(("ATOM", "HETATM"))


def _cif_atoms(items: dict[str, list[str]]) -> Iterator[_AtomSite]:
    """Yield the atoms of the first model of an mmCIF file; what is optional may be missing."""
    count = len(items["_atom_site.cartn_x"])

    def column(*names: str, default: str | None = None) -> list[str]:
        """Return the first of these items that has a value, row by row."""
        columns = [items[key] for name in names if (key := f"_atom_site.{name}") in items]
        if not columns and default is None:
            raise ValueError(f"_atom_site.{names[0]} is missing")
        rows = zip(*columns, strict=True) if columns else iter([()] * count)
        return [next((v for v in row if v not in ABSENT), default or "") for row in rows]

    models = column("pdbx_pdb_model_num", default="1")
    places = column("label_seq_id", default="" if "_atom_site.label_seq_id" in items else "1")
    rows = zip(
        column("auth_asym_id", "label_asym_id"),
        column("label_asym_id", default=" "),
        column("auth_seq_id", "label_seq_id"),
        column("pdbx_pdb_ins_code", default=" "),
        column("label_comp_id", "auth_comp_id"),
        column("label_atom_id", "auth_atom_id"),
        column("label_alt_id", default=" "),
        zip(column("cartn_x"), column("cartn_y"), column("cartn_z"), strict=True),
        column("occupancy", default=""),
        column("b_iso_or_equiv", default=""),
        column("type_symbol", default=""),
        column("group_pdb", default="ATOM"),
        strict=True,
    )
    values: list[Any]
    for model, place, (*values, group) in zip(models, places, rows, strict=True):
        if model == models[0]:
            is_hetero = group.upper() == "HETATM"
            values[4] = values[4].upper()
            is_polymer = bool(place) or not is_hetero
            yield _AtomSite(*[*values, is_hetero, is_polymer])


def _model(atoms: Iterable[_AtomSite]) -> Model:
    """Return the protein chains, in the order of the file, whatever their residues' numbers."""
    molecules: dict[tuple[str, str], dict[tuple[str, str], list[_AtomSite]]] = {}
    for atom in atoms:
        if atom.is_polymer:
            sites = molecules.setdefault((atom.chain, atom.part), {})
            sites.setdefault((atom.number, atom.insertion), []).append(atom)
    model, named = Model(0), Counter[str]()
    for (name, _), sites in molecules.items():
        residues = [residue for site in sites.values() if (residue := _residue(site)) is not None]
        if not residues:
            continue
        named[name] += 1
        chain = Chain(name if named[name] == 1 else f"{name}#{named[name]}")
        for residue in residues:
            chain.add(residue)
        model.add(chain)
    return model


def _residue(site: Sequence[_AtomSite]) -> Residue | None:
    """Return the amino acid at one site, one alternate of it; None where there is none.

    Raises:
        ValueError: two residues share the site and are no alternates, or a number is none.
    """
    where = f"residue {site[0].number}{site[0].insertion.strip()} of chain {site[0].chain}"
    by_name: dict[str, list[_AtomSite]] = {}
    for atom in site:
        by_name.setdefault(atom.residue, []).append(atom)
    residues = [atoms for atoms in by_name.values() if _is_amino_acid(atoms)]
    if not residues:
        return None
    if len(residues) > 1 and any(atom.alternate == " " for atoms in residues for atom in atoms):
        names = " and ".join(atoms[0].residue for atoms in residues)
        raise ValueError(f"{where} is {names}, which are no alternates")
    atoms = max((each for atoms in residues for each in _alternates(atoms, where)), key=_rank)
    first = atoms[0]
    flag = f"H_{first.residue}" if first.is_hetero else " "
    residue = Residue((flag, _whole(first.number, where), first.insertion), first.residue, "")
    for atom in atoms:
        residue.add(_atom(atom, where))
    return residue


def _is_amino_acid(atoms: Sequence[_AtomSite]) -> bool:
    """Tell an amino acid by its name, or by its backbone where its name is unknown."""
    first, names = atoms[0], {atom.name for atom in atoms}
    if _letter(first.residue, first.is_hetero) != "X":
        return "CA" in names or not first.is_hetero
    if first.residue == "CA":  # calcium
        return False
    return {"N", "CA", "C"} <= names or (names == {"CA"} and not first.is_hetero)


def _alternates(atoms: Sequence[_AtomSite], where: str) -> Iterator[list[_AtomSite]]:
    """Yield the atoms of each alternate, with those that all alternates share."""
    places = {(atom.name, atom.alternate): atom for atom in atoms}
    if len(places) < len(atoms):
        _refuse_repeated(atoms, where)
    for label in dict.fromkeys(atom.alternate for atom in atoms if atom.alternate != " ") or " ":
        yield [
            atom
            for (name, alternate), atom in places.items()
            if alternate == label or (alternate == " " and (name, label) not in places)
        ]


def _refuse_repeated(atoms: Sequence[_AtomSite], where: str) -> None:
    """Refuse heavy atoms of one name; hydrogens may share one, in files that do not number them."""
    heavy = Counter(
        (atom.name, atom.alternate) for atom in atoms if _element(atom.element, atom.name) != "H"
    )
    for (name, _), times in heavy.items():
        if times > 1:
            raise ValueError(
                f"{where} has {times} atoms {name}: are two residues of one number there, "
                f"or two chains of one name without TER between them?"
            )


def _rank(atoms: Sequence[_AtomSite]) -> tuple[bool, float]:
    """Rank alternates: one with a C-alpha first, then by the occupancy of their own atoms."""
    own = [_occupancy(atom) for atom in atoms if atom.alternate != " "]
    has_alpha = any(atom.name == "CA" for atom in atoms)
    mean = sum(own) / len(own) if own else 1.0
    return has_alpha, mean if math.isfinite(mean) else 0.0


def _atom(atom: _AtomSite, where: str) -> Atom:
    coordinates = [_number(each) for each in atom.xyz]
    if not all(abs(each) < LARGEST for each in coordinates):
        written = " ".join(each.strip() for each in atom.xyz)
        raise ValueError(f"{where}: {written!r} are no coordinates")
    return Atom(
        atom.name,
        np.array(coordinates, dtype=np.float32),
        _number(atom.b_factor),
        _occupancy(atom),
        atom.alternate,
        atom.name,
        0,
        _element(atom.element, atom.name),
    )


def _occupancy(atom: _AtomSite) -> float:
    return _number(atom.occupancy) if atom.occupancy else 1.0


def _number(text: str) -> float:
    """Return the number, without the uncertainty that CIF puts behind it; NaN where it is none."""
    try:
        return math.nan if "_" in text else float(text.partition("(")[0])
    except ValueError:
        return math.nan


def _whole(text: str, where: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise ValueError(f"{where}: {text!r} is no residue number")
    return int(text)


@lru_cache(maxsize=1024)
def _element(stated: str, name: str) -> str:
    """Return the element as stated, else by the atom's name."""
    for element in (stated, name.lstrip("0123456789")[:1]):
        if element.capitalize() in atom_weights:
            return element.upper()
    return "C"


def _marks(atoms: Sequence[_AtomSite]) -> str | None:
    """Return what in the first model a predictor that writes protein alone would not write."""
    if any(atom.is_hetero or atom.residue in _WATERS for atom in atoms):
        return "it has waters, ligands or modified residues"
    if any(atom.alternate != " " for atom in atoms):
        return "it has alternate locations"
    return None
