"""`didi-text benchmark`: figures against their parts, rows, resuming, and what is refused."""

import json
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from text_fixtures import DOCUMENTS, autoregressive_ids, save_causal, tiny_tokenizer
from text_models import LIMIT, write_tiny_model

from didi_core.cli.run import run_program
from didi_core.commands.comparing.cells import Cell
from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import bootstrap_ratio
from didi_core.models.bundled import BundledModels
from didi_text.benchmark import benchmark
from didi_text.benchmarking import cell_runner
from didi_text.benchmarking.options import BenchmarkOptions, BenchmarkResult
from didi_text.benchmarking.run import run_benchmark
from didi_text.benchmarking.study import open_study, parse_study
from didi_text.benchmarking.table import (
    COLUMNS,
    StudySetting,
    common_differences,
    markdown_table,
    printed,
    published_beside,
    published_row,
)
from didi_text.benchmarking.table import PUBLISHED_PUBLISHED as PUBLISHED
from didi_text.models import judges
from didi_text.models import load as evaluate_models
from didi_text.models.judges import judge_texts, open_judge
from didi_text.models.load import open_causal
from didi_text.models.writers import open_language_model
from didi_text.samples.files import read_samples
from didi_text.tokenizers.train import train_tokenizer


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a teacher, a student and an autoregressive model over one tokenizer."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_model(folder / "teacher")
    write_tiny_model(folder / "student", seed=1)
    save_causal(folder / "gpt")
    return folder


def options(folder: Path, out: Path, **changes: Any) -> BenchmarkOptions:
    """Small: two models, two step counts, the baseline judging."""
    given: dict[str, Any] = {
        "models": f"{folder / 'teacher'},{folder / 'student'}",
        "baseline": str(folder / "gpt"),
        "judge": str(folder / "gpt"),
        "steps": "3,limit",
        "length": 16,
        "num": 6,
        "repeats": 2,
        "max_batch": 2,
        "device": "cpu",
        **changes,
    }
    return BenchmarkOptions(out=out, **given)


@pytest.fixture(scope="module")
def done(models: Path, tmp_path_factory: pytest.TempPathFactory) -> BenchmarkResult:
    return benchmark(options(models, tmp_path_factory.mktemp("done") / "study"))


def rows_by_name(result: BenchmarkResult) -> dict[tuple[str, Any], dict[str, Any]]:
    return {(row["model"], row["steps"]): row for row in result.record["rows"]}


def test_every_model_has_a_row_at_every_number_of_steps(done: BenchmarkResult) -> None:
    rows = rows_by_name(done)
    assert list(rows) == [
        ("teacher", 3), ("teacher", "limit"), ("student", 3), ("student", "limit"), ("gpt", None),
    ]  # fmt: skip
    assert all(row["status"] == "ok" and row["source"] == "measured" for row in rows.values())
    assert rows["teacher", "limit"]["calls"] == 16  # one call a token
    assert 2 < rows["teacher", 3]["calls"] <= 3
    assert rows["gpt", None]["calls"] == 15  # the first token is given
    for row in rows.values():
        assert row["latency_low"] <= row["latency_seconds"] <= row["latency_high"]
        assert row["best_batch"] in (1, 2) and row["tokens_per_second"] > 0
        assert row["n"] == 6 and row["length"] == 16


def test_a_cell_keeps_every_timing(done: BenchmarkResult) -> None:
    for file in (done.out / "cells").iterdir():
        cell = json.loads(file.read_text())
        assert len(cell["latency"]["seconds"]) == 2
        assert [rate["batch"] for rate in cell["throughput"]["tried"]] == [1, 2]
        assert cell["throughput"]["stopped_by"] == "bound"
        assert len(cell["quality"]["per_sample_nats"]) == 6
    assert len(list((done.out / "cells").iterdir())) == 5


def test_figures_are_those_of_the_samples_that_are_kept(done: BenchmarkResult) -> None:
    judge = open_judge(done.record["reading"]["judge"])
    for name, row in rows_by_name(done).items():
        file = "gpt" if name[0] == "gpt" else f"{name[0]}_{name[1]}"
        samples = read_samples(done.out / "samples" / f"{file}.jsonl")
        assert all(tiny_tokenizer().decode(each["ids"]) == each["text"] for each in samples)
        counts = [np.unique(each["ids"], return_counts=True)[1] / 16 for each in samples]
        assert row["entropy"] == pytest.approx(
            np.mean([-(shares * np.log(shares)).sum() for shares in counts])
        )
        judged = judge_texts(judge, [each["text"] for each in samples], max_tokens=LIMIT)
        mean = bootstrap_ratio(judged.nats, judged.counts)
        assert row["perplexity"] == pytest.approx(math.exp(mean.mean))
        assert row["perplexity_low"] == pytest.approx(math.exp(mean.low))
        assert row["nats_per_token"] == pytest.approx(math.log(row["perplexity"]))


