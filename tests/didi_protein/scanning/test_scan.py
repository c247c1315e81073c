"""`scan`: its table, summary and plots; what it resumes, shares, warns of and refuses."""

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from esm_fixtures import reference_model, write_dplm_folder
from scoring_fixtures import random_sequences, write_judge, write_masked, write_uniform
from typer.testing import CliRunner

from didi_core.errors import RecordsFailed, UserError
from didi_protein.app import app
from didi_protein.merge import MergeOptions, merge
from didi_protein.models.judges import open_masked_scorer
from didi_protein.next_commands import after_scan
from didi_protein.scan import ScanOptions, ScanResult, scan
from didi_protein.scanning import scorer as scorer_module
from didi_protein.scanning.heat_map import rows_of
from didi_protein.scanning.scorer import LOG_ODDS, ScanScorer
from didi_protein.scanning.substitutions import scan_sequences
from didi_protein.scoring.journal import KnownScores
from didi_protein.scoring.rows import check_records, score_rows
from didi_protein.sequences.fasta import ProteinRecord
from didi_protein.sequences.training_data import read_training_sequences

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
SEQUENCES = dict(zip("abcdef", random_sequences(6, 20, 60, seed=3), strict=True))


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masked(tmp_path_factory.mktemp("masked") / "m")


def fasta(path: Path, sequences: dict[str, str]) -> Path:
    path.write_text("".join(f">{name}\n{each}\n" for name, each in sequences.items()))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return fasta(tmp_path / "in.fasta", SEQUENCES)


def scanned(model: object, data: Path, out: Path, **changes: Any) -> ScanResult:
    asked: dict[str, Any] = {"quiet": True, "device": "cpu", **changes}
    return scan(ScanOptions(inputs=[str(data)], model=str(model), out=out, **asked))


def rows_of_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


# Table and summary.


def test_the_table_is_the_scan_of_each_sequence(masked: Path, data: Path, tmp_path: Path) -> None:
    result = scanned(masked, data, tmp_path / "s.csv")
    rows = rows_of_table(tmp_path / "s.csv")
    assert list(rows[0]) == [
        *("id", "position", "wild_type", "mutant", "score", "rank", "tolerance", "status", "error")
    ]
    model = open_masked_scorer(str(masked))
    direct = scan_sequences(model.denoiser, model.vocabulary, list(SEQUENCES.values()))
    expected = [
        (name, each.position + 1, each.wild_type, each.mutant, each.rank, each.score)
        for name, found in zip(SEQUENCES, direct, strict=True)
        for each in found.substitutions()
    ]
    assert len(rows) == len(expected) == 19 * sum(map(len, SEQUENCES.values()))
    for row, (name, position, wild_type, mutant, _, score) in zip(rows, expected, strict=True):
        assert (row["id"], row["position"]) == (name, str(position))
        assert (row["wild_type"], row["mutant"], row["status"]) == (wild_type, mutant, "ok")
        assert float(row["score"]) == pytest.approx(score, rel=1e-4, abs=1e-5)
    for name, found in zip(SEQUENCES, direct, strict=True):
        own = [row for row in rows if row["id"] == name]
        by_rank = sorted(own, key=lambda row: int(row["rank"]))
        assert [row["rank"] for row in by_rank] == [str(rank) for rank in range(1, len(own) + 1)]
        scores = [float(row["score"]) for row in by_rank]
        assert scores == sorted(scores, reverse=True)
        tolerance = {int(row["position"]): float(row["tolerance"]) for row in own}
        np.testing.assert_allclose(list(tolerance.values()), found.tolerance, rtol=1e-4)
    assert result.num_failed == 0 and list(result.scans) == list(SEQUENCES)
    summary = json.loads((tmp_path / "s.summary.json").read_text())
    assert summary == result.summary
    first = summary["sequences"][0]
    assert first["most_tolerant"][:3] == [at + 1 for at in result.scans["a"].most_tolerant(3)]
    assert list(first["best"]) == [str(each) for each in result.scans["a"].best(10)]


