"""Structures: a sequence is the residues whose C-alpha the pLDDT averages, whatever their numbers.

Files are made by writers of this page from random chains, and read by a plain parse of this page:
both formats must give the same sequences and means, or be refused with a reason.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import CASES, write
from hypothesis import given
from hypothesis import strategies as st

from didi_core.errors import UserError
from didi_protein.structures.read import read_structure

LETTERS = {
    "ALA": "A", "ARG": "R", "ASN": "N", "ASP": "D", "CYS": "C", "GLN": "Q", "GLU": "E",
    "GLY": "G", "HIS": "H", "ILE": "I", "LEU": "L", "LYS": "K", "MET": "M", "PHE": "F",
    "PRO": "P", "SER": "S", "THR": "T", "TRP": "W", "TYR": "Y", "VAL": "V",
    "HIE": "H", "HID": "H", "HIP": "H", "HSD": "H", "HSE": "H", "HSP": "H", "HISE": "H",
    "CYX": "C", "CYM": "C", "ASH": "D", "GLH": "E", "LYN": "K", "NALA": "A", "CHIE": "H",
    "MSE": "M", "SEP": "S", "QQQ": "X",
}  # fmt: skip
HETERO = ("MSE", "SEP", "QQQ")
OPTIONAL = {
    "group_PDB", "type_symbol", "label_alt_id", "label_entity_id", "pdbx_PDB_ins_code",
    "occupancy", "auth_seq_id", "pdbx_PDB_model_num", "id",
}  # fmt: skip
QA_METRIC = "_ma_qa_metric.id 1\n_ma_qa_metric.mode local\n_ma_qa_metric.name pLDDT\n"


@dataclass(frozen=True)
class Atom:
    residue: str
    number: int
    insertion: str
    name: str
    xyz: tuple[float, float, float]
    b: str
    alternate: str = " "
    occupancy: float = 1.0
    hetero: bool = False


@dataclass(frozen=True)
class Molecule:
    chain: str
    atoms: list[Atom]
    missing: list[int]
    """X expected before each residue."""


@st.composite
def molecules(draw: Any) -> list[Molecule]:
    """A few chains, of which some share a name."""
    return [draw(molecule(k)) for k in range(draw(st.integers(1, 3)))]


@st.composite
def molecule(draw: Any, place: int) -> Molecule:
    count = draw(st.integers(1, 9))
    numbers, missing = draw(numbering(count))
    atoms, alpha = [], np.array([100.0 * place, 0.0, 0.0])
    for k in range(count):
        turn = np.array([(3.8, 0, 0), (0, 3.8, 0), (0, 0, 3.8)][draw(st.integers(0, 2))])
        alpha = alpha + turn + (30.0 if missing[k] else 0.0)
        atoms += draw(site(*numbers[k], alpha, k))
    return Molecule(draw(st.sampled_from("AB")), atoms, missing)


@st.composite
def numbering(draw: Any, count: int) -> tuple[list[tuple[int, str]], list[int]]:
    """Number and insertion code of each residue, and how many are missing before it."""
    style = draw(st.sampled_from(("up", "down", "shuffled", "inserted", "gaps", "falls")))
    first = draw(st.integers(-5, 200))
    steps = [draw(st.integers(2, 12)) for _ in range(count)]
    steps[0] = 0
    if style == "gaps":
        cut = [k > 0 and draw(st.booleans()) for k in range(count)]
        rises = [s if c else min(k, 1) for k, (s, c) in enumerate(zip(steps, cut, strict=True))]
        numbers = first + np.cumsum(rises)
        missing = [s - 1 if c else 0 for s, c in zip(steps, cut, strict=True)]
        return [(int(n), " ") for n in numbers], missing
    if style == "falls":
        return [(first - int(n), " ") for n in np.cumsum(steps)], [min(k, 1) for k in range(count)]
    if style == "inserted":
        return [(first, " ABCDEFGH"[k]) for k in range(count)], [0] * count
    numbers = [first + k for k in range(count)]
    if style == "down":
        numbers.reverse()
    if style == "shuffled":
        numbers = draw(st.permutations([first + int(n) for n in np.cumsum(steps)]))
    return [(n, " ") for n in numbers], [0] * count


@st.composite
def site(draw: Any, number: int, insertion: str, alpha: Any, place: int) -> list[Atom]:
    """The atoms of one residue, or of two that are alternates."""
    # Behind the TER of another molecule of its name, HETATM alone is a ligand.
    known = [name for name in LETTERS if place or name not in HETERO]
    names = draw(st.lists(st.sampled_from(known), min_size=1, max_size=2, unique=True))
    two = len(names) == 2 and draw(st.booleans())
    share = draw(st.sampled_from((0.3, 0.5, 0.7)))
    atoms = []
    for k, residue in enumerate(names if two else names[:1]):
        b = 30 + 5 * place + draw(st.integers(0, 400)) / 100 + 2 * k
        for shift, name in enumerate(("N", "CA", "C", "O", "H")):
            xyz = tuple(float(v) for v in alpha + 0.5 * (shift - 1) + 0.25 * k)
            atoms.append(
                Atom(
                    residue, number, insertion, name, xyz, f"{b + shift / 10:.2f}",
                    "AB"[k] if two else " ", (share, 1 - share)[k] if two else 1.0,
                    residue in HETERO,
                )
            )  # fmt: skip
    return atoms


def pdb_text(chains: list[Molecule]) -> str:
    lines = ["PARENT N/A"]
    for chain in chains:
        lines += [pdb_line(atom, chain.chain) for atom in chain.atoms]
        lines.append("TER")
    lines += [pdb_line(atom, chain.chain) for chain in chains for atom in beside(chain)]
    return "\n".join([*lines, "END", ""])


def pdb_line(atom: Atom, chain: str) -> str:
    x, y, z = atom.xyz
    record = "HETATM" if atom.hetero else "ATOM"
    return (
        f"{record:<6}{1:5d}  {atom.name:<3}{atom.alternate}{atom.residue:<4}{chain}"
        f"{atom.number:4d}{atom.insertion}   {x:8.3f}{y:8.3f}{z:8.3f}{atom.occupancy:6.2f}"
        f"{atom.b:>6}          {atom.name[0]:>2}"
    )


def beside(chain: Molecule) -> list[Atom]:
    """A water, an ion, and an amino acid that is a ligand, of the chain's own numbers."""
    first = replace(chain.atoms[0], alternate=" ", occupancy=1.0, hetero=True)
    glutamate = [replace(first, residue="GLU", name=name) for name in ("N", "CA", "C")]
    return [replace(first, residue="HOH", name="O"), replace(first, residue="CA"), *glutamate]


