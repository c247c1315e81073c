"""Structures as input: which B-factors are pLDDT, on which scale, and which are refused and why."""

import json
import os
import re

import numpy as np
import pytest
from Bio.SeqUtils import seq3
from model_file_fixtures import (
    ALPHAFOLD_DB,
    CRYSTAL,
    ESM_ATLAS,
    ESMFOLD,
    MODEL_CIF,
    SEQUENCE,
    cif_atoms,
    constant_plddt,
    loop,
    pdb_atoms,
    varied_plddt,
    walk,
    write,
)

from didi_protein.reporting.structures import read_backbone
from didi_protein.sequences.fasta import read_records
from didi_protein.sequences.training_data import read_training_sequences
from didi_protein.structures.read import (
    file_of_cell,
    fill_gaps,
    name_of_file,
    point_from,
    read_structure,
    say_without_plddt,
)

N = len(SEQUENCE)
CONSTANT, VARIED = constant_plddt(N), varied_plddt(N)
OURS = """REMARK   1 rosetta_1, predicted by a folder of my own
REMARK   1 B-factor: pLDDT of the atom, 0 to 100
"""
FRACTIONS = np.round(VARIED / 100, 2)


def read_one(path):
    (chain,) = read_structure(path)
    return chain


def end_of(name):
    """The last line of a PDB file; mmCIF has none."""
    return "" if ".cif" in name else "END\n"


@pytest.mark.parametrize(
    ("name", "text", "b_factors", "scale"),
    [
        ("AF-P00000-F1-model_v4.pdb", ALPHAFOLD_DB + pdb_atoms(CONSTANT), CONSTANT, 1),
        ("AF-P00000-F1-model_v4.cif.gz", MODEL_CIF + cif_atoms(CONSTANT), CONSTANT, 1),
        ("x_unrelaxed_rank_001.pdb", pdb_atoms(CONSTANT), CONSTANT, 1),
        ("x_unrelaxed_model_1.cif", "data_x\n" + cif_atoms(CONSTANT), CONSTANT, 1),
        ("fair_esm.pdb", ESMFOLD + pdb_atoms(VARIED), VARIED, 1),
        ("transformers.pdb.gz", ESMFOLD + pdb_atoms(FRACTIONS), FRACTIONS, 100),
        ("atlas.pdb", ESM_ATLAS + pdb_atoms(FRACTIONS), FRACTIONS, 100),
        ("ours.pdb", OURS + pdb_atoms(VARIED), VARIED, 1),
        ("title.pdb", ALPHAFOLD_DB + "REMARK   1 MODELLER" + "\n" + pdb_atoms(VARIED), VARIED, 1),
        ("alphafold3.cif", MODEL_CIF + cif_atoms(VARIED), VARIED, 1),
        ("fractions.cif", MODEL_CIF + cif_atoms(FRACTIONS), FRACTIONS, 100),
    ],
)
def test_models_of_each_program_give_plddt(tmp_path, name, text, b_factors, scale):
    path = write(tmp_path / name, text + end_of(name))
    chain = read_one(path)
    assert chain.sequence == SEQUENCE
    written = np.round(b_factors, 2) * scale
    assert chain.columns["mean_plddt"] == pytest.approx(written[:, 1].mean(), abs=1e-6)
    assert chain.columns["mean_plddt_all_atom"] == pytest.approx(written.mean(), abs=1e-6)
    assert chain.columns["plddt_source"].startswith("B-factors (")
    assert (scale == 100) == ("0 to 1, times 100" in chain.columns["plddt_source"])
    assert chain.columns["pdb_file"] == str(path)
    assert chain.columns["pdb_chain"] == "A"


