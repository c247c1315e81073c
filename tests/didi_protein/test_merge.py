"""`merge`: shards of designs and of scores, in the order of the whole; and `info`."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from generate_fixtures import design, designs, run_program

from didi_core.commands.generating.files import generate_json_path
from didi_core.commands.merge import open_shards
from didi_core.errors import UserError
from didi_core.io.shards import Shard, shard_record
from didi_protein.generating.options import GenerateResult
from didi_protein.info import info
from didi_protein.merge import MergeOptions, ShardsMissing, merge
from didi_protein.scoring.table import build_table, read_scores, summary_path, write_scores


def make_shards(model: Path, folder: Path, count: int, **changes: Any) -> list[GenerateResult]:
    return [
        design(model, folder / f"part{index}.fasta", shard=f"{index}/{count}", **changes)
        for index in range(1, count + 1)
    ]


def merged(parts: list[GenerateResult], out: Path, **changes: Any) -> Any:
    return merge(MergeOptions(shards=[part.fasta for part in parts], out=out, **changes))


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_shards_of_designs_become_the_whole(model: Path, tmp_path: Path, count: int) -> None:
    whole = design(model, tmp_path / "whole.fasta", num=40)
    parts = make_shards(model, tmp_path, count, num=40)
    if count == 1:
        with pytest.raises(UserError, match="was not written with --shard"):
            merged(parts, tmp_path / "all.fasta")
        return
    result = merged(parts[::-1], tmp_path / "all.fasta")
    assert (tmp_path / "all.fasta").read_bytes() == whole.fasta.read_bytes()
    assert (result.num_records, result.num_shards, result.num_failed) == (40, count, 0)
    left = json.loads(result.summary.read_text())
    right = json.loads(whole.summary.read_text())
    same = ("num_designs", "num_records", "calls_made", "redraws", "failed", "versions")
    assert [left[name] for name in same] == [right[name] for name in same]
    assert left["mean_nfe"] == pytest.approx(right["mean_nfe"])
    assert left["seconds"] == pytest.approx(sum(part.seconds for part in parts))
    assert left["peak_memory"] == max(part.peak_memory for part in parts)


def test_redraws_for_repeats_are_the_same_in_shards(model: Path, tmp_path: Path) -> None:
    changes = {"num": 40, "length": "60", "temperature": 0.5, "max_repeat": 0.2}
    whole = design(model, tmp_path / "whole.fasta", **changes)
    assert whole.redraws > 0
    merged(make_shards(model, tmp_path, 3, **changes), tmp_path / "all.fasta")
    assert (tmp_path / "all.fasta").read_bytes() == whole.fasta.read_bytes()


def test_copies_across_shards_are_found_by_merge(model: Path, tmp_path: Path) -> None:
    changes = {"num": 120, "length": "2", "unique": True, "batch_tokens": 320}
    parts = make_shards(model, tmp_path, 2, **changes)
    sequences = [record.sequence for part in parts for record in designs(part)]
    num_copies = len(sequences) - len(set(sequences))
    assert num_copies > 0
    result = merged(parts, tmp_path / "all.fasta")
    assert result.num_records == len(set(sequences))
    assert result.num_failed == num_copies + sum(len(part.failed) for part in parts)
    summary = json.loads(result.summary.read_text())
    reasons = [each["reason"] for each in summary["failed"]]
    assert sum("of another shard" in reason for reason in reasons) == num_copies


def test_of_very_many_missing_shards_the_first_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id\nx\n")
    count = 10**15  # as a damaged file may say: all by name would not fit memory
    shard = {"index": 2, "count": count, "num_records": 1, "records": [0]}
    summary_path(path).write_text(json.dumps({"shard": shard, "settings": {}}))
    with pytest.raises(ShardsMissing, match="and 999,999,999,999,979 more shards") as caught:
        open_shards([path], summary_path)
    assert f"shard 1/{count}\n" in str(caught.value) and f"shard 2/{count}" not in str(caught.value)
    assert caught.value.num_failed == count - 1


@pytest.mark.parametrize(
    "change",
    [
        {"count": None},
        {"index": []},
        {"index": 3},
        {"records": "01"},
        {"records": [True]},
        {"command": 1},
    ],
    ids=str,
)
def test_a_damaged_shard_record_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id\nx\n")
    shard = {"index": 1, "count": 2, "num_records": 1, "records": [0], **change}
    summary_path(path).write_text(json.dumps({"shard": shard, "settings": {}}))
    with pytest.raises(UserError, match=r"a\.summary\.json cannot be read: its shard"):
        open_shards([path], summary_path)


def test_the_command_of_a_missing_shard_is_told_and_makes_it(model: Path, tmp_path: Path) -> None:
    changes = {"sampler": "remdm(eta=0.1)", "exclude": "CW", "unique": True, "seed": 3}
    whole = design(model, tmp_path / "whole.fasta", **changes)
    parts = make_shards(model, tmp_path / "my parts", 3, **changes)
    parts[1].fasta.unlink()
    with pytest.raises(ShardsMissing) as caught:
        merged(parts[::2], tmp_path / "all.fasta")
    told = str(caught.value).partition("shard 2/3: ")[2]
    assert str(parts[1].fasta) in told
    done = run_program(
        *shlex.split(told)[1:], "--overwrite"
    )  # what stands beside it is still there
    assert done.returncode == 0, done.stderr
    merged(parts, tmp_path / "all.fasta")
    assert (tmp_path / "all.fasta").read_bytes() == whole.fasta.read_bytes()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("part.3.fasta", "part.12.fasta"),
        ("s03.csv", "s12.csv"),
        ("shard3of3.fasta.gz", "shard3of3.12.fasta.gz"),
        ("designs.fasta", "designs.12.fasta"),
    ],
)
def test_a_missing_shard_is_called_as_another_is(name: str, expected: str, tmp_path: Path) -> None:
    record = shard_record(Shard(3, 20), 1, [0], "didi-protein score d.fasta")
    (tmp_path / name).write_text("")
    side = generate_json_path(tmp_path / name)
    side.write_text(json.dumps({"shard": record.as_json()}))
    with pytest.raises(ShardsMissing) as caught:
        open_shards([tmp_path / name], generate_json_path)
    asked = f"didi-protein score d.fasta --shard 12/20 --out {tmp_path / expected}"
    assert f"shard 12/20: {asked}\n" in str(caught.value)


def test_a_missing_shard_is_listed_and_nothing_is_written(model: Path, tmp_path: Path) -> None:
    parts = make_shards(model, tmp_path, 3)
    out = tmp_path / "all.fasta"
    done = run_program("merge", parts[0].fasta, parts[2].fasta, "--out", out)
    assert done.returncode == 1
    assert "shard 2/3" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()

    parts[1].fasta.rename(tmp_path / "part2.fasta.partial")
    with pytest.raises(ShardsMissing, match=r"part2\.fasta \(unfinished: .*--resume\)"):
        merged(parts, out)
    with pytest.raises(ShardsMissing, match=r"nowhere\.fasta \(no such file\)"):
        merge(MergeOptions(shards=[tmp_path / "nowhere.fasta"], out=out))


def test_shards_that_do_not_belong_together_are_refused(model: Path, tmp_path: Path) -> None:
    parts = make_shards(model, tmp_path, 2)
    other = tmp_path / "other"
    (foreign,) = make_shards(model, other, 2, seed=9)[1:]
    with pytest.raises(
        UserError, match="shards of different requests: they differ in patterns, seed"
    ):
        merged([parts[0], foreign], tmp_path / "all.fasta")
    with pytest.raises(UserError, match="are both shard 1/2"):
        merged([parts[0], parts[0], parts[1]], tmp_path / "all.fasta")
    with pytest.raises(UserError, match="all FASTA or all score tables"):
        merged(parts, tmp_path / "all.csv")
    parts[0].fasta.write_text(">cut\nAAA\n")
    with pytest.raises(UserError, match="give the file as it was written"):
        merged(parts, tmp_path / "all.fasta")
    parts[0].summary.unlink()
    with pytest.raises(UserError, match="is gone"):
        merged(parts, tmp_path / "all.fasta")


def test_an_output_that_exists_is_refused(model: Path, tmp_path: Path) -> None:
    parts = make_shards(model, tmp_path, 2)
    out = tmp_path / "all.fasta"
    merged(parts, out)
    with pytest.raises(UserError, match=r"all\.fasta exists"):
        merged(parts, out)
    merged(parts, out, overwrite=True)


def write_table_shard(path: Path, index: int, count: int, num_records: int) -> pd.DataFrame:
    """What `score --shard` leaves: some rows, and a summary that says which."""
    places = list(range(index - 1, num_records, count))
    rows = [
        {"id": f"r{place}", "length": 4, "status": "ok", "sequence": "ACDE" if place % 2 else "WW"}
        | {"judge_perplexity": 3.25 + place, "repeat_fraction": 0.0, "error": "", "seed": place}
        for place in places
    ]
    table = build_table(rows)
    write_scores(path, table)
    record = shard_record(Shard(index, count), num_records, places)
    side = {"settings": {"clean": False}, "inputs": ["all.fasta"], "num_records": len(rows)}
    side |= {"judge": {"name": "tiny-judge"}, "shard": record.as_json()}
    summary_path(path).write_text(json.dumps(side))
    return table


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_shards_of_scores_become_one_table(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"s{index}{suffix}" for index in (1, 2, 3)]
    for index, path in enumerate(paths, start=1):
        write_table_shard(path, index, 3, 10)
    out = tmp_path / f"all{suffix}"
    result = merge(MergeOptions(shards=[paths[2], paths[0], paths[1]], out=out))
    table = read_scores(out)
    assert list(table["id"]) == [f"r{place}" for place in range(10)]
    assert list(table["judge_perplexity"]) == [3.25 + place for place in range(10)]
    assert result.num_records == 10
    summary = json.loads(result.summary.read_text())
    assert summary["judge"] == {"name": "tiny-judge"}
    assert not {"set", "num_records", "shard"} & set(summary)


def test_a_missing_shard_of_scores_is_listed(tmp_path: Path) -> None:
    write_table_shard(tmp_path / "s1.csv", 1, 2, 10)
    with pytest.raises(ShardsMissing, match="shard 2/2"):
        merge(MergeOptions(shards=[tmp_path / "s1.csv"], out=tmp_path / "all.csv"))


def test_info_says_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = info()
    assert found.versions["torch"]
    assert found.attention in ("sdpa", "flash")
    assert set(found.bundled_models) == {"tiny", "tiny-student", "tiny-judge"}
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    snapshot = tmp_path / "hub" / "models--someone--model" / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    shutil.copytree(snapshot.parents[1], tmp_path / "hub" / "models--someone--students")
    (tmp_path / "hub" / "models--someone--students" / "refs").mkdir()
    (tmp_path / "hub" / "models--someone--students" / "refs" / "step_1").write_text("0")
    done = run_program("info", "--json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["device"].startswith("cpu")
    assert shown["cached_models"] == ["someone/model", "someone/students@step_1"]
    assert "torch" in run_program("info").stdout
