"""`score --motif`: RMSD against hand-made coordinates, shuffles, and what is refused."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from folding_fixtures import write_folding_model
from generate_fixtures import design
from scipy.spatial.transform import Rotation
from scoring_fixtures import quick_scores
from structure_fixtures import helix_bundle, pdb_text

from didi_core.errors import UserError
from didi_protein.folding import esmfold
from didi_protein.folding.fold import FoldRequest
from didi_protein.folding.network import open_folding_model
from didi_protein.folding.scorer import FoldScorer
from didi_protein.folding.structure_files import FoldFiles
from didi_protein.score import ScoreOptions, ScoreResult, score
from didi_protein.scoring.columns import names_by
from didi_protein.scoring.motifs import MotifShuffleScorer, Site, is_success, read_motifs
from didi_protein.scoring.own_shuffles import shuffle_of
from didi_protein.scoring.table import read_scores
from didi_protein.sequences.fasta import ProteinRecord, read_records, write_fasta

TURN = Rotation.from_rotvec([0.3, -1.2, 2.0])
SHIFT = np.array([5.0, -40.0, 12.0])


def moved(coordinates: np.ndarray) -> np.ndarray:
    return TURN.apply(coordinates) + SHIFT


def test_a_rotated_copy_has_rmsd_0_and_its_mirror_image_has_not() -> None:
    whole = helix_bundle(30)
    places = (4, 5, 11, 25)
    site = Site(places, whole[list(places)])
    assert site.rmsd(moved(whole)) == pytest.approx(0, abs=1e-6)
    elsewhere = moved(whole) + np.arange(30)[:, None] * ~np.isin(np.arange(30), places)[:, None]
    assert site.rmsd(elsewhere) == pytest.approx(0, abs=1e-6), "other residues do not count"
    assert site.rmsd(moved(whole) * [-1, 1, 1]) > 0.1


def test_known_displacements_have_known_rmsds() -> None:
    line = np.array([[-3.0, 0, 0], [0, 0, 0], [3.0, 0, 0]])
    stretched = moved(line * [1.5, 1, 1])  # both ends by 1.5
    assert Site((0, 1, 2), line).rmsd(stretched) == pytest.approx(1.5 * (2 / 3) ** 0.5)
    pair = np.array([[0.0, 0, 0], [10.0, 0, 0]])
    assert Site((0, 1), pair).rmsd(moved(pair * [1.2, 1, 1])) == pytest.approx(1.0)


def test_residues_are_compared_in_their_order() -> None:
    whole = helix_bundle(12)
    assert Site((2, 3, 9), whole[[3, 2, 9]]).rmsd(whole) > 0.5


def test_what_has_no_rmsd() -> None:
    whole = helix_bundle(12)
    assert Site((3,), whole[[3]]).rmsd(whole) is None, "a single residue fits anything"
    whole[9] = np.nan
    assert Site((2, 3, 9), helix_bundle(12)[[2, 3, 9]]).rmsd(whole) is None


@pytest.mark.parametrize(
    ("rmsd", "plddt", "expected"),
    [
        (0.99, 70.1, True),
        (1.0, 90.0, False),
        (0.2, 70.0, False),
        (None, 90, None),
        (0.2, None, None),
    ],
)
def test_success(rmsd: float | None, plddt: float | None, expected: bool | None) -> None:
    assert is_success(rmsd, plddt) is expected


def test_a_shuffle_keeps_what_it_must() -> None:
    sequence, keep = "MKTAYIAKQRQISFVKSHFSRQ", (0, 7, 8, 21)
    shuffled = shuffle_of(sequence, 3, keep=keep)
    assert [shuffled[place] for place in keep] == [sequence[place] for place in keep]
    assert Counter(shuffled) == Counter(sequence) and shuffled != sequence
    assert shuffle_of(sequence, 3, keep=range(22)) == sequence


@pytest.fixture(scope="module")
def folding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folding_model(tmp_path_factory.mktemp("folding"))


STRUCTURE = "GSHDKLVAWE"
NOT_FOLDED: dict[str, Any] = {"pdb_dir": None, "fold_recycles": None}


@pytest.fixture(scope="module")
def scored(
    folding: Path, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ScoreOptions, ScoreResult]:
    """Designs that keep residues of a structure, folded."""
    folder = tmp_path_factory.mktemp("motif")
    structure = folder / "site.pdb"
    structure.write_text(pdb_text(STRUCTURE, [50.0] * len(STRUCTURE)))
    value = f"{structure}:1-6,A3-4,2-5,A8,1-6"
    design(model, folder / "d.fasta", motif=value, length="16-20", num=5)
    folded = {"fold": str(folding), "fold_recycles": 0, "pdb_dir": folder / "pdb"}
    options = quick_scores(
        folder / "d.fasta", folder / "s.csv", motif=structure, tm_pairs=0, **folded
    )
    return options, score(options)


@pytest.fixture
def options(scored: tuple[ScoreOptions, ScoreResult], tmp_path: Path) -> ScoreOptions:
    """The same request, to go elsewhere."""
    return replace(scored[0], out=tmp_path / "s.csv", pdb_dir=tmp_path / "pdb")


def alphas_of(path: Path) -> np.ndarray:
    lines = [line for line in path.read_text().splitlines() if line[12:16] == " CA "]
    return np.array([[float(line[i : i + 8]) for i in (30, 38, 46)] for line in lines])


def test_folded_designs_are_compared_with_the_structure(
    scored: tuple[ScoreOptions, ScoreResult],
) -> None:
    options, table = scored[0], scored[1].table
    pd.testing.assert_frame_equal(read_scores(options.out), table)
    assert table["motif"].tolist() == [
        each.header["motif"] for each in read_records(options.inputs)
    ]
    motifs = read_motifs(options, read_records(options.inputs), print)
    for row, record in zip(table.itertuples(), read_records(options.inputs), strict=True):
        site = motifs.site(record)
        assert "".join(row.sequence[place] for place in site.places) == "HDA"
        assert np.allclose(site.target, helix_bundle(10)[[2, 3, 7]], atol=1e-3)
        found = site.rmsd(alphas_of(options.out.parent / row.pdb_file))
        assert row.motif_rmsd == pytest.approx(found, abs=1e-3) and found > 0
        assert row.motif_success == is_success(row.motif_rmsd, row.mean_plddt)


def test_a_structure_that_a_design_has_itself_is_kept(
    scored: tuple[ScoreOptions, ScoreResult], options: ScoreOptions
) -> None:
    """The motif is cut anew, from the first design's own fold, turned; then from one stretched."""
    first = read_records(options.inputs)[0]
    folded = scored[0].out.parent / scored[1].table["pdb_file"][0]
    motif = ",".join(f"A{n}>{n}" for n in (2, 3, 9, 12))
    designs = options.out.parent / "kept.fasta"
    write_fasta(designs, [replace(first, header={"motif": motif})])
    for scale, expected in ((1.0, 0.0), (1.3, None)):
        turned = options.out.parent / "turned.pdb"
        alphas = moved(alphas_of(folded)) * scale
        turned.write_text(pdb_text(first.sequence, [50.0] * len(alphas), alphas))
        again = replace(options, inputs=[str(designs)], motif=turned, overwrite=True)
        rmsd = score(again).table["motif_rmsd"][0]
        if expected is None:
            own = alphas_of(folded)[[1, 2, 8, 11]]
            # Scaling about the centre: RMSD is 0.3 times the radius of gyration.
            expected = 0.3 * np.sqrt(((own - own.mean(0)) ** 2).sum(1).mean())
        assert rmsd == pytest.approx(expected, abs=2e-3)


