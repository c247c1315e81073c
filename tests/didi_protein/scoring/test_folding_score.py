"""`score --fold`: every record ends as a row, whatever happens to it or to the run."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
import torch
from folding_fixtures import build_folding_network, fold_sequences, write_folding_model
from folding_scenario import NUM_RECORDS, flags_of, options_of, simulate_memory, write_records
from scoring_fixtures import write_judge

from didi_core.commands import processes
from didi_core.errors import UserError
from didi_protein.folding import esmfold, scorer
from didi_protein.folding.fold import FoldRequest
from didi_protein.folding.network import open_folding_model
from didi_protein.folding.trunk import run_network
from didi_protein.score import score
from didi_protein.scoring import folding
from didi_protein.scoring.rows import Row
from didi_protein.scoring.table import read_scores
from didi_protein.sequences.fasta import ProteinRecord, write_fasta

HELPERS = Path(__file__).parents[1]
CONFIDENCE = ["mean_plddt", "mean_plddt_all_atom", "ptm", "mean_pae"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_folding_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def options(model, tmp_path):
    path = tmp_path / "designs.fasta"
    sequences = fold_sequences(8, 5, 20)
    write_fasta(path, [ProteinRecord(f"d{i}", each) for i, each in enumerate(sequences)])
    return options_of(path, tmp_path, model)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory, model):
    """The 200 records scored without interruption."""
    folder = tmp_path_factory.mktemp("scenario")
    options = options_of(write_records(folder / "all.fasta"), folder / "one", model)
    with pytest.MonkeyPatch.context() as patch:
        failures = simulate_memory(patch.setattr)
        result = score(options)
    return options, result, failures


def test_two_hundred_records_are_two_hundred_rows(scenario):
    options, result, failures = scenario
    table = read_scores(options.out)
    pd.testing.assert_frame_equal(table, result.table)
    assert len(table) == NUM_RECORDS
    assert table["status"].value_counts().to_dict() == {"ok": 185, "invalid": 13, "oom": 2}
    assert result.num_failed == 15
    rows = table.set_index("id")
    assert table["id"].is_unique
    assert rows.loc[["design_9", "design_9#2"], "status"].tolist() == ["ok", "ok"]
    assert rows.loc["giant", "error"].endswith("GB are free")
    assert "1 x 5000 residues need about" in rows.loc["giant", "error"]
    never = rows.loc["never_fits"]
    assert never["status"] == "oom" and "even alone and in chunks of 8" in never["error"]
    scored = table["status"] == "ok"
    assert table.loc[scored, CONFIDENCE].notna().all(axis=None)
    assert table.loc[~scored, [*CONFIDENCE, "foldable", "pdb_file"]].isna().all(axis=None)
    # The same sequence under another id has the same confidence.
    assert rows.loc["design_19#2", "ptm"] == pytest.approx(rows.loc["design_19", "ptm"], abs=1e-5)
    # First the batch is halved down to the record, then the chunks shrink.
    sizes = [size for size, _ in failures]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 1
    assert [chunk for size, chunk in failures if size == 1] == [None, 64, 32, 16, 8]


def test_each_row_that_is_ok_has_a_structure_of_its_own(scenario):
    options, result, _ = scenario
    scored = result.table[result.table["status"] == "ok"]
    paths = [(options.out.parent / name).resolve() for name in scored["pdb_file"]]
    assert len({str(path).casefold() for path in paths}) == 185
    assert set(paths) == {path.resolve() for path in options.pdb_dir.iterdir()}


def test_rows_are_those_of_a_record_alone(scenario, model):
    table = scenario[1].table
    assert open_folding_model(str(model)).settings == {"recycles": 1}
    opened = open_folding_model(str(model), request=FoldRequest(recycles=0))
    scorer_alone = scorer.FoldScorer(opened, scorer.FoldFiles({}, Path()))
    for row in table[table["status"] == "ok"].iloc[::23].itertuples():
        alone = scorer_alone.score([ProteinRecord(row.id, row.sequence)])[0]
        assert row.mean_plddt == pytest.approx(alone["mean_plddt"], abs=1e-3)
        assert row.ptm == pytest.approx(alone["ptm"], abs=1e-5)
        assert row.mean_pae == pytest.approx(alone["mean_pae"], abs=1e-3)


def _launch(options, seconds=0.0, stderr=None, **environment):
    paths = os.pathsep.join([str(HELPERS), *sys.path])
    program = [sys.executable, str(HELPERS / "folding_scenario.py"), str(seconds)]
    return subprocess.Popen(
        [*program, *flags_of(options)],
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths} | environment,
    )


def _structures(folder):
    """When each structure there was written; a kill may leave the start of one, with a dot."""
    found = folder.glob("[!.]*.pdb") if folder.is_dir() else ()
    return {path.name: path.stat().st_mtime_ns for path in found}


def test_a_killed_command_resumes_to_the_same_table_and_ends_with_status_1(
    scenario, tmp_path, model
):
    whole = scenario[0]
    options = replace(options_of(whole.inputs[0], tmp_path, model), resume=True)
    process = _launch(options, 0.1)
    deadline = time.monotonic() + 300
    while len(_structures(options.pdb_dir)) < 90:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not options.out.exists()
    kept = _structures(options.pdb_dir)
    assert len(kept) < 185
    process = _launch(options, stderr=subprocess.PIPE)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 1
    assert f"15 of {NUM_RECORDS} records failed" in said and str(options.out) in said
    assert options.out.read_bytes() == whole.out.read_bytes()
    assert len(read_scores(options.out)) == NUM_RECORDS
    written = _structures(options.pdb_dir)
    assert sorted(written) == sorted(path.name for path in whole.pdb_dir.iterdir())
    # What was folded before the kill was not folded again, but for a batch that was under way.
    again = [name for name, when in kept.items() if written[name] != when]
    assert len(again) < len(kept) / 2


def test_two_processes_of_torchrun_write_what_one_writes(scenario, tmp_path, model, monkeypatch):
    """This process is the first of the two."""
    whole = scenario[0]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    options = options_of(whole.inputs[0], tmp_path, model)
    second = _launch(options, RANK="1", LOCAL_RANK="1", **shared)
    for name, value in (shared | {"RANK": "0", "LOCAL_RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "PATIENCE", timedelta(seconds=300))
    simulate_memory(monkeypatch.setattr)
    try:
        score(options)
        assert second.wait(timeout=300) == 0
    finally:
        second.kill()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    assert (tmp_path / "scores.csv").read_bytes() == whole.out.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "pdb",
        "scores.csv",
        "scores.summary.json",
    ]


def test_shards_together_are_the_whole(scenario, tmp_path, model, monkeypatch):
    whole = scenario[1].table
    simulate_memory(monkeypatch.setattr)
    parts = []
    for index in (1, 2):
        part = options_of(scenario[0].inputs[0], tmp_path, model, shard=f"{index}/2")
        result = score(replace(part, out=tmp_path / f"part{index}.csv"))
        parts.append(result.table.set_axis(result.summary["shard"]["records"]))
    together = pd.concat(parts).sort_index()
    pd.testing.assert_frame_equal(
        together.drop(columns="cluster"), whole.drop(columns="cluster"), check_dtype=False
    )


def test_thresholds_are_flags_and_need_no_folding(options, monkeypatch):
    first = score(options)
    rows = first.table
    assert first.summary["fold"]["foldable"] == {"min_plddt": 80, "min_ptm": 0.7, "max_pae": 10}
    assert not rows["foldable"].any() and rows["foldable"].notna().all()
    monkeypatch.setattr(esmfold, "run_network", None)  # nothing is folded again
    lenient = replace(options, resume=True, foldable_plddt=0, foldable_ptm=0, foldable_pae=31)
    assert score(lenient).table["foldable"].all()
    for name, column in (("plddt", "mean_plddt"), ("ptm", "ptm"), ("pae", "mean_pae")):
        middle = float(rows[column].sort_values().iloc[[3, 4]].mean())
        asked = score(replace(lenient, **{f"foldable_{name}": middle})).table
        expected = rows[column] < middle if name == "pae" else rows[column] > middle
        assert asked["foldable"].tolist() == expected.tolist()
        assert 0 < expected.sum() < len(rows)


def test_resume_folds_again_what_changed_or_lost_its_files(options, monkeypatch, tmp_path):
    score(options)
    folded, fold = [], scorer.FoldScorer.score
    monkeypatch.setattr(
        scorer.FoldScorer, "score", lambda self, rows: folded.extend(rows) or fold(self, rows)
    )
    before = options.out.read_bytes()
    score(replace(options, resume=True))
    assert folded == []
    (options.pdb_dir / "d3.pdb").unlink()
    score(replace(options, resume=True))
    assert [record.id for record in folded] == ["d3"] and options.out.read_bytes() == before
    folded.clear()
    score(replace(options, resume=True, per_residue=tmp_path / "residues"))
    assert len(folded) == 8 and len(list((tmp_path / "residues").iterdir())) == 8
    folded.clear()
    score(replace(options, resume=True, fold_recycles=1))
    assert len(folded) == 8 and options.out.read_bytes() != before
    folded.clear()
    score(replace(options, resume=True, fold_recycles=1, fold_chunk_size=4, fold_pairs=100))
    assert folded == []  # neither changes a result


def test_the_likeliest_are_folded_first_and_no_more_than_top_asks_for(
    options, tmp_path, monkeypatch
):
    folded, fold = [], scorer.FoldScorer.score
    monkeypatch.setattr(
        scorer.FoldScorer, "score", lambda self, rows: folded.extend(rows) or fold(self, rows)
    )
    judged = replace(options, judge=str(write_judge(tmp_path / "judge")), fold_pairs=1)
    whole = score(judged).table.set_index("id")
    ranked = whole.sort_values("judge_perplexity").index.tolist()
    assert [record.id for record in folded] == ranked
    # By hand: two at a time, the shorter of them first, until three of a pLDDT above the middle.
    middle = float(whole["mean_plddt"].sort_values().iloc[[3, 4]].mean())
    order = [
        name
        for start in range(0, 8, 2)
        for name in sorted(ranked[start : start + 2], key=lambda each: whole.loc[each, "length"])
    ]
    passes = (whole["mean_plddt"] > middle)[order].cumsum()
    expected = order[: passes.tolist().index(3) + 1]
    assert 3 <= len(expected) < 8
    monkeypatch.setattr(folding, "AT_ONCE", 2)
    rule = {"foldable_plddt": middle, "foldable_ptm": 0, "foldable_pae": 31}
    asked = replace(judged, top=3, out=tmp_path / "top.csv", pdb_dir=tmp_path / "top", **rule)
    folded.clear()
    result = score(asked)
    assert [record.id for record in folded] == expected
    rows = result.table.set_index("id")
    assert rows.index[rows["mean_plddt"].notna()].tolist() == sorted(expected)
    assert rows["status"].eq("ok").all() and rows["judge_perplexity"].notna().all()
    assert rows["foldable"].fillna(False).sum() == 3
    assert result.summary["fold"]["top"] == 3
    (said,) = (each for each in result.summary["warnings"] if each.startswith("--top 3"))
    assert f"{len(expected)} of 8 designs folded" in said
    # The others can follow, and nothing is folded twice.
    folded.clear()
    rest = score(replace(asked, top=None, resume=True)).table.set_index("id")
    assert sorted(record.id for record in folded) == sorted(set(ranked) - set(expected))
    pd.testing.assert_frame_equal(rest[CONFIDENCE], whole[CONFIDENCE])
    # What was folded stays, also where fewer are asked for.
    folded.clear()
    kept = score(replace(asked, top=1, resume=True)).table.set_index("id")
    assert folded == []
    pd.testing.assert_frame_equal(kept[CONFIDENCE], whole[CONFIDENCE])


def test_one_perplexity_ranks_all_rows_and_a_failed_one_is_not_among_the_foldable(options):
    rows = [Row(ProteinRecord(f"d{i}", "ACD")) for i in range(3)]
    for row, judge, pseudo in zip(rows, (9.0, None, 8.0), (1.0, 2.0, 3.0), strict=True):
        row.values |= {"pseudo_perplexity": pseudo, "mean_plddt": 90, "ptm": 0.9, "mean_pae": 1}
        row.values |= {} if judge is None else {"judge_perplexity": judge}
    asked = replace(options, top=3, fold_pairs=1)
    assert folding.folding_order(asked, rows, [[0, 1, 2]]) == [[2], [0], [1]]
    assert folding.has_enough(asked, rows)
    rows[1].fail("failed", "judge: nan is not a finite number")
    assert not folding.has_enough(asked, rows)


def test_flags_reach_the_network(options, monkeypatch):
    seen = []

    def spy(network, sequences, recycles, chunk_size):
        dtype = network.esm.embeddings.word_embeddings.weight.dtype
        seen.append((len(sequences), recycles, chunk_size, dtype))
        return run_network(network, sequences, recycles, chunk_size)

    monkeypatch.setattr(esmfold, "run_network", spy)
    one = score(options).table
    assert max(count for count, *_ in seen) > 1
    seen.clear()
    changed = replace(
        options,
        fold_pairs=1,
        fold_chunk_size=3,
        fold_recycles=None,
        fold_precision="bf16",
        pdb_dir=None,
        overwrite=True,
    )
    other = score(changed)
    assert other.table["pdb_file"].isna().all()
    assert set(seen) == {(1, 1, 3, torch.bfloat16)}
    assert other.summary["fold"]["precision"] == "bf16" and other.summary["fold"]["recycles"] == 1
    assert not (one["mean_plddt"] == other.table["mean_plddt"]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": "none"}, "--pdb-dir"),
        ({"fold": "none", "pdb_dir": None, "fold_pairs": None, "top": 3}, "--top 3: nothing is"),
        ({"top": 0}, "--top 0 must be 1 or more"),
        ({"top": 3, "shard": "1/2"}, "leave out --shard"),
        ({"fold_recycles": -1}, "--fold-recycles -1 must be 0 or more"),
        ({"fold_chunk_size": 0}, "--fold-chunk-size 0"),
        ({"fold_pairs": 0}, "--fold-pairs 0"),
        ({"foldable_plddt": 101}, "--foldable-plddt 101"),
        ({"foldable_ptm": -0.1}, "--foldable-ptm -0.1"),
        ({"foldable_pae": 99}, "--foldable-pae 99"),
        ({"fold_precision": "int8"}, "--fold-precision int8"),
        ({"fold": "esmfold", "offline": True}, "didi-protein download"),
        ({"fold": "/no/such/folder"}, "/no/such/folder"),
    ],
)
def test_bad_usage_is_refused(options, changes, message, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError) as caught:
        score(replace(options, **changes))
    assert message in str(caught.value)
    assert not options.out.exists()


def test_structures_that_exist_are_not_replaced_unasked(options):
    options.pdb_dir.mkdir()
    (options.pdb_dir / "d2.pdb").write_text("mine")
    with pytest.raises(UserError, match=r"--pdb-dir .*d2\.pdb exists"):
        score(options)
    assert (options.pdb_dir / "d2.pdb").read_text() == "mine"
    score(replace(options, overwrite=True))
    assert (options.pdb_dir / "d2.pdb").read_text() != "mine"


def test_weights_must_fit_and_come_as_safetensors_or_bin(model, tmp_path):
    weights = build_folding_network().state_dict()
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "config.json").write_text((model / "config.json").read_text())
    with pytest.raises(UserError, match="no weights"):
        open_folding_model(str(folder))
    torch.save(weights, folder / "pytorch_model.bin")
    pickled = open_folding_model(str(folder))
    assert pickled.fingerprint == open_folding_model(str(model)).fingerprint
    for wrong, message in (
        ({k: v for k, v in weights.items() if k != "ptm_head.bias"}, "missing ptm_head.bias"),
        (weights | {"extra.weight": torch.zeros(2)}, "unexpected extra.weight"),
        (weights | {"ptm_head.bias": torch.zeros(3)}, "of another shape ptm_head.bias"),
        (weights | {"ptm_head.bias": torch.full((64,), torch.nan)}, "not finite: ptm_head.bias"),
    ):
        torch.save(wrong, folder / "pytorch_model.bin")
        with pytest.raises(UserError, match=message):
            open_folding_model(str(folder))
    # As transformers 4 wrote them: frequencies in every layer, and no contact head needed.
    old = {k: v for k, v in weights.items() if "contact_head" not in k and "inv_freq" not in k}
    frequencies = torch.rand(4)
    for layer in range(2):
        name = f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
        old[name] = frequencies
    torch.save(old, folder / "pytorch_model.bin")
    assert torch.isfinite(open_folding_model(str(folder)).network.esm_s_combine).all()


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "esm"}')
    with pytest.raises(UserError, match="describes no ESMFold"):
        open_folding_model(str(tmp_path))
    with pytest.raises(UserError, match=r"--fold tiny: .* describes no ESMFold.* use esmfold"):
        open_folding_model("tiny")
