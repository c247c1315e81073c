"""Paired differences of `didi-text benchmark`: which pairs, and their values by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from didi_core.commands.comparing.cells import Cell, ScoredCell
from didi_core.commands.comparing.table import pairs_of
from didi_core.evaluation.bootstrap import bootstrap_mean
from didi_core.models.causal import AUTOREGRESSIVE
from didi_text.benchmarking.options import BenchmarkOptions
from didi_text.benchmarking.run import nll_differences
from didi_text.benchmarking.study import Study, parse_study
from didi_text.benchmarking.table import differences_in_words

T8, T_LIMIT = Cell("teacher", 8), Cell.limit("teacher")
S8, S16 = Cell("student", 8), Cell("student", 16)
S_LIMIT, DPLM = Cell.limit("student"), Cell("teacher", 8, "dplm")
GPT = Cell("gpt", None, AUTOREGRESSIVE, is_baseline=True)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return parse_study(
        BenchmarkOptions(
            models="teacher:ancestral,student:ancestral,teacher:dplm",
            steps="8,limit",
            out=tmp_path,
        )
    )


def scored(cell: Cell, nats: list[float | None], tokens: list[int]) -> ScoredCell:
    return ScoredCell(cell, {}, pd.Series(nats, dtype=float), pd.Series(tokens, dtype=float))


def test_students_are_paired_with_their_teacher_at_equal_steps_and_at_its_limit() -> None:
    def pairs(cells: list[Cell]) -> list[tuple[Cell, Cell]]:
        return [(first, second) for first, _, second in pairs_of(cells, "teacher", "ancestral")]

    cells = [T8, T_LIMIT, S8, S16, S_LIMIT, DPLM, GPT]
    assert pairs(cells) == [
        (T8, T_LIMIT),
        (S8, T8), (S8, T_LIMIT),
        (S16, T_LIMIT),  # the teacher has no 16 steps
        (S_LIMIT, T_LIMIT),
        (DPLM, T8), (DPLM, T_LIMIT),
    ]  # fmt: skip
    assert pairs([T8, S8, GPT]) == [(S8, T8)]


def test_every_scored_token_counts_alike_and_a_pair_needs_both_samples(study: Study) -> None:
    teacher = scored(T8, [2.0, 3.0, 1.0], [10, 30, 10])
    student = scored(S8, [1.0, 2.0, None], [10, 10, 0])
    found = nll_differences(study, {T8: teacher, S8: student}, seed=0)
    assert list(found) == ["student_8 - teacher_8"]
    # (10 + 20) / 20 less (20 + 90) / 40: the third pair is none.
    assert found["student_8 - teacher_8"]["mean"] == pytest.approx(1.5 - 2.75)
    assert found["student_8 - teacher_8"]["pairs"] == 2
    nothing = {T8: teacher, S8: scored(S8, [None] * 3, [0] * 3)}
    assert nll_differences(study, nothing, seed=0) == {}


def test_intervals_are_those_of_pairs(study: Study) -> None:
    """Samples vary by much and their differences by little: so does the interval."""
    generator = np.random.default_rng(0)
    common, noise = generator.normal(size=200) * 5, generator.normal(size=200) * 0.1
    teacher = scored(T8, list(common), [10] * 200)
    student = scored(S8, list(common - 0.5 + noise), [10] * 200)
    found = nll_differences(study, {T8: teacher, S8: student}, seed=0)["student_8 - teacher_8"]
    expected = bootstrap_mean(noise - 0.5, seed=1)
    assert found["mean"] == pytest.approx(expected.mean)
    for end, value in (("low", expected.low), ("high", expected.high)):
        assert found[end] == pytest.approx(value, abs=0.003)
    assert found["high"] - found["low"] < 0.05


def test_they_are_printed_a_line_each() -> None:
    text = differences_in_words({"student_8 - teacher_8": {"mean": -0.5, "low": -0.625, "high": 0}})
    assert "  student_8 - teacher_8  -0.500 (-0.625 to +0.000)" in text
    assert "below 0 the first is better" in text