def test_shuffles_keep_the_motif_and_are_folded(
    scored: tuple[ScoreOptions, ScoreResult], folding: Path
) -> None:
    options, result = scored
    assert result.table["motif_rmsd_shuffled"].notna().all()
    records = read_records(options.inputs)
    motifs = read_motifs(options, records, print)
    alone = FoldScorer(
        open_folding_model(str(folding), request=FoldRequest(recycles=0)), FoldFiles({}, Path())
    )
    for row, record in zip(result.table.itertuples(), records, strict=True):
        site = motifs.site(record)
        shuffled = shuffle_of(record.sequence, options.seed, keep=site.places)
        (fold,) = alone.folds([ProteinRecord("x", shuffled)])
        assert row.motif_rmsd_shuffled == pytest.approx(site.rmsd(fold.alphas.numpy()), abs=1e-3)
        assert row.motif_success_shuffled is not None
    figures = result.summary["set"]
    assert figures["mean_motif_rmsd"]["n"] == figures["mean_motif_rmsd_shuffled"]["n"] == 5
    assert figures["motif_success_fraction"]["mean"] == result.table["motif_success"].mean()
    some = MotifShuffleScorer.of(motifs, alone, seed=1, most=2)
    values = some.score(records)
    assert sum(each["motif_rmsd_shuffled"] is not None for each in values) == 2
    assert all(set(each) == set(names_by("motif_shuffles")) for each in values)