REFINED = pdb_atoms(VARIED)
QMEAN = "data_x\n" + loop(
    "ma_qa_metric",
    {"id": "1", "mode": "global", "name": "QMEANDisCo", "type": "other"},
    {"id": "2", "mode": "local", "name": "QMEANDisCo", "type": "other"},
)
CRYO = "data_x\n_exptl.entry_id x\n_exptl.method 'ELECTRON MICROSCOPY'\n"
ANISOU = "ANISOU    1  N   MET A   1     2406   1892   1614    198    519   -328       N\n"
SWISS = "TITLE     SWISS-MODEL SERVER (MODEL)\n"
WATER = "HETATM  999  O   HOH A 999       0.000   0.000   0.000  1.00 30.00           O\n"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("crystal.pdb", CRYSTAL + REFINED, "EXPDTA X-RAY DIFFRACTION"),
        ("nmr.pdb", "EXPDTA    SOLUTION NMR\n" + pdb_atoms(CONSTANT), "EXPDTA SOLUTION NMR"),
        ("solved_with.pdb", CRYSTAL + ALPHAFOLD_DB[51:] + REFINED, "experimental structure"),
        ("cell.pdb", CRYSTAL[-71:] + pdb_atoms(CONSTANT), "CRYST1 gives a unit cell"),
        ("remark.pdb", CRYSTAL.splitlines()[2] + "\n" + pdb_atoms(CONSTANT), "a resolution"),
        ("anisou.pdb", pdb_atoms(CONSTANT).replace("\n", "\n" + ANISOU, 1), "ANISOU"),
        ("cryo.cif", CRYO + cif_atoms(CONSTANT), "_exptl.method ELECTRON MICROSCOPY"),
        ("refined.cif", "data_x\n_refine.ls_R_factor_obs 0.19\n" + cif_atoms(CONSTANT), "_refine"),
        ("stripped.pdb", REFINED, "differ within residues"),
        ("stripped.cif", "data_x\n" + cif_atoms(VARIED), "differ within residues"),
        ("water.pdb", pdb_atoms(CONSTANT) + WATER, "waters, ligands"),
        ("partial.pdb", pdb_atoms(CONSTANT, occupancy=0.5), "occupancies other than 1"),
        ("gap.pdb", pdb_atoms(CONSTANT[:9], SEQUENCE[:9])[:-4]
         + pdb_atoms(CONSTANT[12:], SEQUENCE[12:], first=13), "gaps"),
        ("swiss.pdb", SWISS + pdb_atoms(CONSTANT), "SWISS-MODEL"),
        ("swiss_af.pdb", SWISS + "REMARK   3 TEMPLATE ALPHAFOLD DB\n" + REFINED, "SWISS-MODEL"),
        ("qmean.cif", QMEAN + cif_atoms(CONSTANT), "_ma_qa_metric is QMEANDisCo"),
        ("casp.pdb", "PFRMAT TS\nPARENT N/A\n" + REFINED, "nothing in the file says pLDDT"),
        ("backbone.pdb", pdb_atoms(np.zeros((N, 4))), "all B-factors are 0"),
        ("constant.pdb", ESMFOLD + pdb_atoms(np.full((N, 4), 100.0)), "all B-factors are 100"),
        ("mask.pdb", pdb_atoms((CONSTANT > 70).astype(float)), "0 or 1"),
        ("wide.pdb", ESMFOLD + pdb_atoms(1.5 * CONSTANT), "pLDDT is 0 to 100"),
        ("negative.pdb", ESMFOLD + pdb_atoms(CONSTANT - 60), "pLDDT is 0 to 100"),
        ("errors.pdb", pdb_atoms(CONSTANT / 10), "errors in ångström"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_with_the_reason(tmp_path, name, text, reason):
    chain = read_one(write(tmp_path / name, text + end_of(name)))
    assert "mean_plddt" not in chain.columns
    assert "mean_plddt_all_atom" not in chain.columns
    assert chain.columns["plddt_source"].startswith("none: ")
    assert reason in chain.columns["plddt_source"]
    assert chain.sequence.replace("X", "") in (SEQUENCE, SEQUENCE[:9] + SEQUENCE[12:])


def test_hydrogens_of_a_relaxed_model_do_not_count(tmp_path):
    hydrogen = "ATOM    999  H   MET A   1       0.000   0.000   0.000  1.00 41.50           H\n"
    plain = write(tmp_path / "plain.pdb", ALPHAFOLD_DB + pdb_atoms(CONSTANT))
    relaxed = write(tmp_path / "relaxed.pdb", ALPHAFOLD_DB + hydrogen + pdb_atoms(CONSTANT))
    assert read_one(relaxed).columns["mean_plddt_all_atom"] == pytest.approx(
        read_one(plain).columns["mean_plddt_all_atom"]
    )


def test_one_record_a_chain_and_unique_ids(tmp_path):
    two = pdb_atoms(CONSTANT) + pdb_atoms(CONSTANT - 20, chain="B", alphas=walk(N, 1))
    write(tmp_path / "m.pdb", ALPHAFOLD_DB + two)
    write(tmp_path / "m.cif", MODEL_CIF + cif_atoms(CONSTANT))
    write(tmp_path / "m_A.pdb", ALPHAFOLD_DB + pdb_atoms(CONSTANT))
    records = read_records([tmp_path])
    assert [record.id for record in records] == ["m", "m_A", "m_B", "m_A#2"]
    assert [record.columns["pdb_chain"] for record in records] == ["A", "A", "B", "A"]
    means = [record.columns["mean_plddt"] for record in records]
    assert means[1] - means[2] == pytest.approx(20)


def test_residues_that_were_not_resolved_come_from_seqres(tmp_path):
    full = "GS" + SEQUENCE
    names = [seq3(letter).upper() for letter in full]
    seqres = "".join(
        f"SEQRES {row + 1:3d} A {len(full):4d}  {' '.join(names[13 * row : 13 * row + 13])}\n"
        for row in range(2)
    )
    atoms = pdb_atoms(VARIED[:9], SEQUENCE[:9])[:-4] + pdb_atoms(
        VARIED[12:], SEQUENCE[12:], first=13
    )
    with_gap = SEQUENCE[:9] + "XXX" + SEQUENCE[12:]
    assert read_one(write(tmp_path / "bare.pdb", CRYSTAL + atoms)).sequence == with_gap
    stated = CRYSTAL.replace("CRYST1", seqres + "CRYST1")
    assert read_one(write(tmp_path / "stated.pdb", stated + atoms)).sequence == SEQUENCE


def test_a_model_with_residues_filled_in_has_no_plddt(tmp_path):
    names = " ".join(seq3(letter).upper() for letter in "MKTAYI")
    seqres = f"SEQRES   1 A    6  {names}\n"
    lines = pdb_atoms(CONSTANT[:6], "MKTAYI").splitlines(keepends=True)
    cut = "".join(lines[:8] + lines[16:])  # residues 3 and 4
    chain = read_one(write(tmp_path / "cut.pdb", seqres + ALPHAFOLD_DB + cut))
    assert chain.sequence == "MKTAYI"
    assert "mean_plddt" not in chain.columns
    assert chain.columns["plddt_source"].startswith("none: residues of the chain are missing")
    no_alpha = "".join(line for n, line in enumerate(lines) if n != 9)
    chain = read_one(write(tmp_path / "no_alpha.pdb", ALPHAFOLD_DB + no_alpha))
    assert chain.sequence == "MKXAYI"
    assert "mean_plddt" not in chain.columns


def test_one_name_of_homoserine_and_of_histidine(tmp_path):
    text = pdb_atoms(CONSTANT[:3], "MSK").replace("SER", "HSE")
    assert read_one(write(tmp_path / "charmm.pdb", text)).sequence == "MHK"
    component = "".join(
        line.replace("ATOM  ", "HETATM") if "HSE" in line else line
        for line in text.splitlines(keepends=True)
    )
    assert read_one(write(tmp_path / "pdb.pdb", component)).sequence == "MSK"


TWO_BLOCKS = f"data_x\n{cif_atoms(CONSTANT)}\ndata_y\n{cif_atoms(CONSTANT)}"
BROKEN = {
    "behind_end.pdb": (pdb_atoms(CONSTANT) + "END\n" + pdb_atoms(CONSTANT, chain="B"), "END"),
    "twice.pdb": (2 * pdb_atoms(CONSTANT).replace("TER\n", ""), "residue 1 of chain A"),
    "both.pdb": (pdb_atoms(CONSTANT).replace("A   2", "A   1"), "no alternates"),
    "cut.pdb": (pdb_atoms(CONSTANT)[:-45], "coordinates"),
    "stars.pdb": (re.sub(r"(?<=   3    ).{8}", "********", pdb_atoms(CONSTANT)), "coordinates"),
    "number.pdb": (pdb_atoms(CONSTANT).replace("A   2", "A00A2"), "residue number"),
    "far.cif": ("data_x\n" + cif_atoms(CONSTANT).replace(" 3.480 ", " 1e39 "), "coordinates"),
    "blocks.cif": (TWO_BLOCKS, "data blocks"),
    "cut.cif": ("data_x\n" + cif_atoms(CONSTANT)[:-20], "cut off"),
    "none.cif": ("data_x\n_entry.id x\n", "no data block"),
    "item.cif": ("data_x\n" + cif_atoms(CONSTANT).replace("Cartn_y", "y"), "cartn_y"),
    "numbers.cif": ("data_x\n" + cif_atoms(CONSTANT).replace("ATOM 5 ", "ATOM 5 5 "), "cut off"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_rightly_is_a_failed_row_with_its_reason(tmp_path, name):
    text, reason = BROKEN[name]
    write(tmp_path / name, text)
    write(tmp_path / "good.pdb", pdb_atoms(CONSTANT))
    records = {record.id: record for record in read_records([tmp_path], keep_unreadable=True)}
    assert records["good"].sequence == SEQUENCE
    failed = records[name.partition(".")[0]]
    assert failed.sequence == ""
    assert reason in failed.problem


def test_file_names_that_are_not_utf8_are_written_escaped_and_found_again(tmp_path):
    folder = os.fsencode(tmp_path)
    for name, text in ((b"mod\xe8le.pdb", ALPHAFOLD_DB + pdb_atoms(CONSTANT)), (b"b\xff.cif", "x")):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as stream:
            stream.write(text)
    records = read_records([tmp_path], keep_unreadable=True)
    assert [record.id for record in records] == ["b\\xff", "mod\\xe8le"]
    assert "b\\xff.cif" in records[0].problem
    point_from([record.columns for record in records], tmp_path)
    row = records[1].columns
    assert row["pdb_file"] == "mod\\xe8le.pdb"
    assert os.fsencode(file_of_cell(tmp_path, row["pdb_file"]).name) == b"mod\xe8le.pdb"
    assert read_backbone(row, tmp_path).letters == SEQUENCE
    assert name_of_file("13_space name (1).pdb.GZ") == "13_space name (1)"


def test_gaps_are_filled_only_where_one_answer_fits():
    assert fill_gaps("AXC", "AACAGC") == "AXC"
    assert fill_gaps("AXC", "AACAAC") == "AAC"
    assert fill_gaps("AXC", None) == "AXC"
    assert fill_gaps("AC", "AGC") == "AC"


def _pae(size, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 30, size=(size, size)).round(2)


@pytest.mark.parametrize(
    ("structure", "sidecar", "wrap"),
    [
        ("x_unrelaxed_rank_001_m_3.pdb", "x_scores_rank_001_m_3.json", dict),
        ("x_relaxed_rank_001_m_3.pdb", "x_scores_rank_001_m_3.json", dict),
        ("x_unrelaxed_rank_1_m_3.pdb", "x_unrelaxed_rank_1_m_3_scores.json", dict),
        ("AF-P1-F1-model_v4.pdb", "AF-P1-F1-predicted_aligned_error_v4.json", None),
    ],
)
def test_ptm_and_pae_of_the_json_beside_a_model(tmp_path, structure, sidecar, wrap):
    pae = _pae(N)
    content = {"pae": pae.tolist(), "ptm": 0.87, "plddt": [], "max_pae": 31.75}
    if wrap is None:
        content = [{"predicted_aligned_error": pae.tolist()}]
    path = write(tmp_path / structure, ALPHAFOLD_DB + pdb_atoms(CONSTANT))
    (tmp_path / sidecar).write_text(json.dumps(content))
    columns = read_one(path).columns
    assert columns["mean_pae"] == pytest.approx(pae.mean())
    assert columns.get("ptm") == (None if wrap is None else 0.87)
    for other in ({"pae": _pae(N + 1).tolist(), "ptm": 0.5}, [], {"pae": "x"}):
        (tmp_path / sidecar).write_text(json.dumps(other))
        assert "mean_pae" not in read_one(path).columns
        assert "ptm" not in read_one(path).columns


def test_a_complex_has_no_ptm_of_a_chain(tmp_path):
    text = pdb_atoms(CONSTANT) + pdb_atoms(CONSTANT, chain="B", alphas=walk(N, 1))
    path = write(tmp_path / "c_unrelaxed_m.pdb", text)
    (tmp_path / "c_scores_m.json").write_text(json.dumps({"pae": _pae(N).tolist(), "ptm": 0.9}))
    assert all("ptm" not in chain.columns for chain in read_structure(path))


def test_refusals_are_said_once_for_each_reason(tmp_path, capsys):
    for number in range(3):
        write(tmp_path / f"crystal{number}.pdb", CRYSTAL + REFINED)
    write(tmp_path / "model.pdb", ALPHAFOLD_DB + pdb_atoms(CONSTANT))
    say_without_plddt(record.columns for record in read_records([tmp_path]))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("3 of 4 chains without a pLDDT: experimental structure")


def test_structures_serve_as_reference_sequences(tmp_path):
    write(tmp_path / "a.pdb", CRYSTAL + REFINED)
    write(tmp_path / "b.cif", MODEL_CIF + cif_atoms(CONSTANT))
    assert read_training_sequences(tmp_path, name="--reference") == [
        ("a", SEQUENCE),
        ("b", SEQUENCE),
    ]


def test_dplm_folders_give_their_steps(tmp_path):
    folder = tmp_path / "dplm_650m"
    folder.mkdir()
    (folder / "iter_500_L_10.fasta").write_text(">SEQUENCE_0_L=10\nMKTAYIAKQR\n")
    (folder / "iter_64_L_5.fasta").write_text(">SEQUENCE_0\nMKTAY\n>SEQUENCE_1 steps=7\nGGGGG\n")
    (folder / "other_500.fasta").write_text(">x\nMKT\n")
    records = read_records([folder])
    assert [(r.id, r.sequence, r.header.get("steps")) for r in records] == [
        ("SEQUENCE_0_L=10", "MKTAYIAKQR", "500"),
        ("SEQUENCE_0", "MKTAY", "64"),
        ("SEQUENCE_1", "GGGGG", "7"),
        ("x", "MKT", None),
    ]