def test_the_baseline_writes_by_its_own_law_and_the_seed(
    done: BenchmarkResult, models: Path
) -> None:
    samples = read_samples(done.out / "samples" / "gpt.jsonl")
    network = open_causal(str(models / "gpt"))
    expected = autoregressive_ids(network, list(range(6)), 16, seed=0)
    assert [each["ids"] for each in samples] == expected
    assert {(each["sampler"], each["nfe"]) for each in samples} == {("autoregressive", 15)}


@pytest.mark.usefixtures("no_figure")
def test_rows_are_drawn_alike_unless_a_folder_is_asked(models: Path, tmp_path: Path) -> None:
    named = tmp_path / "named"
    shutil.copytree(models / "student", named)
    config = json.loads((named / "config.json").read_text())
    config["didi"] = {**config.get("didi", {}), "sampler": "apart", "reveal_exponent": 2.0}
    (named / "config.json").write_text(json.dumps(config))
    given = options(models, tmp_path / "s", baseline="none", steps="3", num=2, repeats=1)
    found = {}
    for word in (str(named), f"{named}:own"):
        both = f"{models / 'teacher'}:own,{word}"
        result = benchmark(replace(given, models=both, out=tmp_path / word[-3:]))
        rows = result.record["rows"]
        found[word[-3:]] = [(row["sampler"], row["reveal_exponent"]) for row in rows]
        assert "reveal exponent" in printed(result)
        assert any("apart" in note for note in result.record["notes"]) == (word == str(named))
    assert found["med"] == [("ancestral", 1.0), ("ancestral", 2.0)]
    assert found["own"] == [("ancestral", 1.0), ("apart", 2.0)]