def cif_text(chains: list[Molecule], left_out: frozenset[str], upper: bool) -> str:
    rows = []
    for part, chain in zip("PQR", chains, strict=False):
        rows += [cif_row(atom, chain.chain, part, str(atom.number)) for atom in chain.atoms]
    for part, chain in zip("STU", chains, strict=False):
        rows += [cif_row(atom, chain.chain, part, ".") for atom in beside(chain)]
    items = [item for item in rows[0] if item not in left_out]
    names = "".join(f"_atom_site.{item}\n" for item in items)
    loop = "loop_\n" + names + "".join(" ".join(row[i] for i in items) + "\n" for row in rows)
    text = f"data_x\n{QA_METRIC}{loop}loop_\n_atom_type.symbol\nC\nN\n"
    if upper:
        for word in ("data_", "loop_", "_atom_site.", "_ma_qa_metric."):
            text = text.replace(word, word.upper())
    return text


def cif_row(atom: Atom, chain: str, part: str, place: str) -> dict[str, str]:
    x, y, z = (f"{value:.3f}" for value in atom.xyz)
    return {
        "group_PDB": "HETATM" if atom.hetero else "ATOM", "id": "1",
        "type_symbol": atom.name[0], "label_atom_id": atom.name,
        "label_alt_id": atom.alternate.replace(" ", "."), "label_comp_id": atom.residue,
        "label_asym_id": part, "label_entity_id": "1", "label_seq_id": place,
        "pdbx_PDB_ins_code": atom.insertion.replace(" ", "?"), "Cartn_x": x, "Cartn_y": y,
        "Cartn_z": z, "occupancy": f"{atom.occupancy:.2f}", "B_iso_or_equiv": atom.b,
        "auth_seq_id": str(atom.number), "auth_asym_id": chain, "pdbx_PDB_model_num": "1",
    }  # fmt: skip


def plain_parse(text: str) -> list[list[tuple[str, float]]]:
    """Letter and B-factor of the C-alpha of every residue, by molecule: of alternates the first
    of the highest occupancy."""
    found: list[dict[str, tuple[float, str, float]]] = [{}]
    for line in text.splitlines():
        if line.startswith("TER"):
            found.append({})
        elif line[12:16] == " CA " and line[17:20].strip() != "CA":
            new = (float(line[54:60]), LETTERS[line[17:21].strip()], float(line[60:66]))
            old = found[-1].setdefault(line[22:27], new)
            found[-1][line[22:27]] = new if new[0] > old[0] else old
    return [[each[1:] for each in sites.values()] for sites in found[:-1]]


