"""`score` on structures: their confidence, their diversity, and Foldseek where there is one."""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from model_file_fixtures import (
    ALPHAFOLD_DB,
    CRYSTAL,
    SEQUENCE,
    constant_plddt,
    pdb_atoms,
    varied_plddt,
    walk,
    write,
)
from scoring_fixtures import quick_scores

from didi_core.errors import UserError
from didi_protein.score import score
from didi_protein.scoring.show import print_summary
from didi_protein.scoring.table import read_scores
from didi_protein.similarity import foldseek
from didi_protein.structures.parse import alpha_trace, parse_structure
from didi_protein.structures.secondary import secondary_structure

pytest.importorskip("tmtools")
N = len(SEQUENCE)
PATH = os.environ["PATH"].split(os.pathsep)


@pytest.fixture
def options(tmp_path):
    """Three models, two of one shape, and a crystal structure of another length bin."""
    folder = tmp_path / "structures"
    folder.mkdir()
    plddt = constant_plddt(N)
    write(folder / "a.pdb", ALPHAFOLD_DB + pdb_atoms(plddt, alphas=walk(N, 1)))
    write(folder / "b.pdb", ALPHAFOLD_DB + pdb_atoms(plddt - 10, alphas=walk(N, 1) + 30.0))
    write(folder / "c.pdb", ALPHAFOLD_DB + pdb_atoms(plddt - 20, alphas=walk(N, 2)))
    long = SEQUENCE[:20] * 3
    write(folder / "d.pdb", CRYSTAL + pdb_atoms(varied_plddt(60), long, alphas=walk(60, 3)))
    return quick_scores(folder, tmp_path / "scores.csv")


@pytest.fixture
def without_foldseek(monkeypatch):
    places = [each for each in PATH if shutil.which("foldseek", path=each) is None]
    monkeypatch.setenv("PATH", os.pathsep.join(places))


@pytest.mark.usefixtures("without_foldseek")
def test_rows_and_figures_of_structures_given(options, capsys):
    result = score(options)
    rows = result.table.set_index("id")
    assert rows["status"].tolist() == ["ok"] * 4
    mean = constant_plddt(N).round(2).mean()
    assert rows["mean_plddt"].tolist()[:3] == pytest.approx([mean, mean - 10, mean - 20])
    assert pd.isna(rows.loc["d", "mean_plddt"])
    assert "EXPDTA X-RAY" in rows.loc["d", "plddt_source"]
    assert rows["pdb_file"].tolist() == [f"structures/{each}.pdb" for each in "abcd"]
    assert rows["pdb_chain"].tolist() == ["A"] * 4
    assert rows["gravy"].notna().all()
    assert rows["max_reference_tm"].isna().all()
    assert "structure_cluster" not in rows
    pd.testing.assert_frame_equal(read_scores(options.out), result.table)
    figures = result.summary["set"]
    assert figures["mean_plddt"]["mean"] == pytest.approx(mean - 10)
    assert figures["mean_plddt"]["n"] == 3
    shares = [
        secondary_structure(alpha_trace(next(iter(parse_structure(path, "")[0])))[0])
        for path in sorted((options.out.parent / "structures").iterdir())
    ]
    for name, state in (("helix_fraction", "H"), ("strand_fraction", "E")):
        expected = sum(each.count(state) / len(each) for each in shares) / 4
        assert figures[name]["mean"] == pytest.approx(expected) and figures[name]["n"] == 4
    tm = figures["mean_pairwise_tm"]
    assert tm["n"] == 3
    (row,) = tm["by_length"]
    assert (row["min_length"], row["max_length"], row["pairs"]) == (1, 25, 3)
    assert 1 / 3 < tm["mean"] < 1
    assert "tmtools" in result.summary["definitions"]["mean_pairwise_tm"]
    assert result.summary["versions"]["tmtools"][0].isdigit()
    said = capsys.readouterr().err
    assert said.count("Foldseek is not on the PATH") == 1
    assert "1 of 4 chains without a pLDDT: experimental structure" in said
    print_summary(result)
    shown = " ".join(capsys.readouterr().out.split())
    assert "TM between designs" in shown


@pytest.mark.usefixtures("without_foldseek")
@pytest.mark.parametrize(("ptm", "pae", "foldable"), [(0.9, 4.0, True), (0.9, 14.0, False)])
def test_confidence_stated_beside_a_model_passes_the_thresholds(
    options, tmp_path, ptm, pae, foldable
):
    path = write(tmp_path / "x_unrelaxed_m.pdb", pdb_atoms(constant_plddt(N) + 6.5))
    scores = {"pae": [[pae] * N] * N, "ptm": ptm}
    (tmp_path / "x_scores_m.json").write_text(json.dumps(scores))
    (row,) = score(replace(options, inputs=[str(path)], foldable_plddt=70.0)).table.itertuples()
    assert (row.ptm, row.mean_pae, row.foldable) == (ptm, pae, foldable)


