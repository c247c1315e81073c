"""Output folders of predictors: which files are read, what of them, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prediction_fixtures import (
    COMPLEX,
    Model,
    write_alphafold3,
    write_alphafold_server,
    write_boltz,
    write_chai,
    write_colabfold,
)
from scoring_fixtures import quick_scores

from didi_core.errors import UserError
from didi_protein.score import score
from didi_protein.scoring.table import read_scores
from didi_protein.sequences.fasta import ProteinRecord, Reading, read_records, write_fasta
from didi_protein.structures.read import read_structure

LENIENT, ALL = Reading(keep_unreadable=True), Reading(all_models=True)
LOW, HIGH, MIDDLE = (
    Model(plddt=60.0, ptm=0.5, iptm=0.4, score=0.5, seed=1),
    Model(plddt=90.0, ptm=0.875, iptm=0.75, score=0.9, seed=2),
    Model(plddt=75.0, ptm=0.625, iptm=0.5, score=0.7, seed=3),
)
BY_RANK, AS_DRAWN = [HIGH, MIDDLE, LOW], [LOW, HIGH, MIDDLE]


def of_complex(models: list[Model]) -> list[Model]:
    """The same models of two chains."""
    return [
        Model(COMPLEX, each.plddt, each.ptm, each.iptm, each.score, each.seed) for each in models
    ]


Writer = Callable[[Path, list[Model]], None]
TOOLS: dict[str, tuple[Writer, bool, bool, str]] = {
    "colabfold": (lambda out, models: write_colabfold(out, "d", models), True, True, "rank_001"),
    "boltz": (lambda out, models: write_boltz(out / "boltz_results_d", "d", models), True, True,
              "model_0"),
    "boltz pdb": (lambda out, models: write_boltz(out, "d", models, ".pdb"), True, True, "model_0"),
    "chai": (lambda out, models: write_chai(out / "d", models), False, False, "model_idx_1"),
    "chai trunks": (lambda out, models: write_chai(out / "d" / "trunk_1", models), False, False,
                    "trunk_1_model_idx_1"),
    "alphafold3": (lambda out, models: write_alphafold3(out, "d", models), False, True, "best"),
    "alphafold3 3.0.0": (lambda out, models: write_alphafold3(out, "d", models, False), False, True,
                         "best"),
    "server": (lambda out, models: write_alphafold_server(out, "d", models), False, True,
               "model_1"),
}  # fmt: skip
"""Who writes, whether in the order of rank, whether with PAE, and what the best is called."""
each_tool = pytest.mark.parametrize("tool", TOOLS)


@each_tool
@pytest.mark.parametrize("make", [list, of_complex], ids=["alone", "complex"])
def test_the_best_model_is_read_without_loss(tool: str, make: Callable, tmp_path: Path) -> None:
    write, by_rank, has_pae, name = TOOLS[tool]
    write(tmp_path, make(BY_RANK if by_rank else AS_DRAWN))
    records = read_records([tmp_path])
    (best,) = make([HIGH])
    chains = list(best.chains)
    alone = len(chains) == 1
    assert [each.id for each in records] == (["d"] if alone else [f"d_{c}" for c in chains])
    for chain, record in zip(chains, records, strict=True):
        assert record.sequence == best.chains[chain]
        expected = best.columns(chain, has_pae)
        if tool == "colabfold" and not alone:
            del expected["ptm"]  # it states none of a chain
        single = 1e-6 if tool.startswith("chai") else 1e-12  # Chai writes float32
        found = {key: record.columns.get(key) for key in expected}
        assert found == pytest.approx(expected, rel=single, abs=0)
        missing = {"ptm", "mean_pae", "iptm", "complex_ptm", "complex_pae"} - set(expected)
        assert not missing & set(record.columns)
        assert record.columns["prediction"] == name
        if tool != "colabfold":
            assert record.columns["ranking_score"] == pytest.approx(0.9, rel=single)
        assert "output folder" in record.columns["plddt_source"]


@each_tool
def test_all_models_are_read_where_asked_for(tool: str, tmp_path: Path) -> None:
    write, by_rank, *_ = TOOLS[tool]
    models = BY_RANK if by_rank else AS_DRAWN
    write(tmp_path, models)
    records = read_records([tmp_path], reading=ALL)
    for name in ("mean_plddt", "ptm"):
        expected = [each.columns("A")[name] for each in models]
        assert [each.columns[name] for each in records] == pytest.approx(expected, rel=1e-6)
    ids = [each.id for each in records]
    assert ids == [f"d_{each.columns['prediction']}" for each in records]
    assert len({each.columns["pdb_file"] for each in records}) == len(set(ids)) == 3


def test_a_relaxed_model_counts_in_place_of_the_unrelaxed_one(tmp_path: Path) -> None:
    write_colabfold(tmp_path, "d", BY_RANK)
    files = [Path(each.columns["pdb_file"]).name for each in read_records([tmp_path], reading=ALL)]
    assert [name.partition("_rank")[0] for name in files] == ["d_relaxed", *["d_unrelaxed"] * 2]


def test_models_of_a_design_in_the_earlier_names_of_colabfold(tmp_path: Path) -> None:
    write_colabfold(tmp_path, "d", BY_RANK, relaxed=0)
    for path in [*tmp_path.glob("*.r0.pdb"), *tmp_path.glob("*error_v1.json")]:
        path.unlink()
    for path in sorted(tmp_path.glob("d_*rank_*")):
        rank = int(path.name.partition("rank_")[2][:3])
        end = "_scores.json" if path.suffix == ".json" else ".pdb"
        path.rename(tmp_path / f"d_unrelaxed_model_{6 - rank}_rank_{rank}{end}")
    (best,) = read_records([tmp_path])
    assert (best.id, best.columns["ptm"], best.columns["prediction"]) == ("d", 0.875, "rank_001")


def test_folders_are_searched_through_and_names_stay_unique(tmp_path: Path) -> None:
    write_chai(tmp_path / "a" / "binder", AS_DRAWN)
    write_chai(tmp_path / "b" / "binder", [LOW])
    write_boltz(tmp_path / "deep" / "er" / "boltz_results_x", "binder", BY_RANK)
    write_colabfold(tmp_path / "z", "one", BY_RANK)
    write_colabfold(tmp_path / "z", "two", [LOW])
    write_fasta(tmp_path / "more.fasta", [ProteinRecord("plain", "MKT")])
    (tmp_path / ".hidden").mkdir()
    shutil.copytree(tmp_path / "z", tmp_path / ".hidden" / "z")
    records = read_records([tmp_path])
    assert [each.id for each in records] == [
        *("binder", "binder#2", "binder#3", "one", "two", "plain"),
    ]
    assert [each.columns.get("ptm") for each in records] == pytest.approx(
        [0.875, 0.5, 0.875, 0.875, 0.5, None]
    )


def test_names_of_designs_may_hold_anything(tmp_path: Path) -> None:
    names = ["a_model_1", "x[1]", "d_relaxed_2", "a b", "fold_me"]
    for name in names:
        write_boltz(tmp_path / "boltz", name, BY_RANK)
        write_colabfold(tmp_path / "cf", name, BY_RANK)
        write_alphafold3(tmp_path / "af3", name, AS_DRAWN)
    records = read_records([tmp_path])
    stems = [each.header.get("name", each.id).partition("#")[0] for each in records]
    assert sorted(stems) == sorted(3 * names)
    assert [each.columns["mean_plddt"] for each in records] == pytest.approx([90.0] * 15)
    assert len(read_records([tmp_path], reading=ALL)) == 3 * 15


def test_links_are_followed_once(tmp_path: Path) -> None:
    write_chai(tmp_path / "elsewhere" / "d", AS_DRAWN)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "in")
    assert [each.id for each in read_records([tmp_path / "in"])] == ["d"]


def test_a_ligand_leaves_no_doubt_or_no_value(tmp_path: Path) -> None:
    bound = Model(ptm=0.75, iptm=0.5, ligand_atoms=5)
    write_alphafold3(tmp_path / "af3", "d", [bound])
    write_boltz(tmp_path / "boltz", "d", [bound])
    named, unnamed = read_records([tmp_path])
    own = bound.num_residues
    assert named.columns["mean_pae"] == pytest.approx(bound.pae[:own, :own].mean(), rel=1e-12)
    assert (named.columns["ptm"], named.columns["iptm"]) == (bound.chain_ptm[0], 0.5)
    assert unnamed.columns["complex_pae"] == pytest.approx(bound.pae.mean(), rel=1e-12)
    assert (unnamed.columns["complex_ptm"], unnamed.columns["iptm"]) == (0.75, 0.5)
    assert not {"ptm", "mean_pae"} & set(unnamed.columns)  # which token is whose is not stated


def test_confidences_beside_a_file_that_is_named_itself(tmp_path: Path) -> None:
    write_alphafold3(tmp_path, "d", AS_DRAWN)
    write_boltz(tmp_path, "e", BY_RANK)
    best, second = tmp_path / "d" / "d_model.cif", tmp_path / "predictions/e/e_model_1.cif"
    columns = [read_structure(path)[0].columns for path in (best, second)]
    assert [each["ptm"] for each in columns] == [HIGH.ptm, MIDDLE.ptm]
    assert [each["mean_pae"] for each in columns] == [HIGH.pae.mean(), MIDDLE.pae.mean()]


def edited(pattern: str, edit: Callable[[dict], object]) -> Callable[[Path], None]:
    """Change what the JSON files of a name hold."""

    def act(folder: Path) -> None:
        for path in folder.rglob(pattern):
            content = json.loads(path.read_text())
            edit(content)
            path.write_text(json.dumps(content))

    return act


def cut(pattern: str) -> Callable[[Path], None]:
    """Cut files of a name in half."""

    def act(folder: Path) -> None:
        for path in folder.rglob(pattern):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return act


def gone(pattern: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        for path in folder.rglob(pattern):
            path.unlink()

    return act


def archive(pattern: str, **arrays: object) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        for path in folder.rglob(pattern):
            np.savez(path, **arrays)

    return act


def written(pattern: str, text: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        for path in folder.rglob(pattern):
            path.write_text(text)

    return act


def bare_array(folder: Path) -> None:
    for path in folder.rglob("pae_*.npz"):
        with open(path, "wb") as stream:
            np.save(stream, np.zeros((2, 2)))


BAD = [
    ("colabfold", gone("*_scores_rank_001*"), ["d_scores_rank_001", "missing"]),
    ("colabfold", cut("*_scores_rank_001*"), ["d_scores_rank_001", "cannot be read"]),
    ("colabfold", edited("*_scores_*", lambda each: each.update(pae=[[1.0]])), ["PAE of 1 res"]),
    ("colabfold", edited("*_scores_*", lambda each: each["plddt"].pop()), ["21 values of pLDDT"]),
    ("colabfold", edited("*_scores_*", lambda each: each.update(ptm="high")), ["ptm", "'high'"]),
    ("colabfold", edited("*_scores_*", lambda each: each.update(ptm=87)), ["ptm is 87"]),
    ("colabfold", written("*_scores_*", "[1, 2]"), ["no JSON object"]),
    ("boltz", gone("confidence_*"), ["confidence_d_model_0.json", "missing"]),
    ("boltz", cut("confidence_*"), ["confidence_d_model_0.json", "cannot be read"]),
    ("boltz", cut("pae_*"), ["pae_d_model_0.npz", "cannot be read"]),
    ("boltz", archive("pae_*", pae=np.zeros((3, 3))), ["PAE of 3 residues", "22 residues"]),
    ("boltz", archive("pae_*", pae=np.zeros(22)), ["no square matrix"]),
    ("boltz", archive("pae_*", pae=np.full((22, 22), np.nan)), ["finite"]),
    ("boltz", archive("pae_*", pae=np.array([{}], dtype=object)), ["cannot be read"]),
    ("boltz", bare_array, ["no NumPy archive"]),
    ("boltz", edited("confidence_*", lambda each: each.update(chains_ptm=[1])), ["chains_ptm"]),
    ("boltz", cut("*_model_0.cif"), ["d_model_0.cif", "cut off"]),
    ("chai", gone("scores.model_idx_1*"), ["scores.model_idx_1.npz", "missing", "3 models"]),
    ("chai", cut("scores.model_idx_2*"), ["scores.model_idx_2.npz", "cannot be read", "best"]),
    ("alphafold3", gone("d_summary_confidences.json"), ["d_summary_confidences.json", "missing"]),
    ("alphafold3", cut("d_confidences.json"), ["d_confidences.json", "cannot be read"]),
    ("alphafold3", edited("d_conf*", lambda each: each["pae"].pop()), ["no square matrix"]),
    ("alphafold3", edited("d_conf*", lambda each: each["token_chain_ids"].pop()), ["22 tokens"]),
    ("alphafold3", edited("d_sum*", lambda each: each.update(chain_ptm=1)), ["chain_ptm"]),
    ("alphafold3", edited("d_conf*", lambda each: each.update(token_chain_ids=7)), ["no list"]),
    ("server", cut("*summary_confidences_0*"), ["summary_confidences_0.json", "best"]),
    ("server", edited("*full_data_1*", lambda each: each.update(pae="x")), ["no matrix"]),
]


@pytest.mark.parametrize(("tool", "damage", "named"), BAD)
def test_what_cannot_be_read_rightly_is_a_row_with_its_reason(
    tool: str, damage: Callable[[Path], None], named: list[str], tmp_path: Path
) -> None:
    write, by_rank, *_ = TOOLS[tool]
    write(tmp_path, BY_RANK if by_rank else AS_DRAWN)
    damage(tmp_path)
    write_colabfold(tmp_path / "others", "good", [HIGH])
    records = {each.id: each for each in read_records([tmp_path], reading=LENIENT)}
    assert set(records) == {"d", "good"}
    assert records["good"].problem is None and records["good"].columns["ptm"] == HIGH.ptm
    problem = records["d"].problem
    assert problem is not None and all(each in problem for each in named), problem
    with pytest.raises(UserError):
        read_records([tmp_path])


def test_a_missing_pae_is_no_fault(tmp_path: Path) -> None:
    write_boltz(tmp_path / "b", "d", BY_RANK)
    write_alphafold3(tmp_path / "a", "d", AS_DRAWN)
    for path in [*tmp_path.rglob("pae_*.npz"), *tmp_path.rglob("*_confidences.json")]:
        if "summary" not in path.name:
            path.unlink()
    for record in read_records([tmp_path]):
        assert record.columns["ptm"] == HIGH.ptm and "mean_pae" not in record.columns


@pytest.mark.parametrize("zipped", [False, True])
def test_an_empty_folder_is_refused(tmp_path: Path, zipped: bool) -> None:
    (tmp_path / "predictions").mkdir()
    (tmp_path / "log.txt").write_text("nothing")
    if zipped:
        (tmp_path / "fold_d.zip").write_bytes(b"PK")
    named = "unpack fold_d.zip" if zipped else "AlphaFold 3"
    with pytest.raises(UserError, match=named):
        read_records([tmp_path])


def test_the_table_holds_what_the_folder_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_boltz(tmp_path / "in" / "boltz_results_d", "d", of_complex(BY_RANK))
    write_chai(tmp_path / "in" / "e", AS_DRAWN)
    write_chai(tmp_path / "in" / "f", AS_DRAWN)
    (tmp_path / "in" / "f" / "scores.model_idx_0.npz").unlink()
    result = score(quick_scores(tmp_path / "in", tmp_path / "s.csv"))
    said = capsys.readouterr().err
    assert "boltz 2, chai 1" in said and "--all-models" in said
    table = read_scores(tmp_path / "s.csv").set_index("id")
    assert table["status"].to_dict() == {"d_A": "ok", "d_B": "ok", "e": "ok", "f": "failed"}
    assert result.num_failed == 1
    best = of_complex([HIGH])[0]
    for chain in best.chains:
        expected = best.columns(chain)
        found = table.loc[f"d_{chain}", list(expected)].to_dict()
        assert found == pytest.approx(expected, rel=1e-5)
    assert table["predictor"].to_dict() | {"f": ""} == {
        **dict.fromkeys(("d_A", "d_B"), "boltz"), "e": "chai", "f": ""
    }  # fmt: skip
    assert table["foldable"].isna().to_dict()["e"]  # no PAE, so that the rule cannot be asked
    every = score(quick_scores(tmp_path / "in", tmp_path / "all.csv", all_models=True))
    assert len(every.table) == 6 + 3 + 3 and every.num_failed == 1