def expected(chains: list[Molecule]) -> list[tuple[str, str, float | None]]:
    """Chain, sequence and mean pLDDT, which a chain with residues missing has not."""
    names, result = [], []
    for chain, residues in zip(chains, plain_parse(pdb_text(chains)), strict=True):
        names.append(chain.chain)
        times = names.count(chain.chain)
        letters = [
            "X" * gap + letter for gap, (letter, _) in zip(chain.missing, residues, strict=True)
        ]
        mean = None if any(chain.missing) else float(np.mean([b for _, b in residues]))
        result.append(
            (chain.chain if times == 1 else f"{chain.chain}#{times}", "".join(letters), mean)
        )
    return result


def read(path: Path) -> list[tuple[str, str, float | None]]:
    return [
        (chain.columns["pdb_chain"], chain.sequence, chain.columns.get("mean_plddt"))
        for chain in read_structure(path)
    ]


def same(found: list[Any], wanted: list[Any]) -> bool:
    return [each[:2] for each in found] == [each[:2] for each in wanted] and all(
        a[2] == (None if b[2] is None else pytest.approx(b[2], abs=1e-6))
        for a, b in zip(found, wanted, strict=True)
    )


def alternates_are_there(chains: list[Molecule]) -> bool:
    return any(atom.alternate != " " for chain in chains for atom in chain.atoms)


@CASES
@given(
    chains=molecules(),
    line_end=st.sampled_from(("\n", "\r\n")),
    models=st.sampled_from(("{}", "MODEL        1\n{}ENDMDL\n", "{}MODEL        2\n{}")),
    left_out=st.frozensets(st.sampled_from(sorted(OPTIONAL))),
    upper=st.booleans(),
)
def test_sequence_and_plddt_are_of_the_same_residues(
    tmp_path: Path,
    chains: list[Molecule],
    line_end: str,
    models: str,
    left_out: frozenset[str],
    upper: bool,
) -> None:
    wanted = expected(chains)
    text = models.replace("{}", pdb_text(chains)).replace("\n", line_end)
    assert same(read(write(tmp_path, "a.pdb", text)), wanted)
    # Items that the file needs to be read rightly stay in it.
    if alternates_are_there(chains):
        left_out -= {"label_alt_id", "occupancy"}
    left_out -= {"group_PDB", "pdbx_PDB_ins_code"}
    cif = cif_text(chains, left_out - {"auth_seq_id"}, upper).replace("\n", line_end)
    assert same(read(write(tmp_path, "a.cif", cif)), wanted)


@CASES
@given(chains=molecules(), place=st.integers(0, 100))
def test_two_residues_of_one_number_are_refused(
    tmp_path: Path, chains: list[Molecule], place: int
) -> None:
    chain = chains[place % len(chains)]
    repeated = [atom for atom in chain.atoms if atom.number == chain.atoms[0].number]
    chains[place % len(chains)] = replace(chain, atoms=[*chain.atoms, *repeated])
    for name, text in (
        ("a.pdb", pdb_text(chains)),
        ("a.cif", cif_text(chains, frozenset(), False)),
    ):
        with pytest.raises(UserError, match=f"residue {repeated[0].number}"):
            read_structure(write(tmp_path, name, text))


@CASES
@given(
    chains=molecules(),
    value=st.sampled_from(("nan", "inf", "-inf", "1e999", "", "****", "x", "1_0")),
    place=st.integers(0, 1000),
)
def test_b_factors_that_are_no_numbers_give_no_plddt(
    tmp_path: Path, recwarn: Any, chains: list[Molecule], value: str, place: int
) -> None:
    atoms = chains[0].atoms
    place %= len(atoms)
    place -= place % 5  # of the first residue's own atoms: an alternate that is kept, or dropped
    alternates = atoms[place].alternate
    if alternates != " ":
        return
    sequences = [each[1] for each in expected(chains)]
    atoms[place] = replace(atoms[place], b=value)
    cif = cif_text(chains, frozenset(), False).replace("  ", " ? ")
    for name, text in (("a.pdb", pdb_text(chains)), ("a.cif", cif)):
        found = read_structure(write(tmp_path, name, text))
        assert [chain.sequence for chain in found] == sequences
        for chain in found:
            assert "mean_plddt" not in chain.columns
            assert "finite numbers" in chain.columns["plddt_source"]
    assert not recwarn.list