@pytest.mark.usefixtures("without_foldseek")
def test_tm_pairs_act_and_shards_measure_no_set(options):
    none = score(replace(options, tm_pairs=0))
    assert none.summary["set"]["mean_pairwise_tm"] is None
    one = score(replace(options, tm_pairs=1, overwrite=True))
    assert one.summary["set"]["mean_pairwise_tm"]["by_length"][0]["pairs"] == 1
    with pytest.raises(UserError, match="--tm-pairs -1"):
        score(replace(options, tm_pairs=-1, overwrite=True))
    shard = score(replace(options, shard="1/2", overwrite=True))
    assert shard.summary["set"]["mean_pairwise_tm"] is None


@pytest.mark.usefixtures("without_foldseek")
def test_resume_and_another_folder_change_nothing(options, tmp_path):
    whole = score(options)
    before = options.out.read_bytes()
    assert score(replace(options, resume=True)).summary["set"] == whole.summary["set"]
    assert options.out.read_bytes() == before
    elsewhere = score(replace(options, out=tmp_path / "deep" / "er" / "scores.csv"))
    assert elsewhere.table["pdb_file"][0] == "../../structures/a.pdb"


@pytest.mark.usefixtures("without_foldseek")
def test_dplm_folders_are_scored_with_their_steps(options, tmp_path):
    folder = tmp_path / "dplm"
    folder.mkdir()
    (folder / "iter_500_L_10.fasta").write_text(">SEQUENCE_0\nMKTAYIAKQR\n>SEQUENCE_1\nGGSGG\n")
    table = score(replace(options, inputs=[str(folder)])).table
    assert table["steps"].tolist() == [500, 500]
    assert "plddt_source" not in table


STAND_IN = """#!{python}
import sys, pathlib
from Bio.PDB import PDBParser
from didi_protein.structures.parse import alpha_trace
from didi_protein.similarity.tm_score import Trace
import tmtools

def traces(folder):
    for path in sorted(pathlib.Path(folder).iterdir()):
        model = PDBParser(QUIET=True).get_structure("x", path)[0]
        yield path.name, Trace(*alpha_trace(next(iter(model))))

def tm(one, other):
    return tmtools.tm_align(one.coordinates, other.coordinates, one.sequence, other.sequence)

verb, *rest = sys.argv[1:]
with open({log!r}, "a") as stream:
    print(*sys.argv[1:], file=stream)
if verb == "version":
    print("stand-in 1")
elif verb == "easy-search":
    with open(rest[2], "w") as out:
        for name, one in traces(rest[0]):
            for _, other in traces(rest[1]):
                print(name + "_A", tm(one, other).tm_norm_chain1, sep="\\t", file=out)
elif verb == "easy-cluster":
    founders = []
    with open(rest[1] + "_cluster.tsv", "w") as out:
        for name, one in traces(rest[0]):
            near = [n for n, other in founders if tm(one, other).tm_norm_chain1 >= 0.5]
            founders += [] if near else [(name, one)]
            print((near or [name])[0], name, sep="\\t", file=out)
if verb in {failing!r}:
    print("line one\\nno memory left")
    sys.exit(3)
"""


