"""The structures on the page: which file, which scale, which curve, and never a mirror image."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from report_fixtures import random_sequences, rows, write_table
from structure_fixtures import helix_bundle, pdb_text, write_structures

from didi_protein.report import write_report
from didi_protein.reporting.structures import (
    Trace,
    described,
    laid_flat,
    pieces_of,
    read_trace,
    still_svg,
)

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ"


def structure_at(folder: Path, plddt: float, scale: float = 1.0) -> dict[str, object]:
    values = np.linspace(plddt - 6, plddt + 6, len(SEQUENCE))
    (folder / "a.pdb").write_text(pdb_text(SEQUENCE, values / scale))
    return {"pdb_file": "a.pdb", "mean_plddt": plddt}


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_scale_is_told_by_the_plddt_of_the_table(tmp_path: Path, scale: float) -> None:
    trace = read_trace(structure_at(tmp_path, 80.0, scale), tmp_path)
    assert trace.letters == SEQUENCE
    np.testing.assert_allclose(trace.plddt, np.linspace(74, 86, len(SEQUENCE)), atol=0.51)
    assert trace.confidence.split()[0] == f"{trace.plddt[0]:.1f}"


def test_b_factors_that_disagree_are_no_plddt(tmp_path: Path) -> None:
    row = structure_at(tmp_path, 80.0)
    for stated in (60.0, float("nan")):
        trace = read_trace(row | {"mean_plddt": stated}, tmp_path)
        assert trace.plddt is None and trace.confidence == "" and trace.shares == []
        assert 'class="band-none"' in still_svg(trace, "s", "t")
        assert described("a", trace).endswith("pLDDT unknown")


def test_file_lies_beside_the_table_or_where_the_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = structure_at(tmp_path, 80.0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert read_trace(row, elsewhere) == "The structure file a.pdb is not there."
    monkeypatch.chdir(tmp_path)
    assert isinstance(read_trace(row, elsewhere), Trace)
    assert read_trace({"pdb_file": None}, tmp_path) is None
    (tmp_path / "bad.pdb").write_text("nothing\n")
    assert "cannot be read" in read_trace({"pdb_file": "bad.pdb"}, tmp_path)
    (tmp_path / "two.pdb").write_text(pdb_text("MK", [80, 80]))
    assert "too few alpha carbons" in read_trace({"pdb_file": "two.pdb"}, tmp_path)


def test_chain_named_by_the_table(tmp_path: Path) -> None:
    both = pdb_text("MKTAY", [80] * 5).replace("END\n", "") + pdb_text("GGGG", [70] * 4, chain="B")
    (tmp_path / "a.pdb").write_text(both)
    row = {"pdb_file": "a.pdb", "mean_plddt": 70.0}
    assert read_trace(row | {"pdb_chain": "B"}, tmp_path).letters == "GGGG"
    assert read_trace(row, tmp_path).letters == "MKTAY"
    assert "too few" in read_trace(row | {"pdb_chain": "C"}, tmp_path)


def test_laying_flat_turns_but_never_mirrors() -> None:
    generator = np.random.default_rng(4)
    cloud = generator.normal(size=(40, 3)) * [3, 30, 10] + [5, -7, 100]
    flat = laid_flat(cloud)
    np.testing.assert_allclose(flat.mean(axis=0), 0, atol=1e-9)
    spread = flat.std(axis=0)
    assert spread[0] > spread[1] > spread[2]
    assert flat[0, 0] < 0  # the chain starts on the left
    # A rotation keeps distances and handedness: signed volumes of any four points.
    volumes = [np.linalg.det(each[1:4] - each[0]) for each in (cloud, flat)]
    assert volumes[0] == pytest.approx(volumes[1], rel=1e-9)


def test_curve_passes_through_every_atom_and_stops_at_breaks() -> None:
    atoms = np.cumsum(np.full((6, 3), 3.8 / np.sqrt(3)), axis=0)
    atoms[3:] += 20  # between the third and the fourth the chain is broken
    pieces = pieces_of(atoms)
    assert len(pieces) == len(atoms)
    for place, piece in enumerate(pieces):
        distance = np.linalg.norm(piece[::3] - atoms[place], axis=1)
        assert distance.min() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(pieces[0][-1], pieces[1][0])  # they meet half-way
    for piece in pieces[:3]:  # and follow a straight chain straight
        np.testing.assert_allclose(np.cross(piece - atoms[0], [1.0, 1.0, 1.0]), 0, atol=1e-9)
    np.testing.assert_allclose(pieces[2][-1], atoms[2])
    np.testing.assert_allclose(pieces[3][0], atoms[3])


def test_still_picture_is_sound_and_coloured_by_band() -> None:
    plddt = np.array([95.0] * 10 + [80.0] * 10 + [60.0] * 10 + [30.0] * 3)
    trace = Trace(laid_flat(helix_bundle(33)), plddt, SEQUENCE)
    picture = still_svg(trace, "structure-0", 'Structure of <a> & "b"')
    root = ElementTree.fromstring(picture)
    assert root.find("title").text == 'Structure of <a> & "b"'
    classes = [path.get("class") for path in root.iter("path")]
    counts = {name: classes.count(name) for name in set(classes)}
    assert counts == {"outline": 33, "band-0": 10, "band-1": 10, "band-2": 10, "band-3": 3}
    numbers = [int(each) for each in re.findall(r"M(\d+) (\d+)", picture)[0]]
    assert all(0 <= each <= 1000 for each in numbers)
    assert [each.text for each in root.iter("text")] == ["N", "C"]
    assert described("a", trace) == (
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
    assert page.count('<figure class="structure"') == page.count('<svg class="still"') == 2
    assert "The structure file pdb/3.pdb is not there." in page
    assert "class StructureView" in page and page.count("<script>") == 1
    xyz = re.search(r'data-xyz="([^"]*)"', page)[1].split()
    assert len(xyz) == 3 * len(table["sequence"][1])
    without = write_report(
        [write_table(tmp_path / "b", "t", table.drop(columns="pdb_file"), None, None)],
        tmp_path / "b.html",
    ).out.read_text()
    assert "class StructureView" not in without and 'how-to-turn"' not in without
