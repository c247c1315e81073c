"""Rows of a comparison at several temperatures: which sets compare, where, and what is told."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from didi_core.commands.comparing.cells import Cell, ScoredCell
from didi_core.commands.comparing.sweep import (
    MeasuredSet,
    Natural,
    Sweep,
    add_columns,
    baseline_of,
    sweep_of,
)
from didi_core.commands.comparing.table import paired_difference, pairs_of, printed_table
from didi_core.evaluation.frontier import FrontierPoint, Level
from didi_core.evaluation.frontier_record import COPIES
from didi_core.evaluation.ratio import Ratio

IDS = ("a", "b", "c")
LIMIT, TEACHER, STUDENT = Cell.limit("t"), Cell("t", 8), Cell("s", 8)
COLDER = 0.5


def measured(cell: Cell, nll: float, diversity: float, ids: Sequence[str] = IDS) -> MeasuredSet:
    """Every sequence alike, but for "c", which is a nat dearer."""

    def point(chosen: Sequence[str]) -> FrontierPoint:
        nats = [nll + (each == "c") for each in chosen]
        return FrontierPoint(
            cell.temperature, Ratio.mean_of(nats), Ratio.mean_of([diversity] * len(chosen))
        )

    return MeasuredSet(cell, frozenset(ids), point)


def curves(ids: Sequence[str] = IDS) -> list[MeasuredSet]:
    """The limit passes diversity 2 at NLL 3; the student from 1.5 at 2 to 2.5 at 4."""
    return [
        measured(STUDENT, 4.0, 2.5, ids),
        measured(LIMIT, 3.0, 2.0, ids),
        measured(STUDENT.at(COLDER), 2.0, 1.5, ids),
        measured(LIMIT.at(COLDER), 2.0, 1.0, ids),
    ]


def scored(*cells: Cell) -> list[ScoredCell]:
    return [ScoredCell(cell, {}, pd.Series(dtype=float)) for cell in cells]


def test_names_of_cells_and_where_heated_sets_lie() -> None:
    assert [cell.name for cell in (LIMIT, TEACHER, TEACHER.at(COLDER))] == [
        *("t_limit", "t_8", "t_8_t0.5"),
    ]
    assert Cell("t", 8, "apart", 1.25).name == "t_apart_8_t1.25"
    assert LIMIT.at(COLDER).name == "t_limit_t0.5" and TEACHER.at(COLDER).at(1.0) == TEACHER


def test_the_limit_is_the_baseline_else_the_most_steps_of_the_teacher() -> None:
    assert baseline_of(scored(TEACHER, LIMIT, STUDENT), "t") == LIMIT
    most, tail = Cell("t", 64), Cell("t", 128, "greedy-tail")
    loop = Cell("t", 64, "psi", options=(("schedule", "loop"),))
    for cells in permutations((TEACHER, most, tail, loop, Cell("s", 99))):
        assert baseline_of(scored(*cells), "t") == most, "whatever the order of --samplers"
    assert baseline_of(scored(tail, loop), "t") is None


def test_curves_are_compared_where_the_baseline_is_at_temperature_1() -> None:
    record = sweep_of(curves(("a", "b")), LIMIT, None, None, seed=0).record
    assert record["equal_diversity"] == 2.0 and record["baseline"] == "t_limit"
    student = record["frontiers"]["s_8"]
    assert [point["temperature"] for point in student["points"]] == [COLDER, 1.0]
    assert student["nll_at_equal_diversity"]["mean"] == pytest.approx(3.0)
    assert student["minus_baseline"]["mean"] == pytest.approx(0.0)
    elsewhere = sweep_of(curves(("a", "b")), LIMIT, 1.5, None, seed=0).record
    assert elsewhere["frontiers"]["s_8"]["minus_baseline"]["mean"] == pytest.approx(-0.5)
    beyond = sweep_of(curves(), LIMIT, 2.25, None, seed=0).record
    assert beyond["frontiers"]["t_limit"]["nll_at_equal_diversity"] is None, "not extrapolated"


def natural(diversity: list[float], ids: Sequence[str] | None = None) -> Natural:
    """Natural data, one diversity a record."""

    def level(chosen: Sequence[str]) -> Level:
        del chosen
        return Level(Ratio.mean_of(diversity), "that of nature")

    return Natural(level, None if ids is None else frozenset(ids))


def test_natural_data_say_where_curves_are_compared() -> None:
    found = sweep_of(curves(("a", "b")), LIMIT, None, natural([1.5, 2.0]), seed=0)
    record = found.record
    assert record["equal_diversity"] == 1.75 and record["level"]["source"] == "that of nature"
    assert record["level"]["diversity"] == {"mean": 1.75, "low": 1.5, "high": 2.0}
    student = record["frontiers"]["s_8"]["nll_at_equal_diversity"]
    assert student == pytest.approx({"mean": 2.5, "low": 2.0, "high": 3.0}), "all of it nature's"
    assert not any("a model's own entropy" in note for note in found.notes)
    own = sweep_of(curves(("a", "b")), LIMIT, None, None, seed=0)
    assert any("a model's own entropy" in note for note in own.notes)
    asked = sweep_of(curves(("a", "b")), LIMIT, 2.0, natural([1.5, 2.0]), seed=0).record
    assert asked["equal_diversity"] == 2.0 and asked["level"]["diversity"] is None


def test_curves_rest_on_the_sequences_that_have_a_natural_one() -> None:
    found = sweep_of(curves(), LIMIT, None, natural([1.5], ids=("a", "c")), seed=0)
    assert {curve["n"] for curve in found.record["frontiers"].values()} == {2}
    assert any("2 sequences: as many have a natural one" in note for note in found.notes)
    asked = sweep_of(curves(), LIMIT, 1.5, natural([1.5], ids=("a", "c")), seed=0).record
    assert {curve["n"] for curve in asked["frontiers"].values()} == {3}, "a number is of all"
    none = sweep_of(curves(), LIMIT, None, natural([1.5], ids=("z",)), seed=0)
    assert none.record is None and "no natural sequence is as long" in none.notes[-1]


def test_what_is_out_of_reach_is_told_with_what_may_reach_it() -> None:
    sets = curves(("a", "b"))
    notes = sweep_of(sets, LIMIT, 2.25, None, seed=0).notes
    reach = next(note for note in notes if note.startswith("Not reached"))
    assert "t_limit has 1.000 to 2.000 nats, higher temp" in reach and "s_8" not in reach
    below = " ".join(sweep_of(sets, LIMIT, None, natural([0.5]), seed=0).notes)
    assert "s_8 has 1.500 to 2.500 nats, lower temperatures" in below
    assert COPIES in notes and "training set" in COPIES
    record = sweep_of(sets, STUDENT, None, natural([2.25]), seed=0).record
    table = pd.DataFrame({"model": ["t", "s"], "sampler": "ancestral", "steps": [8, 8]})
    added = add_columns(table.astype({"steps": "Int64"}), scored(LIMIT, STUDENT), record)
    columns = {"Equal": ("difference_at_equal_diversity", "{:+.3f}")}
    shown = list(printed_table(added, columns).columns[-1].cells)
    assert shown == ["not reached", "+0.000 (+0.000, +0.000)"]


def test_all_curves_rest_on_the_sequences_judged_in_every_set() -> None:
    sets = curves()
    sets[0] = measured(STUDENT, 4.0, 2.5, ("a", "b"))
    record = sweep_of(sets, LIMIT, None, None, seed=0).record
    assert {frontier["n"] for frontier in record["frontiers"].values()} == {2}
    assert record["frontiers"]["t_limit"]["nll_at_equal_diversity"]["mean"] == pytest.approx(3.0)


def test_a_set_without_figures_is_told_and_the_others_compare() -> None:
    none_judged = measured(TEACHER, 0.0, 0.0, ())
    sweep = sweep_of([*curves(), none_judged], LIMIT, None, None, seed=0)
    assert sweep.notes[0] == "t_8: 0 of 3 could be judged: it is on no curve."
    assert "Equal entropy" in sweep.notes[1] and set(sweep.record["frontiers"]) == {
        *("s_8", "t_limit")
    }
    lost = sweep_of([*curves(), none_judged], TEACHER, None, None, seed=0)
    assert lost.record is None and lost.notes[-1].endswith("entropy: t_8 is on no curve.")


def test_a_poor_set_does_not_take_the_sequences_of_all_the_others() -> None:
    sweep = sweep_of([*curves(), measured(TEACHER, 1.0, 1.0, ("a",))], LIMIT, None, None, seed=0)
    assert sweep.notes[0] == "t_8: 1 of 3 could be judged: it is on no curve."
    assert sweep.record["frontiers"]["s_8"]["n"] == 3
    fewer = sweep_of(
        [*curves(), measured(TEACHER, 1.0, 1.0, ("a", "b"))], LIMIT, None, None, seed=0
    )
    assert fewer.notes[0] == "Curves rest on the 2 sequences that were judged in every set."


def test_why_nothing_compares() -> None:
    apart = [*curves(("a",)), measured(TEACHER, 1.0, 1.0, ("b",))]
    sweep = sweep_of(apart, LIMIT, None, None, seed=0)
    assert sweep.record is None and "no sequence was judged in every set" in sweep.notes[-1]
    assert baseline_of(scored(STUDENT), "t") is None
    assert "the teacher has no row" in sweep_of(curves(), None, None, None, seed=0).notes[0]
    assert sweep_of([], LIMIT, None, None, seed=0).record is None


def test_a_baseline_is_named_by_its_model_and_has_no_pairs() -> None:
    own = Cell("ar", None, "autoregressive")
    beside = replace(own, is_baseline=True)
    assert (own.name, beside.name) == ("ar_autoregressive", "ar")
    assert beside.at(COLDER).name == "ar_t0.5"
    pairs = list(pairs_of([LIMIT, TEACHER, STUDENT, own, beside], "t"))
    assert pairs == [
        (TEACHER, "limit", LIMIT), (STUDENT, "teacher", TEACHER), (STUDENT, "limit", LIMIT),
        (own, "limit", LIMIT),
    ]  # fmt: skip


def test_a_difference_counts_pairs_alike_or_tokens_where_they_are_told() -> None:
    """Of nats 1 and 3 less 2 and 1: pairs -1 and 2; by tokens 1 and 3, and 2 and 2, 2.5 - 1.5."""
    one, two = pd.Series([1.0, 3.0, np.nan]), pd.Series([2.0, 1.0, 5.0])
    plain = [ScoredCell(STUDENT, {}, one), ScoredCell(TEACHER, {}, two)]
    assert paired_difference(*plain, seed=0).mean == pytest.approx(0.5)
    first = replace(plain[0], tokens=pd.Series([1.0, 3.0, 0.0]))
    second = replace(plain[1], tokens=pd.Series([2.0, 2.0, 9.0]))
    assert paired_difference(first, second, seed=0).mean == pytest.approx(1.0)
    none = replace(first, judge_nll=one * np.nan)
    assert np.isnan(paired_difference(none, second, seed=0).mean)


def test_columns_and_files(tmp_path: Path) -> None:
    sweep = sweep_of(curves(("a", "b")), LIMIT, 1.5, None, seed=0).written(tmp_path, "variety")
    assert json.loads(sweep.path.read_text())["equal_diversity"] == 1.5
    assert (tmp_path / "frontier.png").stat().st_size > 5_000
    rows = scored(LIMIT, TEACHER, STUDENT)
    table = pd.DataFrame({"model": ["t", "t", "s"], "steps": [None, 8, 8]})
    added = add_columns(table, rows, sweep.record)
    assert added["difference_at_equal_diversity"].iloc[[0, 2]].tolist() == pytest.approx([0, -0.5])
    assert np.isnan(added["nll_at_equal_diversity_low"].iloc[1]), "it has no curve"
    assert added["equal_diversity"].iloc[[0, 2]].tolist() == [1.5, 1.5]
    assert Sweep().written(tmp_path, "variety").path is None
    assert not list(tmp_path.iterdir()), "nothing of an earlier sweep is left"