def put_stand_in(tmp_path, monkeypatch, failing=()):
    """A program that answers Foldseek's command line with TM-align's scores."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    log = tmp_path / "calls.log"
    program = folder / "foldseek"
    text = STAND_IN.format(python=sys.executable, log=str(log), failing=list(failing))
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), *PATH]))
    foldseek.version.cache_clear()
    return log


def check_foldseek(options, tmp_path):
    """Clusters a and b together; the reference is c itself, moved."""
    reference = tmp_path / "reference"
    reference.mkdir()
    moved = walk(N, 2) @ [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    write(reference / "natural.pdb", CRYSTAL + pdb_atoms(varied_plddt(N), alphas=moved))
    result = score(replace(options, reference=reference))
    rows = result.table.set_index("id")
    clusters = rows["structure_cluster"].tolist()
    assert clusters[0] == clusters[1] == 1
    assert clusters[2] == 2
    tm = rows["max_reference_tm"]
    assert tm["c"] == pytest.approx(1, abs=1e-3)
    assert tm[["a", "b"]].lt(0.8).all()
    assert rows["nearest_reference"].tolist()[:3] == ["natural"] * 3
    figures = result.summary["set"]
    assert figures["num_structure_clusters"] == len(set(clusters))
    assert figures["max_reference_tm"]["mean"] == pytest.approx(tm.mean(), rel=1e-4)
    return result


def test_foldseeks_command_line_and_results(options, tmp_path, monkeypatch, capsys):
    log = put_stand_in(tmp_path, monkeypatch)
    result = check_foldseek(options, tmp_path)
    assert "not on the PATH" not in capsys.readouterr().err
    calls = log.read_text().splitlines()
    (search,) = [each for each in calls if each.startswith("easy-search")]
    (cluster,) = [each for each in calls if each.startswith("easy-cluster")]
    assert "--exhaustive-search 1" in search
    assert "--format-output query,qtmscore" in search
    assert "--threads 1" in search
    definitions = result.summary["definitions"]
    for flags, text in (
        (foldseek.SEARCH_FLAGS, definitions["max_reference_tm"]),
        (foldseek.CLUSTER_FLAGS, definitions["num_structure_clusters"]),
    ):
        assert " ".join(flags) in text
        assert "Foldseek stand-in 1" in text
    assert " ".join(foldseek.CLUSTER_FLAGS) in cluster
    assert result.summary["versions"]["foldseek"] == "stand-in 1"


def test_foldseek_gets_files_within_the_columns_of_pdb(tmp_path, recwarn):
    text = pdb_atoms(constant_plddt(N)).replace("PHE A", "QQQ A").replace("SER A", "SEP A")
    text = text.replace("HIS ", "HISE").replace("  41.50", "    nan").replace("A   1", "A-999")
    path = write(tmp_path / "odd.pdb", text.replace("\n", "\r\n"))
    model, _ = parse_structure(path)
    with foldseek.designs_in(list(model)) as folder:
        ((again,), _) = parse_structure(next((folder / "designs").iterdir()))
    (chain,) = model
    coordinates, letters = alpha_trace(again)
    assert letters == SEQUENCE.replace("F", "X") == alpha_trace(chain)[1]
    assert coordinates == pytest.approx(alpha_trace(chain)[0], abs=1e-3)
    assert [residue.id[1] for residue in again] == list(range(1, N + 1))
    assert not recwarn.list


def test_large_searches_are_not_exhaustive(monkeypatch, tmp_path):
    (tmp_path / "one.pdb").touch()
    assert foldseek.prefilter_flags(5, tmp_path) == foldseek.EXHAUSTIVE_FLAGS
    monkeypatch.setattr(foldseek, "MOST_PAIRS", 4)
    assert foldseek.prefilter_flags(5, tmp_path) == foldseek.FAST_FLAGS


def test_a_failing_foldseek_is_quoted(options, tmp_path, monkeypatch):
    put_stand_in(tmp_path, monkeypatch, failing=["easy-cluster"])
    with pytest.raises(UserError, match=r"easy-cluster failed with status 3.*no memory left"):
        score(options)


@pytest.mark.skipif(shutil.which("foldseek") is None, reason="Foldseek is not on the PATH")
def test_the_real_foldseek(options, tmp_path):
    foldseek.version.cache_clear()
    check_foldseek(options, tmp_path)


@pytest.mark.usefixtures("without_foldseek")
def test_a_file_name_that_is_not_utf8_takes_no_other_with_it(options, tmp_path):
    for name, text in (
        (b"m\xe8.pdb", ALPHAFOLD_DB + pdb_atoms(constant_plddt(N))),
        (b"\xe8.cif", "x"),
    ):
        with open(os.path.join(os.fsencode(tmp_path), b"structures", name), "w") as stream:
            stream.write(text)
    for again in ({}, {"resume": True}):
        table = score(replace(options, tm_pairs=3, **again)).table.set_index("id")
        assert table["status"].to_dict() == dict.fromkeys("abcd", "ok") | {
            "m\\xe8": "ok", "\\xe8": "failed"
        }  # fmt: skip
        assert table["pdb_file"]["m\\xe8"] == "structures/m\\xe8.pdb"
        assert table["mean_plddt"]["m\\xe8"] == table["mean_plddt"]["a"]


@pytest.mark.usefixtures("without_foldseek")
def test_a_structure_that_is_gone_is_named(options):
    from didi_protein.scoring.rows import Row
    from didi_protein.scoring.structure_measures import StructureRequest, measure_structures
    from didi_protein.sequences.fasta import ProteinRecord

    request = StructureRequest(options.out, None, 10, 0, 1, True, True)
    row = Row(ProteinRecord("x", "MKT"), values={"mean_plddt": 80.0, "pdb_file": "gone.pdb"})
    with pytest.raises(UserError, match=r"pdb_file of x: .*gone\.pdb"):
        measure_structures([row], request)
    assert not Path(options.out.parent / "gone.pdb").exists()