def test_positions_choose_rows_and_ranks_are_among_them(
    masked: Path, data: Path, tmp_path: Path
) -> None:
    scanned(masked, data, tmp_path / "all.csv")
    scanned(masked, data, tmp_path / "some.csv", positions="12, 3-4,3")
    rows = rows_of_table(tmp_path / "some.csv")
    assert [row["position"] for row in rows if row["id"] == "b"] == [
        each for each in ("3", "4", "12") for _ in range(19)
    ]
    key = ("id", "position", "mutant")
    whole = {
        tuple(row[name] for name in key): row["score"]
        for row in rows_of_table(tmp_path / "all.csv")
    }
    for row in rows:
        expected = float(whole[tuple(row[name] for name in key)])
        assert float(row["score"]) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert sorted(int(row["rank"]) for row in rows if row["id"] == "b") == list(range(1, 58))


@pytest.mark.parametrize("batch_tokens", [1, 700])
def test_batches_change_no_score(
    masked: Path, data: Path, tmp_path: Path, batch_tokens: int
) -> None:
    usual = scanned(masked, data, tmp_path / "a.csv").scans
    other = scanned(masked, data, tmp_path / "b.csv", batch_tokens=batch_tokens).scans
    for name in SEQUENCES:
        np.testing.assert_allclose(other[name].log_odds, usual[name].log_odds, rtol=1e-4, atol=1e-5)


