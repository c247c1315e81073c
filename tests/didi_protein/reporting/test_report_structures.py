"""The structures on the page: which file, scale and atoms, and never a mirror image."""

import re
from html import unescape
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from report_fixtures import random_sequences, rows, write_table
from structure_fixtures import helix_text, pdb_text, write_structures

from didi_protein.report import write_report
from didi_protein.reporting.structures import Backbone, described, laid_flat, read_backbone

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ"


def structure_at(folder: Path, plddt: float, scale: float = 1.0) -> dict[str, object]:
    values = np.linspace(plddt - 6, plddt + 6, len(SEQUENCE))
    (folder / "a.pdb").write_text(pdb_text(SEQUENCE, values / scale))
    return {"pdb_file": "a.pdb", "mean_plddt": plddt}


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_scale_is_told_by_the_plddt_of_the_table(tmp_path: Path, scale: float) -> None:
    backbone = read_backbone(structure_at(tmp_path, 80.0, scale), tmp_path)
    assert backbone.letters == SEQUENCE
    np.testing.assert_allclose(backbone.plddt, np.linspace(74, 86, len(SEQUENCE)), atol=0.51)
    assert backbone.confidence.split()[0] == f"{backbone.plddt[0]:.1f}"


def test_b_factors_that_disagree_are_no_plddt(tmp_path: Path) -> None:
    row = structure_at(tmp_path, 80.0)
    for stated in (60.0, float("nan")):
        backbone = read_backbone(row | {"mean_plddt": stated}, tmp_path)
        assert backbone.plddt is None and backbone.confidence == "" and backbone.shares == []
        assert described("a", backbone).endswith("pLDDT unknown")


def test_file_lies_beside_the_table_or_where_the_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = structure_at(tmp_path, 80.0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert read_backbone(row, elsewhere) == "The structure file a.pdb is not there."
    monkeypatch.chdir(tmp_path)
    assert isinstance(read_backbone(row, elsewhere), Backbone)
    assert read_backbone({"pdb_file": None}, tmp_path) is None
    assert read_backbone({"pdb_file": "a" * 5_000}, tmp_path).endswith("is not there.")
    (tmp_path / "bad.pdb").write_text("nothing\n")
    assert "cannot be read" in read_backbone({"pdb_file": "bad.pdb"}, tmp_path)
    (tmp_path / "two.pdb").write_text(pdb_text("MK", [80, 80]))
    assert "too few alpha carbons" in read_backbone({"pdb_file": "two.pdb"}, tmp_path)


def test_chain_named_by_the_table(tmp_path: Path) -> None:
    both = pdb_text("MKTAY", [80] * 5).replace("END\n", "") + pdb_text("GGGG", [70] * 4, chain="B")
    (tmp_path / "a.pdb").write_text(both)
    row = {"pdb_file": "a.pdb", "mean_plddt": 70.0}
    assert read_backbone(row | {"pdb_chain": "B"}, tmp_path).letters == "GGGG"
    assert read_backbone(row, tmp_path).letters == "MKTAY"
    assert "no chain C" in read_backbone(row | {"pdb_chain": "C"}, tmp_path)


def test_laying_flat_turns_but_never_mirrors() -> None:
    generator = np.random.default_rng(4)
    cloud = generator.normal(size=(40, 3)) * [3, 30, 10] + [5, -7, 100]
    residues = np.split(cloud, [4, 5])  # a whole backbone, a C-alpha alone
    turned = laid_flat(residues)
    assert [len(each) for each in turned] == [4, 1, 35]
    flat = np.concatenate(turned)
    np.testing.assert_allclose(flat.mean(axis=0), 0, atol=1e-9)
    spread = flat.std(axis=0)
    assert spread[0] > spread[1] > spread[2]
    assert flat[0, 0] < 0  # the chain starts on the left
    # A rotation keeps distances and handedness: signed volumes of any four points.
    volumes = [np.linalg.det(each[1:4] - each[0]) for each in (cloud, flat)]
    assert volumes[0] == pytest.approx(volumes[1], rel=1e-9)


def test_residues_keep_their_backbone_where_it_is_whole(tmp_path: Path) -> None:
    whole = helix_text(SEQUENCE, [95.0] * 10 + [80.0] * 10 + [60.0] * 10 + [30.0] * 3)
    lines = [line for line in whole.splitlines() if line[12:26] != " O   LYS A   8"]
    (tmp_path / "a.pdb").write_text("\n".join(lines))
    backbone = read_backbone({"pdb_file": "a.pdb", "mean_plddt": 73.9}, tmp_path)
    counts = [len(each.split()) for each in backbone.xyz.split(",")]
    assert counts == [12] * 7 + [3] + [12] * 25
    nitrogen, alpha = np.array(backbone.xyz.split(",")[0].split(), dtype=float).reshape(4, 3)[:2]
    assert np.linalg.norm(nitrogen - alpha) == pytest.approx(14.6, abs=1.0)  # tenths of an ångström
    assert described("a", backbone) == (
        "Structure of a, 33 residues; pLDDT of the residues: 30% very high, 30% confident, "
        "30% low, 9% very low"
    )


def test_page_shows_the_structures_of_the_best(tmp_path: Path) -> None:
    table = rows("tiny", "ancestral", 8, 2.8, count=5)
    table["sequence"] = random_sequences(5, seed=2, low=20, high=30)
    table["mean_plddt"] = [70.0, 92.0, 60.0, 85.0, 50.0]
    table["foldable"] = [False, True, False, True, False]
    table["pdb_file"] = write_structures(tmp_path, table["sequence"], table["mean_plddt"])
    (tmp_path / table["pdb_file"][3]).unlink()
    path = write_table(tmp_path, "t", table, None, None)
    page = write_report([path], tmp_path / "r.html", top=3, max_repeat=1.0).out.read_text()
    assert "3 distinct designs of highest pLDDT" in page
    names = re.findall(r'<article aria-label="Design (\S+)"', page)
    assert names == ["design_000001", "design_000003", "design_000000"]
    assert page.count('<figure class="structure"') == 2
    assert "The structure file pdb/3.pdb is not there." in page
    assert "class StructureView" in page
    for name in ("3Dmol-min.js", "LICENSE"):
        assert (files("didi_protein") / "_3dmol" / name).read_text("utf-8") in unescape(page)
    xyz = re.search(r'data-xyz="([^"]*)"', page)[1].split(",")
    assert len(xyz) == len(table["sequence"][1])
    without = write_report(
        [write_table(tmp_path / "b", "t", table.drop(columns="pdb_file"), None, None)],
        tmp_path / "b.html",
    ).out.read_text()
    assert "3Dmol" not in without and 'how-to-turn"' not in without