def test_a_finished_table_is_not_folded_again(
    scored: tuple[ScoreOptions, ScoreResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    options, first = scored
    monkeypatch.setattr(esmfold, "run_network", None)
    again = score(replace(options, resume=True)).table
    pd.testing.assert_frame_equal(first.table, again)


def test_given_structures_have_the_motif_of_the_design_with_their_sequence(
    options: ScoreOptions, tmp_path: Path
) -> None:
    first, second, *_ = read_records(options.inputs)
    structures = tmp_path / "given"
    structures.mkdir()
    for record in (first, second):
        coordinates = moved(helix_bundle(len(record.sequence)))
        (structures / f"{record.id}.pdb").write_text(
            pdb_text(record.sequence, [80.0] * len(record.sequence), coordinates)
        )
    (structures / "other.pdb").write_text(pdb_text("MKTAY", [80.0] * 5))
    plain = replace(options, fold="none", **NOT_FOLDED)
    table = score(replace(plain, inputs=[*options.inputs, str(structures)])).table
    given = table[table["pdb_file"].notna()].set_index("id")
    motifs = read_motifs(options, [first, second], print)
    for record in (first, second):
        row = given.loc[f"{record.id}#2"]
        found = motifs.site(record).rmsd(helix_bundle(len(record.sequence)))
        assert row["motif"] == record.header["motif"]
        assert row["motif_rmsd"] == pytest.approx(found, abs=2e-3)
    assert pd.isna(given.loc["other", "motif_rmsd"])
    assert table.loc[table["pdb_file"].isna(), "motif_rmsd"].isna().all()


def test_of_equal_designs_the_one_of_the_structures_name_decides(
    options: ScoreOptions,
) -> None:
    first = read_records(options.inputs)[0]
    second = replace(first, id="second", header={"motif": "A57>9"})
    given = [
        replace(first, id=name, header={}, columns={"pdb_file": "x.pdb"})
        for name in ("second#2", "x")
    ]
    said: list[str] = []
    motifs = read_motifs(options, [first, second, *given], said.append)
    assert motifs.text_of["second#2"] == "A57>9"
    assert motifs.text_of["x"] == first.header["motif"]
    assert len(said) == 1 and "x has the sequence of" in said[0]


def test_without_the_flag_the_columns_are_empty_and_a_line_names_it(
    options: ScoreOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    table = score(replace(options, motif=None, fold="none", **NOT_FOLDED)).table
    assert "motif" in table and "motif_rmsd" not in table
    assert "5 of 5 records with a motif: --motif F.pdb" in capsys.readouterr().err


def test_structures_go_beside_the_table_where_no_folder_is_named(
    options: ScoreOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    table = score(replace(options, pdb_dir=None)).table
    assert table["pdb_file"].str.startswith("s.structures/").all()
    assert table["motif_rmsd"].notna().all()
    assert "--pdb-dir" in capsys.readouterr().err


def test_a_header_that_does_not_agree_with_the_file_is_a_failed_row(
    options: ScoreOptions, tmp_path: Path
) -> None:
    first = read_records(options.inputs)[0]
    headers = {
        "other_letter": ("A5>1", "motif: A5>1: the design has"),
        "no_residue": ("A99>1", "does not hold 99"),
        "beyond": ("A3>400", "has nothing there"),
        "no_places": ("zinc", "'zinc' is not residues and their place"),
    }
    others = [
        replace(first, id=name, header={"motif": text}) for name, (text, _) in headers.items()
    ]
    path = tmp_path / "mixed.fasta"
    write_fasta(path, [replace(first, sequence="M" + first.sequence[1:]), *others])
    result = score(replace(options, inputs=[str(path)]))
    rows = result.table.set_index("id")
    assert rows.loc[first.id, "status"] == "ok" and result.num_failed == 4
    for name, (_, message) in headers.items():
        assert rows.loc[name, "status"] == "failed" and message in rows.loc[name, "error"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"fold": "none", **NOT_FOLDED}, "no structure to look at"),
        ({"inputs": ["plain.fasta"]}, "motif=A57>61"),
        ({"motif": Path("no_such.pdb")}, "no_such.pdb"),
        ({"motif": Path("no_such.pdb"), "fold": "none", **NOT_FOLDED}, "no such file"),
        ({"motif": Path("site.pdb:A3")}, "give the file alone"),
    ],
)
def test_requests_without_sense_are_refused(
    options: ScoreOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict,
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_fasta(tmp_path / "plain.fasta", [ProteinRecord("a", "MKTAYIAKQR", {"motif": "zinc"})])
    with pytest.raises(UserError, match=r"^--motif ") as refused:
        score(replace(options, **changes))
    assert named in str(refused.value)