@pytest.mark.usefixtures("no_figure")
def test_what_is_timed_writes_the_samples_that_are_judged(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[int, list[int]] = {}
    real = cell_runner.batch_writer

    def spied(*given: Any) -> Any:
        write = real(*given)

        def watched(records: Any) -> Any:
            ids = write(records)
            written.update(zip(records, ids, strict=True))
            return ids

        return watched

    monkeypatch.setattr(cell_runner, "batch_writer", spied)
    given = options(models, tmp_path / "s", models=str(models / "teacher"), steps="5", max_batch=4)
    benchmark(replace(given, baseline="none", seed=3))
    samples = read_samples(tmp_path / "s" / "samples" / "teacher_5.jsonl")
    assert len(written) == 4
    assert [written[record] for record in range(4)] == [each["ids"] for each in samples[:4]]


def test_files_hold_the_same_rows(done: BenchmarkResult) -> None:
    table = pd.read_csv(done.out / "benchmark.csv")
    record = json.loads((done.out / "benchmark.json").read_text())
    assert tuple(table.columns) == COLUMNS
    assert table["source"].tolist() == ["measured"] * 5 + ["published"] * len(record["published"])
    assert record == done.record and record["finished"]
    assert table["perplexity"].tolist() == pytest.approx(
        [row["perplexity"] for row in record["rows"] + record["published"]]
    )
    assert record["threads"] == torch.get_num_threads() and "torch" in record["versions"]
    assert record["device"].startswith("cpu")
    assert done.figure is None or done.figure.stat().st_size > 10_000


@pytest.mark.usefixtures("no_figure")
def test_a_folder_is_refused_then_resumed_cell_by_cell(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = options(models, tmp_path / "study")
    real, measured = cell_runner.measure_latency, []

    def stops_at_the_third(*more: Any) -> Any:
        measured.append(1)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return real(*more)

    monkeypatch.setattr(cell_runner, "measure_latency", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        benchmark(given)
    record = json.loads((given.out / "benchmark.json").read_text())
    assert not record["finished"] and len(record["rows"]) == 2
    with pytest.raises(UserError, match="exists"):
        benchmark(given)
    with pytest.raises(UserError, match="seed was 0, now 1"):
        benchmark(replace(given, resume=True, seed=1))
    kept = (given.out / "cells" / "teacher_3.json").stat().st_mtime_ns
    resumed = benchmark(replace(given, resume=True))
    assert len(measured) == 3 + 3
    assert (given.out / "cells" / "teacher_3.json").stat().st_mtime_ns == kept
    assert resumed.record["finished"] and resumed.record["rows"][:2] == record["rows"]
    # More steps join what is there.
    wider = benchmark(replace(given, resume=True, steps="3,4,limit", baseline="none"))
    assert len(measured) == 6 + 2 and len(wider.record["rows"]) == 6
    with pytest.raises(UserError, match="holds no benchmark"):
        benchmark(replace(given, out=models, overwrite=True))


CHANGES: list[dict[str, Any]] = [
    {"seed": 1}, {"num": 7}, {"length": 17}, {"draws": "float32"}, {"precision": "bf16"},
]  # fmt: skip


@pytest.mark.usefixtures("no_figure")
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_setting_changes_the_samples(
    done: BenchmarkResult, models: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    small = {"models": str(models / "teacher"), "steps": "3", "baseline": "none", "max_batch": 1}
    changed = benchmark(options(models, tmp_path / "s", **{**small, **change})).record["rows"][0]
    assert changed["perplexity"] != rows_by_name(done)["teacher", 3]["perplexity"]


def test_a_cell_without_figures_becomes_a_row(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cell_runner.measure_samples
    failures = [torch.OutOfMemoryError("CUDA out of memory"), UserError("nothing to judge.")]

    def fails_twice(*given: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop(0)
        return real(*given, **named)

    monkeypatch.setattr(cell_runner, "measure_samples", fails_twice)
    teacher = str(models / "teacher")
    given = options(models, tmp_path / "s", models=teacher, steps="3,4,5", baseline="none")
    result = benchmark(given)
    assert result.failed == ("teacher_3", "teacher_4")
    statuses = [row["status"] for row in result.record["rows"]]
    assert statuses == ["out of memory", "nothing to judge.", "ok"]
    assert "out of memory |" in printed(result)
    table = pd.read_csv(given.out / "benchmark.csv")
    assert table["status"].tolist()[:3] == statuses and table["perplexity"].isna()[:3].sum() == 2
    assert benchmark(replace(given, resume=True)).failed == ()


def test_a_sampler_may_be_named_with_a_model(models: Path, tmp_path: Path) -> None:
    teacher = str(models / "teacher")
    study = parse_study(options(models, tmp_path, models=f"{teacher},{teacher}:dplm", steps="4"))
    assert study.models == ((teacher, None), (teacher, "dplm"))
    given = options(models, tmp_path / "s", models=f"{teacher},{teacher}:dplm", baseline="none")
    rows = benchmark(given).record["rows"]
    assert [(row["sampler"], row["steps"]) for row in rows] == [
        ("ancestral", 3), ("first-hitting", "limit"), ("dplm", 3),
    ]  # fmt: skip
    assert Cell("student", 3, "dplm").name == "student_dplm_3"
    with pytest.raises(UserError, match=r"rgas needs a student .* has no discriminator"):
        benchmark(options(models, tmp_path / "t", models=f"{teacher}:rgas"))
    assert not (tmp_path / "t").exists()


def test_a_sampler_named_with_a_model_may_have_options(models: Path, tmp_path: Path) -> None:
    teacher = str(models / "teacher")
    word = f"{teacher}:momentum(weight=2,positions=apart)"
    study = parse_study(options(models, tmp_path, models=f"{word},{teacher}", steps="4"))
    assert study.models == ((teacher, "momentum(weight=2,positions=apart)"), (teacher, None))
    opened = {"teacher": open_language_model(teacher, "cpu")}
    first = study.cells(opened)[0]
    expected = (("weight", "2"), ("positions", "apart"))
    assert first == Cell("teacher", 4, "momentum", options=expected)
    for wrong in ("momentum(positions=near)", "momentum(heavy=1)", "first-hitting"):
        with pytest.raises(UserError, match=rf"--models .*{wrong.partition('(')[0]}"):
            parse_study(options(models, tmp_path, models=f"{teacher}:{wrong}", steps="4"))


def test_own_is_the_sampler_that_the_folder_names_with_its_options(
    models: Path, tmp_path: Path
) -> None:
    student = tmp_path / "student"
    shutil.copytree(models / "teacher", student)
    config = json.loads((student / "config.json").read_text())
    config["didi"] = {**config.get("didi", {}), "sampler": "remdm(schedule=renoise)"}
    (student / "config.json").write_text(json.dumps(config))
    study = parse_study(options(models, tmp_path, models=f"{student}:own", steps="4"))
    opened = {"student": open_language_model(str(student), "cpu")}
    (cell,) = study.with_samplers(opened).cells(opened)
    assert cell == Cell("student", 4, "remdm", options=(("schedule", "renoise"),))
    assert study.with_samplers(opened).reference([cell]) == cell


def test_the_bundled_judge_is_taken_where_the_tokenizer_is_its_own(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Shipped(BundledModels):
        def folder(self, name: str) -> Path:
            return tmp_path / name

    shipped = Shipped("didi_text")
    for module in (evaluate_models, judges):
        monkeypatch.setattr(module, "BUNDLED_MODELS", shipped)
    given = options(models, tmp_path / "s", baseline=None, judge=None, offline=True)
    with pytest.raises(UserError, match="gpt2-large"):  # none ships yet
        benchmark(given)
    shutil.copytree(models / "gpt", tmp_path / "tiny-judge")
    opened = open_study(parse_study(given), given)
    assert (opened.judge.name, opened.baseline, opened.length) == ("tiny-judge", "tiny-judge", 16)
    # As many tokens as all models read, where none are asked for.
    assert open_study(parse_study(given), replace(given, length=None)).length == LIMIT
    train_tokenizer(DOCUMENTS * 3, 299).save(tmp_path / "tiny-judge")
    with pytest.raises(UserError, match="gpt2-large"):
        benchmark(given)


def test_a_uniform_model_is_measured_and_has_no_limit(models: Path, tmp_path: Path) -> None:
    duo, teacher = write_tiny_model(tmp_path / "duo", 3, "uniform"), models / "teacher"
    given = options(models, tmp_path / "s", models=str(duo), baseline="none")
    record = benchmark(given).record
    assert [(row["steps"], row["calls"]) for row in record["rows"]] == [(3, 3.0)]
    assert any(note.startswith("No limit is measured of duo") for note in record["notes"])
    # Neither the baseline's row nor another model's limit is one to compare with.
    for changes in ({}, {"baseline": str(models / "gpt")}, {"models": f"{duo},{teacher}"}):
        with pytest.raises(UserError, match=r"--steps limit: duo, which .* has no limit; give"):
            benchmark(replace(given, steps="limit", overwrite=True, **changes))
    assert json.loads((given.out / "benchmark.json").read_text()) == record  # nothing was removed


def test_a_score_model_is_drawn_by_the_sampler_that_it_has(models: Path, tmp_path: Path) -> None:
    sedd = write_tiny_model(tmp_path / "sedd", 3, "sedd")
    given = options(models, tmp_path / "s", models=f"{sedd},{models / 'teacher'}", baseline="none")
    record = benchmark(replace(given, temperatures="0.9")).record
    found = [(row["model"], row["sampler"], row["steps"]) for row in record["rows"]]
    assert found == [
        ("sedd", "analytic", 3), ("teacher", "ancestral", 3), ("teacher", "first-hitting", "limit"),
    ]  # fmt: skip
    assert list(record["nll_differences"]) == ["teacher_3 - sedd_analytic_3"]
    assert record["frontiers"]["baseline"] == "sedd_analytic_3"
    with pytest.raises(UserError, match="--sampler ancestral"):
        benchmark(replace(given, out=tmp_path / "t", models=f"{sedd}:ancestral"))


# Published figures


def test_published_figures_are_those_of_their_sources() -> None:
    found = {(each.model, each.steps): each for each in PUBLISHED}
    assert len(found) == len(PUBLISHED) == 5 * 6 + 7 + 3
    assert (found["MDLM", 8].perplexity, found["MDLM", 8].entropy) == (830.82, 5.91)
    assert (found["MDLM", 1024].perplexity, found["MDLM", 1024].entropy) == (104.85, 5.63)
    assert (found["Duo + DCD, greedy tail", 8].perplexity) == 69.58
    assert (found["DiDi-Instruct 169M", 16].perplexity) == 38.2
    assert found["DiDi-Instruct 169M", 16].entropy == 5.21
    assert found["DiDi-Instruct 169M", 8].entropy is None
    assert found["AR (Duo's)", None].entropy == 5.58
    assert {each.steps for each in published_beside((16, 5))} == {16, 1024, None}


def test_published_rows_compare_only_in_their_own_setting() -> None:
    duo = next(each for each in PUBLISHED if each.draws == "float64")
    didi = next(each for each in PUBLISHED if each.draws.startswith("float32"))
    same = StudySetting(1024, "openai-community/gpt2-large", "float64", 50_257)
    assert published_row(duo, same)["comparable"] is True
    assert published_row(duo, same)["differences"] == ""
    assert "draws float32 (inferred), here float64" in published_row(didi, same)["differences"]
    assert published_row(didi, replace(same, draws="float32"))["comparable"] is True
    other = StudySetting(128, "tiny-judge", "float64", 2_048)
    rows = [published_row(each, other) for each in (duo, didi)]
    assert not any(row["comparable"] for row in rows)
    assert common_differences(rows) == [
        "length 1,024, here 128",
        "judge gpt2-large, here tiny-judge",
        "50,257 token ids, here 2,048",
    ]
    assert common_differences([published_row(duo, same), *rows]) == []


def test_paired_differences_are_kept_and_printed(done: BenchmarkResult) -> None:
    stored = json.loads((done.out / "benchmark.json").read_text())["nll_differences"]
    assert list(stored) == [
        "teacher_3 - teacher_limit", "student_3 - teacher_3", "student_3 - teacher_limit",
        "student_limit - teacher_limit",
    ]  # fmt: skip
    rows = rows_by_name(done)
    own = rows["student", 3]["nats_per_token"] - rows["teacher", 3]["nats_per_token"]
    assert stored["student_3 - teacher_3"]["mean"] == pytest.approx(own, abs=1e-6)
    text = printed(done)
    assert "student_3 - teacher_limit" in text
    assert "Only 6 samples a set: intervals from fewer than 30 are too narrow" in text


def test_printed_table_is_markdown_with_marked_rows(done: BenchmarkResult) -> None:
    lines = markdown_table(done.record["rows"] + done.record["published"]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[1].replace(" ", "").strip("|").replace("|", "") == "---" * (
        lines[0].count("|") - 1
    )
    assert len(lines) == 2 + 5 + len(done.record["published"])
    text = printed(done)
    assert "published, arXiv 2506.10892, draws float64" in text
    assert "do not compare with these: length 1,024, here 16; judge gpt2-large" in text
    assert "is the judge itself" in text  # the baseline judges its own samples here


# Refusals and the command line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": "8,x"}, "--steps 8,x: x is no number of steps"),
        ({"steps": ""}, "--steps needs one value"),
        ({"models": ""}, "--models needs one model"),
        ({"num": 1, "length": 2}, "--num 1 must be at least 2; --length 2 must be at least 4"),
        ({"max_batch": 0, "repeats": 0}, "--repeats 0 must be at least 1; --max-batch 0"),
        ({"draws": "half"}, "--draws half must be float64 or float32"),
        ({"seed": -1, "judge": "nowhere"}, "--seed -1 must be from 0 to 2^63 - 1"),
        ({"seed": 2**63, "judge": "nowhere"}, f"--seed {2**63} must be from 0 to 2^63 - 1"),
        ({"precision": "int8"}, "int8"),
        ({"length": LIMIT + 1}, f"teacher reads {LIMIT} tokens at most"),
        ({"device": "abacus"}, "abacus"),
        ({"resume": True, "overwrite": True}, "exclude each other"),
        ({"judge": "nobody/nothing", "offline": True}, "nobody/nothing"),
        ({"baseline": "nobody/nothing", "offline": True}, "nobody/nothing"),
        ({"models": "IN/gpt", "baseline": "none"}, "takes no steps: give it as --baseline"),
        ({"baseline": "IN/student"}, "both be called student"),
        ({"models": "IN/teacher,x/teacher"}, "both be called teacher"),
        ({"models": "IN/teacher:first-hitting"}, "the limit is --steps limit"),
        ({"judge": "IN/teacher"}, "--judge"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    models: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    for name in {"models", "baseline", "judge"} & set(changes):
        changes = {**changes, name: changes[name].replace("IN", str(models))}
    with pytest.raises(UserError) as caught:
        run_benchmark(options(models, tmp_path / "study", **changes))
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.usefixtures("no_figure")
def test_command_line(models: Path, tmp_path: Path, capsys) -> None:
    from didi_text.app import app

    command = [
        "benchmark", "--models", str(models / "teacher"), "--steps", "2", "--out",
        str(tmp_path / "study"), "--baseline", "none", "--judge", str(models / "gpt"), "--num",
        "3", "--length", "12", "--max-batch", "1", "--repeats", "1", "--device", "cpu",
        "--offline",
    ]  # fmt: skip

    def run(*more: str) -> int:
        return run_program(lambda: app([*command, *more], standalone_mode=False))

    assert run() == 0
    assert "| teacher | ancestral | 2 |" in capsys.readouterr().out
    assert run() == 2
    assert "--resume" in capsys.readouterr().err
    assert run("--resume", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((tmp_path / "study" / "benchmark.json").read_text())
    assert "teacher_2, kept" in err
    assert run("--overwrite", "--seed", "2") == 0