def test_precision_acts_and_inputs_are_read_as_score_reads_them(
    masked: Path, data: Path, tmp_path: Path
) -> None:
    usual = scanned(masked, data, tmp_path / "a.csv").scans
    rough = scanned(masked, data, tmp_path / "b.csv", precision="bf16").scans
    assert 1e-4 < np.abs(rough["a"].log_odds - usual["a"].log_odds).max() < 0.5
    table = tmp_path / "in.tsv"
    table.write_text("name\tprotein\n" + "".join(f"{k}\t{v}\n" for k, v in SEQUENCES.items()))
    columns = {"sequence_column": "protein", "id_column": "name"}
    scanned(masked, table, tmp_path / "t.csv", **columns)
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    packed = tmp_path / "in.fasta.gz"
    packed.write_bytes(gzip.compress(data.read_bytes()))
    scanned(masked, packed, tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_what_cannot_be_scanned_is_a_row_and_takes_nothing_with_it(
    masked: Path, tmp_path: Path
) -> None:
    bad = {"x": "MKXAY", "long": "MK" * 40, "lower": "mktay"}
    data = fasta(tmp_path / "in.fasta", {"a": SEQUENCES["a"], **bad, "b": SEQUENCES["b"]})
    alone = scanned(masked, fasta(tmp_path / "ok.fasta", SEQUENCES), tmp_path / "ok.csv").scans
    result = scanned(masked, data, tmp_path / "s.csv")
    assert (result.num_records, result.num_failed) == (5, 3)
    rows = rows_of_table(tmp_path / "s.csv")
    failed = {row["id"]: row for row in rows if row["status"] != "ok"}
    assert {name: row["status"] for name, row in failed.items()} == {
        "x": "invalid",
        "long": "too_long",
        "lower": "invalid",
    }
    assert "position 3" in failed["x"]["error"] and "--clean" in failed["lower"]["error"]
    assert all(row["position"] == row["score"] == "" for row in failed.values())
    assert list(dict.fromkeys(row["id"] for row in rows)) == ["a", "x", "long", "lower", "b"]
    for name in "ab":
        np.testing.assert_allclose(
            result.scans[name].log_odds, alone[name].log_odds, rtol=1e-4, atol=1e-5
        )
    asked = ["scan", str(data), "--model", str(masked), "--out", str(tmp_path / "t.csv")]
    ended = CliRunner().invoke(app, asked).exception  # exit status 1
    assert isinstance(ended, RecordsFailed) and ended.num_failed == 3
    assert f"x: {failed['x']['error']}" in str(ended), "the first reason"
    cleaned = scanned(masked, data, tmp_path / "c.csv", clean=True)
    assert cleaned.num_failed == 2 and cleaned.scans["lower"].wild_types == "MKTAY"


def test_a_score_that_is_no_number_fails_its_record(masked: Path, tmp_path: Path) -> None:
    model = open_masked_scorer(str(masked))
    head = model.denoiser.head
    model.denoiser.head = lambda hidden: head(hidden) * (float("nan") if len(hidden) == 7 else 1)
    scorer = ScanScorer(model, None, 1_000_000, "float32")
    records = [ProteinRecord("a", SEQUENCES["a"]), ProteinRecord("n", "MKTAYIA")]
    rows = check_records(records, [scorer], False, None)
    known = KnownScores(tmp_path / "j", "scan")
    score_rows(rows, [[0], [1]], [scorer], known, float, {0: 1.0, 1: 1.0})
    assert [row.status for row in rows] == ["ok", "failed"]
    assert "finite" in (rows[1].error or "") and LOG_ODDS not in rows[1].values


def test_json_is_the_summary_and_help_of_the_verb_is_there(
    masked: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "s.csv"
    asked = ["scan", str(data), "--model", str(masked), "--out", str(out), "--json"]
    printed = CliRunner().invoke(app, asked).stdout
    assert json.loads(printed) == json.loads((tmp_path / "s.summary.json").read_text())
    shown = CliRunner().invoke(app, [*asked[:-1], "--overwrite"]).stdout
    assert "a: most tolerant positions" in shown and str(out) in shown
    least = json.loads(printed)["sequences"][0]["least_tolerant"]
    assert f"; least tolerant {', '.join(map(str, least))}; substitutions" in shown


# Interrupted, resumed, shared.


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """The sequences of each call of the network; the third call is interrupted once."""
    calls: list[list[str]] = []

    def counted(denoiser: Any, vocabulary: Any, sequences: Sequence[str], *more: Any) -> Any:
        calls.append(list(sequences))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return scan_sequences(denoiser, vocabulary, sequences, *more)

    monkeypatch.setattr(scorer_module, "scan_sequences", counted)
    yield calls


def test_an_interrupted_scan_goes_on_and_ends_in_the_same_bytes(
    masked: Path, data: Path, tmp_path: Path, passes: list[list[str]]
) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "s.csv"
    small = {"batch_tokens": 200}
    with pytest.raises(KeyboardInterrupt):
        scanned(masked, data, out, **small)
    before = [each for call in passes[:2] for each in call]
    assert not out.exists() and Path(f"{out}.partial").exists()
    with pytest.raises(UserError, match="--resume"):
        scanned(masked, data, out, **small)
    scanned(masked, data, out, resume=True, **small)
    after = [each for call in passes[3:] for each in call]
    assert sorted(before + after) == sorted(SEQUENCES.values())
    assert not Path(f"{out}.partial").exists()
    scanned(masked, data, whole, **small)
    assert out.read_bytes() == whole.read_bytes()
    assert (tmp_path / "s.summary.json").read_text() == whole.with_suffix(
        ".summary.json"
    ).read_text()


def test_what_a_finished_table_holds_is_not_scanned_again(
    masked: Path, data: Path, tmp_path: Path, passes: list[list[str]]
) -> None:
    out = tmp_path / "s.csv"
    some = fasta(tmp_path / "some.fasta", {name: SEQUENCES[name] for name in "abcd"})
    scanned(masked, some, out)
    passes.clear()
    scanned(masked, some, out, resume=True)
    assert passes == []
    scanned(masked, data, out, resume=True)
    assert sorted(each for call in passes for each in call) == sorted(
        SEQUENCES[name] for name in "ef"
    )
    other = write_masked(tmp_path / "other", seed=1)
    for model, positions in ((masked, "2-5"), (other, None)):
        passes.clear()
        scanned(model, data, out, positions=positions, resume=True)
        assert sum(map(len, passes)) == 6


def test_a_table_that_is_scanned_is_never_replaced(masked: Path, tmp_path: Path) -> None:
    table = tmp_path / "in.csv"
    table.write_text("id,seq\na,MKTAYI\n")
    with pytest.raises(UserError, match=r"--out .*in\.csv would replace .*, which is read"):
        scanned(masked, table, table, sequence_column="seq", overwrite=True)
    assert table.read_text() == "id,seq\na,MKTAYI\n"


def test_another_sequence_of_the_same_name_is_scanned_anew(masked: Path, tmp_path: Path) -> None:
    out, same = tmp_path / "s.csv", {"positions": "2-3"}
    first = SEQUENCES["a"]
    scanned(masked, fasta(tmp_path / "1.fasta", {"a": first}), out, **same)
    other = fasta(tmp_path / "2.fasta", {"a": first[:5] + "W" + first[6:]})
    resumed = scanned(masked, other, out, resume=True, **same).scans["a"]
    fresh = scanned(masked, other, tmp_path / "t.csv", **same).scans["a"]
    np.testing.assert_allclose(resumed.log_odds, fresh.log_odds)


def test_shards_become_the_whole(masked: Path, tmp_path: Path) -> None:
    data = fasta(tmp_path / "in.fasta", {**SEQUENCES, "x": "MKXAY"})
    small = {"batch_tokens": 200}
    whole = scanned(masked, data, tmp_path / "whole.csv", **small)
    parts = [tmp_path / f"part{index}.csv" for index in (1, 2, 3)]
    for index, part in enumerate(parts, start=1):
        scanned(masked, data, part, shard=f"{index}/3", **small)
    merged = merge(MergeOptions(shards=parts[::-1], out=tmp_path / "all.csv"))
    assert (merged.num_shards, merged.num_records) == (3, 7)
    assert (tmp_path / "all.csv").read_bytes() == whole.out.read_bytes()
    summary = json.loads(merged.summary.read_text())
    assert summary.pop("num_shards") == 3
    assert summary == whole.summary


# Warnings.


def test_foreign_proteins_are_warned_of_and_known_ones_not(tmp_path: Path) -> None:
    known = read_training_sequences("PF00595-held-out")[0][1]
    data = fasta(tmp_path / "in.fasta", {"pdz": known, "ubq": UBIQUITIN})
    result = scanned("tiny", data, tmp_path / "s.csv")
    assert [each["known"] for each in result.summary["sequences"]] == [True, False]
    (warning,) = result.summary["warnings"]
    assert "ubq" in warning and "pdz" not in warning and "tiny" in warning
    # A handful of positions says nothing of the protein, and that is said.
    few = scanned("tiny", data, tmp_path / "p.csv", positions="3-8").summary
    assert [each["known"] for each in few["sequences"]] == [None, None]
    (warning,) = few["warnings"]
    assert "tiny" in warning and "whole" in warning


def test_no_command_leads_on_from_proteins_that_the_model_does_not_know(
    tmp_path: Path,
) -> None:
    known = read_training_sequences("PF00595-held-out")[0][1]
    for name, sequence, leads_on in (("pdz", known, True), ("ubq", UBIQUITIN, False)):
        data = fasta(tmp_path / f"{name}.fasta", {name: sequence})
        result = scanned("tiny", data, tmp_path / f"{name}.csv")
        asked = ScanOptions(inputs=[str(data)], model="tiny", out=tmp_path / "other.csv")
        assert (after_scan(asked, result) is not None) == leads_on


def test_lengths_that_a_model_was_not_trained_on_are_warned_of(tmp_path: Path) -> None:
    data = fasta(tmp_path / "in.fasta", {"short": UBIQUITIN[:40]})
    warnings = scanned("tiny", data, tmp_path / "s.csv", positions="3-8").summary["warnings"]
    assert len(warnings) == 2 and "short" in warnings[1] and "length" in warnings[1]


# Plots.


def test_plots_are_drawn_a_file_each(masked: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    one = fasta(tmp_path / "one.fasta", {"a": SEQUENCES["a"]})
    result = scanned(masked, one, tmp_path / "1.csv", plot=tmp_path / "p.png")
    assert result.plots == (tmp_path / "p.png",)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    many = fasta(tmp_path / "many.fasta", {"a": SEQUENCES["a"], "x": "MKX", "$b$/c": "MKTAY"})
    result = scanned(masked, many, tmp_path / "2.csv", plot=tmp_path / "p.svg", positions="2,4-5")
    assert [path.suffix for path in result.plots] == [".svg", ".svg"]
    assert result.plots[0] == tmp_path / "p_a.svg" and result.plots[1].parent == tmp_path
    drawn = result.plots[1].read_text()
    assert drawn.lstrip().startswith("<?xml") and "</svg>" in drawn
    with pytest.raises(UserError, match=r"--plot .*p_a\.svg exists"):
        scanned(masked, many, tmp_path / "3.csv", plot=tmp_path / "p.svg")


@pytest.mark.parametrize(
    ("num", "lengths"),
    [(1, [1]), (57, [57]), (100, [100]), (101, [60, 41]), (207, [70, 70, 67]), (600, [100] * 6)],
)
def test_long_proteins_are_wrapped_into_like_rows(num: int, lengths: list[int]) -> None:
    rows = rows_of(num)
    assert [len(row) for row in rows] == lengths
    assert [at for row in rows for at in row] == list(range(num))


# Models and refusals.


def test_models_of_others_and_students_are_scanned(tmp_path: Path) -> None:
    folder = write_dplm_folder(tmp_path / "dplm", reference_model(token_dropout=False))
    data = fasta(tmp_path / "in.fasta", {"a": "MKTAYIAK"})
    for number, model in enumerate((folder, "tiny-student")):
        (found,) = scanned(model, data, tmp_path / f"{number}.csv").scans.values()
        assert np.isfinite(found.log_odds).all() and np.ptp(found.log_odds) > 0.01


@pytest.mark.parametrize(
    ("write", "words"), [(write_uniform, "uniform"), (write_judge, "autoregressive")]
)
def test_models_of_other_kinds_are_refused(
    write: Any, words: str, data: Path, tmp_path: Path
) -> None:
    folder = write(tmp_path / "other")
    with pytest.raises(UserError, match=words) as caught:
        scanned(folder, data, tmp_path / "s.csv")
    assert "mask" in str(caught.value)
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": Path("s.tsv")}, r"--out s\.tsv"),
        ({"plot": Path("s.gif")}, r"--plot s\.gif"),
        ({"batch_tokens": 0}, "--batch-tokens 0"),
        ({"device": "tpu9"}, "--device tpu9"),
        ({"precision": "fp8"}, "--precision fp8"),
        ({"shard": "3/2"}, "--shard 3/2"),
        ({"positions": "0"}, "--positions 0"),
        ({"positions": "9-2"}, "--positions 9-2"),
        ({"positions": "A12"}, "--positions A12"),
        ({"positions": "1,58"}, r"--positions 1,58: [a-f] has \d+ residues.* no position 58"),
        ({"id_column": "name"}, "--id-column name.*--sequence-column"),
        ({"sequence_column": "protein"}, "--sequence-column protein"),
        ({"inputs": ["nowhere.fasta"]}, r"INPUT nowhere\.fasta"),
        ({"model": "nowhere/m/x"}, "--model nowhere/m/x"),
        ({"model": "esm2_t7_9M_UR50D"}, "--model esm2_t7_9M_UR50D"),
        ({"resume": True, "overwrite": True}, "--resume and --overwrite"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    masked: Path, data: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    out = tmp_path / "s.csv"
    asked: dict[str, Any] = {"inputs": [str(data)], "model": str(masked), "out": out, **change}
    with pytest.raises(UserError, match=message):
        scan(ScanOptions(**asked))
    assert not out.exists()


def test_an_output_that_exists_is_refused_and_replaced_when_asked(
    masked: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "s.csv"
    out.write_text("mine\n")
    with pytest.raises(UserError, match="--overwrite"):
        scanned(masked, data, out)
    assert out.read_text() == "mine\n"
    scanned(masked, data, out, overwrite=True)
    assert len(rows_of_table(out)) == 19 * sum(map(len, SEQUENCES.values()))
