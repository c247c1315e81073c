"""`didi-text compare` at a small scale: cells, pairs, figures, resuming, what it refuses."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compare_checks import (  # noqa: F401  its tests run here too
    Compares,
    test_a_folder_with_other_work_is_left_alone,
    test_an_interrupted_comparison_goes_on,
    test_bad_options,
    test_every_cell_is_a_row,
    test_every_long_phase_says_the_time_left_without_a_terminal,
    test_methods_get_their_own_settings,
    test_more_temperatures_are_added_to_a_finished_comparison,
    test_sequences_are_made_in_the_precision_that_their_record_names,
)
from text_fixtures import save_causal, tiny_tokenizer, write_jsonl
from text_models import write_tiny_model

from didi_core.commands.comparing.cells import Cell, CellRequest
from didi_core.commands.comparing.compare import cells_of
from didi_core.commands.comparing.study import study_of
from didi_core.commands.comparing.table import compare_cells
from didi_core.commands.generating.options import FailedRecord, GenerationResult
from didi_core.errors import UserError
from didi_core.evaluation.entropy import unigram_entropy
from didi_core.models.folder import LoadedModel
from didi_text.compare import CompareResult, compare
from didi_text.comparing import compare as compare_run
from didi_text.comparing.cells import score_cell, write_cell
from didi_text.comparing.compare import (
    as_json,
    curves_of,
    distill_settings,
    plot_comparison,
    print_result,
)
from didi_text.comparing.options import CompareOptions
from didi_text.models.judges import judge_texts, open_judge
from didi_text.models.load import open_model
from didi_text.samples import samples
from didi_text.samples.files import read_samples as read_records
from didi_text.samples.measures import read_samples
from didi_text.tokenizers.tokenizer import TextTokenizer

COSTS = ["seconds_per_sample", "peak_memory_mb"]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> CompareOptions:
    """Random models of one layer, a moment of distillation, samples of 16 to 20 tokens."""
    models = tmp_path_factory.mktemp("models")
    return CompareOptions(
        teacher=str(write_tiny_model(models / "teacher", seed=0)),
        out=tmp_path_factory.mktemp("run") / "study",
        students=str(write_tiny_model(models / "earlier", seed=1)),
        methods="dmmd,didi:paper",
        samplers="ancestral,rgas",
        steps="2",
        teacher_steps="4",
        budget=0.2,
        data=str(write_jsonl(models / "train.jsonl")),
        num=4,
        length="16-20",
        judge=str(save_causal(models / "judge")),
        reference=write_jsonl(models / "held_out.jsonl"),
        device="cpu",
    )


@pytest.fixture(scope="module")
def compares() -> Compares:
    return Compares(compare, compare_run, print_result, "samples", ".jsonl", "Judging", kept="*")


@pytest.fixture(scope="module")
def finished(options: CompareOptions) -> CompareResult:
    return compare(options)


def test_real_text_is_the_last_row(finished: CompareResult) -> None:
    last = finished.table.iloc[-1]
    assert last["model"] == "held-out text" and pd.isna(last["sampler"])
    assert finished.table["sampler"].isna().sum() == 1


def test_figures_are_those_of_the_samples(finished: CompareResult, options: CompareOptions) -> None:
    judge = open_judge(options.judge)

    def nats(name: str) -> tuple[np.ndarray, np.ndarray]:
        samples = read_samples(finished.out / "samples" / f"{name}.jsonl")
        judged = judge_texts(judge, samples.texts, max_tokens=64)
        return judged.nats, judged.counts

    table = finished.table.set_index(["model", "sampler", "steps"])
    row = table.loc["didi-paper", "rgas", 2]
    (one, one_counts), (two, two_counts) = nats("didi-paper_rgas_2"), nats("teacher_limit")
    assert row["judge_nll"] == pytest.approx(one.sum() / one_counts.sum())
    assert row["judge_perplexity"] == pytest.approx(np.exp(row["judge_nll"]))
    pairs = (one / one_counts - two / two_counts).mean()
    assert row["nll_minus_limit"] == pytest.approx(pairs, abs=1e-5)  # stored to six decimals
    records = read_records(finished.out / "samples" / "didi-paper_rgas_2.jsonl")
    assert row["entropy"] == pytest.approx(np.mean([unigram_entropy(r["ids"]) for r in records]))
    assert row["discriminator_calls"] > 0 and row["calls"] <= 2
    assert row["seconds_per_sample"] > 0
    lengths = [record["length"] for record in records]
    limit = read_records(finished.out / "samples" / "teacher_limit.jsonl")
    assert lengths == [record["length"] for record in limit]


def test_real_text_is_judged_as_samples_are(
    finished: CompareResult, options: CompareOptions
) -> None:
    row = finished.table.iloc[-1]
    text = options.reference.read_text()
    words = [json.loads(line)["text"] for line in text.splitlines()]
    tokens = sum(len(tiny_tokenizer().encode(each)) + 1 for each in words)
    assert row["n"] == min(options.num, -(-tokens // 18))
    assert row["entropy_low"] <= row["entropy"] <= row["entropy_high"]
    assert pd.isna(row["calls"]) and pd.isna(row["nll_minus_limit"])


def test_table_figure_and_printed_forms(
    finished: CompareResult, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = json.loads((finished.out / "comparison.json").read_text())
    assert stored == json.loads(as_json(finished))["table"]
    pd.testing.assert_frame_equal(
        pd.read_csv(finished.comparison), finished.table, check_dtype=False
    )
    assert finished.report.read_bytes().startswith(b"\x89PNG")
    made = finished.table.dropna(subset=["sampler"])
    assert [point.label for point in curves_of(made)["teacher, ancestral"]] == ["2", "4", "limit"]
    assert "didi-paper, rgas" in curves_of(made)
    print_result(finished)
    printed = capsys.readouterr().out
    assert "intervals from fewer than 30 are too narrow" in printed
    assert "Left out: dmmd with rgas" in printed and str(finished.report) in printed


def test_models_are_drawn_alike_and_own_is_what_each_folder_names(
    options: CompareOptions, tmp_path: Path
) -> None:
    student = write_tiny_model(tmp_path / "student", seed=1)
    config = json.loads((student / "config.json").read_text())
    config["didi"] = {**config.get("didi", {}), "sampler": "apart", "reveal_exponent": 2.0}
    (student / "config.json").write_text(json.dumps(config))
    given = replace(options, students=str(student), methods="", num=3, samplers="ancestral")

    def drawn(result: CompareResult) -> set[tuple[str, str, float]]:
        rows = result.table[result.table["steps"] == 2]
        return set(rows[["model", "sampler", "reveal_exponent"]].itertuples(index=False, name=None))

    alike = compare(replace(given, out=tmp_path / "alike"))
    assert drawn(alike) == {("teacher", "ancestral", 1.0), ("student", "ancestral", 2.0)}
    assert any("student" in note and "apart" in note for note in alike.notes)
    own = compare(replace(given, out=tmp_path / "own", samplers="own"))
    assert drawn(own) == {("teacher", "ancestral", 1.0), ("student", "apart", 2.0)}
    assert not any("apart" in note for note in own.notes)
    curves = curves_of(own.table.dropna(subset=["sampler"]))
    assert {"teacher, ancestral", "student, apart"} == set(curves)
    figures = json.loads((own.out / "samples" / "student_apart_2.figures.json").read_text())
    assert figures["figures"]["drawn"] == "apart, 2 steps, reveal exponent 2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": "999"}, "past the model's limit of 64"),
        ({"reference": Path("nowhere.txt")}, "nowhere.txt"),
        ({"judge": "nowhere/judge", "offline": True}, "nowhere/judge"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(
    options: CompareOptions, tmp_path: Path, change: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        compare(replace(options, out=tmp_path / "study", **change))
    assert not (tmp_path / "study" / "dmmd").exists()
    assert not (tmp_path / "study" / "samples").exists()


def test_what_a_sampler_cannot_take_is_left_out(options: CompareOptions) -> None:
    given = replace(options, methods="", samplers="ancestral,remdm")
    study = study_of(given, partial(distill_settings, given))
    uniform = replace(open_model(options.teacher), config={"didi": {"process": "uniform"}})
    cells, left_out = cells_of(study, "teacher", {"teacher": uniform, "earlier": uniform})
    assert {cell.sampler for cell in cells} == {"ancestral"}
    assert left_out == (
        "teacher with first-hitting, its limit: it is a uniform-state model",
        "teacher with remdm: it is a uniform-state model",
        "earlier with remdm: it is a uniform-state model",
    )


def test_a_cell_with_nothing_to_judge_becomes_a_row(
    finished: CompareResult, options: CompareOptions, tmp_path: Path
) -> None:
    end, judge = tiny_tokenizer(), open_judge(options.judge)
    out = tmp_path / "silent_2.jsonl"
    records = [
        {"id": f"sample_00000{n}", "text": "<|endoftext|>", "ids": [end.end_id]} for n in (1, 2)
    ]
    out.write_text("".join(json.dumps(each) + "\n" for each in records))
    cost = {"seconds": 1.0, "peak_memory": None, "calls_made": 4, "discriminator_calls": 0}
    made = GenerationResult(out, out, 2, (), **cost, mean_nfe=2.0, redraws=0)
    request = CellRequest(folder=tmp_path, num=2, length="1", seed=0, device="cpu")
    silent = score_cell(Cell("silent", 2), request, made, judge)
    assert "nothing to judge" in silent.row["error"] and silent.judge_nll.isna().all()
    teacher = replace(
        silent, cell=Cell("teacher", 2), judge_nll=pd.Series([1.0], ["sample_000001"])
    )
    row = compare_cells([teacher, silent], "teacher", 0).iloc[1]
    assert row["calls"] == 2 and "nll_minus_teacher" not in row
    both = pd.concat([finished.table, pd.DataFrame([silent.row])])
    assert plot_comparison(both, tmp_path / "figure.png", "judge").is_file()


@pytest.mark.parametrize("offline", [True, False])
def test_offline_reaches_what_opens_the_tokenizer(
    options: CompareOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    """MDLM and Duo ship none: theirs is gpt2, which may lie nowhere but on the hub."""
    whole_part, asked = samples.tokenizer_of, []

    def watched(model: LoadedModel, *, offline: bool = False) -> TextTokenizer:
        asked.append(offline)
        return whole_part(model, offline=offline)

    monkeypatch.setattr(samples, "tokenizer_of", watched)
    request = CellRequest(folder=tmp_path, num=2, length="8", seed=0, device="cpu", offline=offline)
    write_cell(Cell("teacher", 2), request, open_model(options.teacher))
    assert asked and set(asked) == {offline}


def test_a_cell_without_a_sample_becomes_a_row(tmp_path: Path) -> None:
    out = tmp_path / "none_2.jsonl"
    out.touch()
    cost = {"seconds": 1.0, "peak_memory": None, "calls_made": 4, "discriminator_calls": 4}
    failed = (FailedRecord("sample_000001", "out of memory", 1),)
    made = GenerationResult(out, out, 0, failed, **cost, mean_nfe=None, redraws=0)
    request = CellRequest(folder=tmp_path, num=2, length="1", seed=0, device="cpu")
    none = score_cell(Cell("none", 2), request, made, judge=None)
    assert none.row["error"] == "no sample could be made (out of memory)"
    assert none.row["n"] == 0 and not len(none.judge_nll)
    assert np.isnan(none.row["seconds_per_sample"])
