"""`didi-text benchmark --temperatures`: cells at equal entropy, by hand and on tiny models."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from text_fixtures import DOCUMENTS, save_causal, tiny_tokenizer, write_jsonl
from text_models import write_tiny_model

from didi_core.commands.comparing.cells import Cell
from didi_core.commands.comparing.sweep import MeasuredSet, Natural, columns_of, sweep_of
from didi_core.errors import UserError
from didi_core.evaluation.frontier import Level
from didi_core.evaluation.ratio import Ratio
from didi_text.benchmark import benchmark
from didi_text.benchmarking import cell_runner
from didi_text.benchmarking.matched import (
    MATCHED_COLUMNS,
    MATCHED_FILE,
    matched_in_words,
    matched_rows,
)
from didi_text.benchmarking.options import BenchmarkOptions, BenchmarkResult
from didi_text.benchmarking.study import AUTOREGRESSIVE, parse_study
from didi_text.benchmarking.table import COLUMNS, StudySetting, printed, sweeps_of
from didi_text.comparing.cells import measured_set, point_of
from didi_text.models.judges import open_judge
from didi_text.samples.measures import BIGRAMS, read_samples
from didi_text.samples.reference import natural_text, reference_samples, stored_natural

TEMPERATURES = (0.8, 0.9, 1.0)
IDS = ["0", "1", "2"]
LIMIT, STUDENT, POOR = Cell.limit("teacher"), Cell("student", 8), Cell("poor", 8)
GPT = Cell("gpt", None, AUTOREGRESSIVE, is_baseline=True)


def curve(cell: Cell, entropies: list[list[float]], nats: list[list[float]]) -> list[MeasuredSet]:
    """Sets of a cell of three samples each, at the three temperatures."""

    def set_of(temperature: float, entropy: list[float], nll: list[float]) -> MeasuredSet:
        figures = {
            "per_sample_tokens": [10] * 3,
            "per_sample_nats": nll,
            "per_sample_entropy": entropy,
        }
        return measured_set(cell.at(temperature), IDS, IDS, lambda: (figures, None))

    return [set_of(*each) for each in zip(TEMPERATURES, entropies, nats, strict=True)]


def alike(cell: Cell, entropies: list[float], nats: list[float]) -> list[MeasuredSet]:
    """The same where all samples of a set are alike."""
    return curve(cell, [[each] * 3 for each in entropies], [[each] * 3 for each in nats])


def compared(sets: list[MeasuredSet], natural: Natural | None = None) -> dict[str, Any]:
    record = sweep_of(sets, LIMIT, None, natural, seed=0).record
    assert record is not None
    return dict(record)


def rows_of(cells: list[Cell], record: Mapping[str, Any]) -> list[dict[str, Any]]:
    plain = dict.fromkeys(COLUMNS)
    return [plain | columns_of(cell, record, "entropy", "bigram") for cell in cells]


def test_curves_by_hand_are_read_at_the_reference_s_entropy() -> None:
    """The reference has entropy 4 at temperature 1: the student passes it half-way between its
    points (3.5, 2) and (4.5, 3), the poor one never reaches it."""
    record = compared(
        [
            *alike(LIMIT, [3.0, 3.5, 4.0], [1.0, 1.5, 2.0]),
            *alike(STUDENT, [3.0, 3.5, 4.5], [1.0, 2.0, 3.0]),
            *alike(POOR, [2.0, 2.5, 3.9], [1.0, 2.0, 3.0]),
        ]
    )
    assert record["equal_diversity"] == 4.0
    assert list(record["frontiers"]) == ["teacher_limit", "student_8", "poor_8"]
    rows = rows_of([LIMIT, STUDENT, POOR, Cell("failed", 8), GPT], record)
    assert set(rows[0]) == set(COLUMNS)
    same = ("", "_low", "_high")  # samples are alike, and so intervals have no width
    assert [row["nll_at_equal_entropy"] for row in rows] == [2.0, 2.5, None, None, None]
    assert [rows[1][f"nll_at_equal_entropy{end}"] for end in same] == [2.5] * 3
    assert [row["difference_at_equal_entropy"] for row in rows] == [0.0, 0.5, None, None, None]
    assert [rows[1][f"difference_at_equal_entropy{end}"] for end in same] == [0.5] * 3
    assert [row["equal_entropy"] for row in rows] == [4.0, 4.0, 4.0, None, None]


def test_each_number_of_steps_is_read_where_it_was_published() -> None:
    """Entropy rises by 0.2 and nats by 0.4 from one temperature to the next: by hand."""
    entropies, nats = [5.2, 5.4, 5.6], [3.0, 3.4, 3.8]
    sets = [*alike(LIMIT, entropies, nats), *alike(STUDENT, entropies, nats)]
    sets += alike(Cell("poor", 32), [4.9, 5.0, 5.1], nats)
    sweep = sweep_of(sets, LIMIT, None, None, seed=0)
    setting = StudySetting(1024, "gpt2-large", "float64", 50_257)
    rows = matched_rows(sweep.frontiers, 5.5, setting)
    places = list(dict.fromkeys((row["steps"], row["entropy"]) for row in rows))
    assert places == [(8, 5.38), (8, 5.43), (8, 5.5), (32, 5.39), (32, 5.5)]
    ours = {(r["steps"], r["entropy"]): r for r in rows if r["source"] == "measured"}
    by_hand = ((5.38, 3.36, 0.89), (5.43, 3.46, 0.915), (5.5, 3.6, 0.95))
    for entropy, expected, temperature in by_hand:
        row = ours[8, entropy]
        assert row["perplexity"] == pytest.approx(math.exp(expected))
        assert row["perplexity_low"] == pytest.approx(row["perplexity"])
        assert row["temperature"] == pytest.approx(temperature)
    assert ours[32, 5.39]["perplexity"] is None
    assert ours[32, 5.39]["status"] == "not reached: 4.900 to 5.100"
    theirs = {(r["model"], r["steps"], r["entropy"]): r for r in rows if r["source"] != "measured"}
    assert len(theirs) == 6 + 4 + 1 and not any(row["comparable"] for row in theirs.values())
    assert theirs["Simplex-DMD", 8, 5.38]["perplexity"] == 26.7
    assert theirs["MDLM-MMD", 32, 5.39]["differences"] == "draws float32, here float64"
    result = BenchmarkResult(Path("study"), {"matched": rows}, None, ())
    text, whole = (matched_in_words(result, whole=each) for each in (False, True))
    assert "| 8 | 5.38 | student | ancestral | 28.79 (28.79 to 28.79) | 0.890 |" in text
    assert "| 32 |" not in text and "not reached: 4.900" in whole and "Simplex-DMD" in text
    assert matched_in_words(replace(result, record={"matched": []})) == ""


def test_natural_text_says_where_curves_are_read() -> None:
    """Entropies 3 and 3.5 of natural samples, both resampled; below 3.25 no curve ends."""
    sets = [
        *alike(LIMIT, [3.0, 3.5, 4.0], [1.0, 1.5, 2.0]),
        *alike(POOR, [3.5, 3.75, 3.9], [1.0, 2.0, 3.0]),
    ]
    level = Level(Ratio.mean_of([3.0, 3.5]), "natural text")
    record = compared(sets, Natural(lambda _: level))
    assert record["equal_diversity"] == 3.25 and record["level"]["n"] == 2
    found = record["frontiers"]["teacher_limit"]["nll_at_equal_diversity"]
    assert found == pytest.approx({"mean": 1.25, "low": 1.0, "high": 1.5})
    rows = rows_of([LIMIT, POOR], record)
    assert rows[1]["nll_at_equal_entropy"] is None and rows[1]["equal_entropy"] == 3.25


def test_natural_blocks_have_bigrams_of_as_many_as_there_are_samples() -> None:
    blocks = [[0, 1, 0, 1], [0, 1, 2, 3], [2, 2, 2, 2]]
    whole = natural_text(blocks).level(range(3))
    assert whole.diversity.value == pytest.approx((math.log(2) + math.log(4)) / 3)
    shares = np.array([3, 1, 1, 1, 3]) / 9  # 01, 10, 12, 23, 22
    assert whole.ngrams.value == pytest.approx(-(shares * np.log(shares)).sum())
    assert natural_text(blocks).level(range(4)).ngrams is None
    first_and_last = natural_text(blocks).level(range(2)).ngrams
    shares = np.array([2, 1, 3]) / 6
    assert first_and_last.value == pytest.approx(-(shares * np.log(shares)).sum())


@pytest.mark.parametrize("num", [3, 10_000])
def test_what_fills_no_block_is_not_natural_text_of_that_length(tmp_path: Path, num: int) -> None:
    """The end of a text is shorter than the blocks, and of lower entropy."""
    tokenizer, ends = tiny_tokenizer(), set()
    for more in range(8):  # whatever is left over at the end
        text = write_jsonl(tmp_path / f"{more}.jsonl", [*DOCUMENTS * 4, "a " * more + "b"])
        ids = reference_samples(str(text), tokenizer, num=num, length="12", limit=12).ids or []
        ends.add(len(ids))
        assert ids and {len(each) for each in ids} == {12}
    assert num > 3 or ends == {3}
    short = write_jsonl(tmp_path / "short.jsonl", ["a b"])
    ids = reference_samples(str(short), tokenizer, num=num, length="12", limit=12).ids or []
    assert len(ids) == 1 and len(ids[0]) < 12, "all there is"


def test_the_bundled_judge_knows_the_entropy_of_natural_text() -> None:
    judge = open_judge("tiny-judge")
    level = stored_natural(judge, judge.tokenizer, "128").level(range(512))
    assert level.diversity.value == pytest.approx(4.2418, abs=1e-4)
    assert len(level.diversity) == 512 and level.ngrams is None
    assert stored_natural(judge, judge.tokenizer, "64") is None, "entropy is of one length"
    assert stored_natural(judge, tiny_tokenizer(), "128") is None


def test_a_point_weights_tokens_alike_and_leaves_out_what_holds_none() -> None:
    point = point_of(
        0.9,
        {
            "per_sample_tokens": [1, 3, 0],
            "per_sample_nats": [5.0, 1.0, None],
            "per_sample_entropy": [2.0, 1.0, None],
        },
    )
    assert point.nll.value == pytest.approx((5 + 3) / 4)
    assert point.diversity.value == pytest.approx(1.5)


def test_samples_of_one_number_are_paired() -> None:
    """Curves that differ by 0.5 in every sample, however the samples differ, differ by 0.5."""
    nats, entropies = np.array([1.0, 2.0, 6.0]), [[3.0, 4.0, 5.0]] * 3
    sets = [
        *curve(LIMIT, entropies, [list(nats)] * 3),
        *curve(STUDENT, entropies, [list(nats + 0.5)] * 3),
    ]
    found = compared(sets)["frontiers"]["student_8"]
    assert found["nll_at_equal_diversity"]["high"] > found["nll_at_equal_diversity"]["low"] + 1
    assert list(found["minus_baseline"].values()) == pytest.approx([0.5] * 3)


def test_temperatures_and_the_reference_are_parsed(tmp_path: Path) -> None:
    given = BenchmarkOptions(models="a:dplm,b", out=tmp_path, temperatures="1.1,0.8,1", steps="4,8")
    study = parse_study(given)
    assert study.temperatures == (0.8, 1.0, 1.1)
    a_4, a_8, limit = Cell("a", 4, "dplm"), Cell("a", 8, "dplm"), Cell.limit("a")
    assert study.reference((a_4, a_8)) == a_8
    assert study.reference((a_4, a_8, limit)) == limit
    assert [each.name for each in study.heated(a_4)] == ["a_dplm_4_t0.8", "a_dplm_4_t1.1"]
    heated = study.heated(GPT)
    assert [each.name for each in heated] == ["gpt_t0.8", "gpt_t1.1"]
    assert parse_study(replace(given, temperatures="")).temperatures == (1.0,)
    for bad in ("0.8,x", "0", "-1", "nan", "inf"):
        with pytest.raises(UserError, match=f"--temperatures {bad}: .* is no temperature"):
            parse_study(replace(given, temperatures=bad))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> BenchmarkOptions:
    models = tmp_path_factory.mktemp("models")
    teacher, student = (
        write_tiny_model(models / name, seed) for seed, name in enumerate(("teacher", "student"))
    )
    gpt = str(save_causal(models / "gpt"))
    return BenchmarkOptions(
        out=tmp_path_factory.mktemp("run") / "study",
        models=f"{teacher},{student}",
        temperatures="0.5,1",
        baseline=gpt,
        judge=gpt,
        steps="3",
        length=16,
        num=6,
        repeats=1,
        max_batch=1,
        device="cpu",
    )


@pytest.fixture(scope="module")
def done(given: BenchmarkOptions) -> BenchmarkResult:
    return benchmark(given)


def cell_file(folder: Path, name: str) -> Mapping[str, Any]:
    return json.loads((folder / "cells" / f"{name}.json").read_text())


def test_a_sweep_is_samples_and_figures_and_no_timing(done: BenchmarkResult) -> None:
    names = {path.stem for path in (done.out / "cells").iterdir()}
    plain = {"teacher_3", "student_3", "gpt"}
    assert names == plain | {f"{name}_t0.5" for name in plain}
    cold, own = cell_file(done.out, "teacher_3_t0.5"), cell_file(done.out, "teacher_3")
    assert cold["settings"]["temperature"] == 0.5 and "latency" not in cold and "latency" in own
    assert cold["quality"]["entropy"]["mean"] < own["quality"]["entropy"]["mean"]
    assert done.record["num_sets"] == 6 and done.failed == ()
    cold, own = cell_file(done.out, "gpt_t0.5"), cell_file(done.out, "gpt")
    nats = [cell["quality"]["nats_per_token"]["mean"] for cell in (cold, own)]
    assert nats[0] < nats[1]  # it judges itself
    assert cold["settings"]["sampler"] == "autoregressive" and "latency" not in cold


def test_the_record_holds_curves_and_rows_their_values(done: BenchmarkResult) -> None:
    assert done.record == json.loads((done.out / "benchmark.json").read_text())
    found, rows = done.record["frontiers"], done.record["rows"]
    assert (found["baseline"], list(found["frontiers"])) == (
        "teacher_3", ["teacher_3", "student_3", "gpt"],
    )  # fmt: skip
    assert found["equal_diversity"] == pytest.approx(rows[0]["entropy"], abs=1e-6)
    own = found["frontiers"]["teacher_3"]["points"][1]
    assert own["nll"]["mean"] == pytest.approx(rows[0]["nats_per_token"], abs=1e-6)
    assert rows[0]["nll_at_equal_entropy"] == pytest.approx(own["nll"]["mean"])
    assert rows[0]["difference_at_equal_entropy"] == 0
    of_baseline = found["frontiers"]["gpt"]  # drawn at the same temperatures, in no steps
    assert [point["temperature"] for point in of_baseline["points"]] == [0.5, 1.0]
    assert of_baseline["settings"] == {"model": "gpt", "sampler": "autoregressive", "steps": None}
    nll = of_baseline["nll_at_equal_diversity"]
    assert rows[2]["nll_at_equal_entropy"] == (nll and nll["mean"])
    table = pd.read_csv(done.out / "benchmark.csv")
    assert table["equal_entropy"].notna().sum() == 3
    matched = pd.read_csv(done.out / MATCHED_FILE)
    assert tuple(matched.columns) == MATCHED_COLUMNS and matched["model"].tolist() == [
        "teacher", "student",
    ]  # fmt: skip
    assert matched["perplexity"][0] == pytest.approx(rows[0]["perplexity"], rel=1e-6)


def test_it_is_printed_and_drawn(done: BenchmarkResult) -> None:
    text = printed(done)
    assert "| NLL at equal entropy | difference |" in text
    assert "that of teacher_3 at temperature 1" in " ".join(text.split())
    assert "training set itself would win" in " ".join(text.split())
    sweeps = sweeps_of(done.record, (Cell("teacher", 3), Cell("student", 3), GPT))
    assert sweeps is not None and set(sweeps.points) == {
        "teacher, ancestral", "student, ancestral", "gpt, autoregressive",
    }  # fmt: skip
    assert [point.label for point in sweeps.points["teacher, ancestral"][0]] == ["T 0.5", ""]
    assert done.figure is None or done.figure.stat().st_size > 10_000


@pytest.mark.usefixtures("no_figure")
def test_a_finished_sweep_is_compared_at_natural_text(
    given: BenchmarkOptions, done: BenchmarkResult, tmp_path: Path
) -> None:
    held_out = write_jsonl(tmp_path / "held_out.jsonl")
    found = benchmark(replace(given, resume=True, reference=held_out)).record
    level = found["frontiers"]["level"]
    assert level["source"] == "that of held-out text" and level["n"] == 6
    assert found["frontiers"]["equal_diversity"] == pytest.approx(level["diversity"]["mean"])
    assert found["frontiers"]["equal_ngrams"] > 0
    assert all(row["equal_entropy"] for row in found["rows"])
    points = found["frontiers"]["frontiers"]["teacher_3"]["points"]
    tokens = read_samples(done.out / "samples" / "teacher_3.jsonl").ids
    assert points[1]["ngrams"]["mean"] == pytest.approx(BIGRAMS(tokens).value)
    absent = tmp_path / "none.jsonl"
    with pytest.raises(UserError, match=f"--reference {absent}: "):
        benchmark(replace(given, resume=True, reference=absent))
    with pytest.raises(UserError, match=f"--reference {held_out} needs --temperatures"):
        benchmark(replace(given, resume=True, reference=held_out, temperatures="1"))


def fail_at_first(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Let the first measurement fail; the list grows by one a measurement."""
    real, calls = cell_runner.measure_samples, []

    def fails_at_first(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise UserError("nothing to judge.")
        return real(*arguments, **named)

    monkeypatch.setattr(cell_runner, "measure_samples", fails_at_first)
    return calls


@pytest.mark.usefixtures("no_figure")
def test_it_resumes_by_temperature_and_a_failure_is_told(
    given: BenchmarkOptions, done: BenchmarkResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {path: path.stat().st_mtime_ns for path in (done.out / "cells").iterdir()}
    calls = fail_at_first(monkeypatch)
    wider = replace(given, temperatures="0.5,0.7", resume=True)
    broken = benchmark(wider)
    assert broken.failed == ("teacher_3_t0.7",) and len(calls) == 3
    assert "No figures of teacher_3_t0.7: nothing to judge." in broken.record["notes"]
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    whole = benchmark(wider)
    assert whole.failed == () and len(calls) == 4
    points = whole.record["frontiers"]["frontiers"]["teacher_3"]["points"]
    assert [point["temperature"] for point in points] == [0.5, 0.7, 1.0]


def test_without_its_reference_nothing_is_compared(
    given: BenchmarkOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at_first(monkeypatch)
    result = benchmark(replace(given, out=tmp_path / "study", baseline="none"))
    assert result.failed == ("teacher_3",) and result.record["frontiers"] is None
    assert result.record["notes"][-1].startswith("Nothing compares at equal entropy: teacher_3")
    assert result.record["rows"][1]["equal_entropy"] is None
