"""Students beside their teacher, design by design."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_fixtures import rows, summary, write_table

from didi_core.commands.comparing import cells as comparison_cells
from didi_core.sampling.folder_defaults import plain_sampler
from didi_core.sampling.registry import find_sampler
from didi_protein.reporting import cells as report_data
from didi_protein.reporting.cells import Cell, cells_of
from didi_protein.reporting.tables import read_tables
from didi_protein.reporting.text import (
    highlights,
    paired_difference,
    paired_lines,
    which_is_better,
)


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    """A teacher in 8 and 16 steps and at its limit; its student, 0.2 better in 8, equal in 16."""
    for number, (model, sampler, steps) in enumerate(
        (
            ("teacher", "ancestral", 8),
            ("teacher", "ancestral", 16),
            ("teacher", "first-hitting", None),
            ("student", "ancestral", 8),
            ("student", "ancestral", 16),
        )
    ):
        table = rows(model, sampler, steps, 2.8, seed=0)
        noise = np.random.default_rng(number).normal(0, 0.05, len(table))
        less = 0.2 if (model, steps) == ("student", 8) else 0.0
        table["judge_perplexity"] *= np.exp(noise - noise.mean() - less)
        write_table(tmp_path, f"{model}_{steps}", table, summary(2.8, len(table)), None)
    return cells_of(read_tables([tmp_path]))


def cell(cells: list[Cell], model: str, steps: int) -> Cell:
    return next(each for each in cells if (each.model, each.steps) == (model, steps))


def test_pairs_tell_what_the_intervals_of_sets_do_not(cells: list[Cell]) -> None:
    found = paired_difference(cell(cells, "student", 8), cell(cells, "teacher", 8))
    assert found is not None
    assert found.mean == pytest.approx(-0.2, abs=1e-9)
    assert found.high - found.low < 0.05, "what designs of a length have in common cancels"
    (line,) = paired_lines(cells, "teacher")
    assert line.startswith("student beside teacher in as many steps, design by design: judge NLL ")
    assert "0.20 lower (0.18 to 0.22) at 8, no different beyond chance at 16 (nats" in line
    assert line in highlights([], cells)


def test_sets_that_are_no_pairs_are_not_paired(cells: list[Cell]) -> None:
    student, teacher = cell(cells, "student", 8), cell(cells, "teacher", 8)
    for designs in (
        student.designs.iloc[1:],
        student.designs.assign(length=student.designs["length"] + 1),
        student.designs.drop(columns="judge_perplexity"),
    ):
        assert paired_difference(replace(student, designs=designs), teacher) is None
    lines = list(paired_lines([replace(student, judges_itself=True), teacher], "teacher"))
    assert lines == [], "the judge's own set is set against none"


def test_samplers_are_called_as_where_they_are_defined() -> None:
    assert report_data.LIMIT_SAMPLER == comparison_cells.LIMIT_SAMPLER
    (with_limit,) = find_sampler(report_data.LIMIT_SAMPLER).processes
    assert plain_sampler(with_limit).name == report_data.PLAIN_SAMPLER


def test_a_score_model_is_set_against_its_masked_teacher(cells: list[Cell]) -> None:
    drawn = [replace(each, sampler="analytic") for each in cells if each.model == "student"]
    teacher = [each for each in cells if each.model == "teacher"]
    (line,) = paired_lines([*teacher, *drawn], "teacher")
    assert "lower (0.18 to 0.22) at 8, no different" in line


def test_another_sampler_is_set_against_the_ancestral_one(cells: list[Cell]) -> None:
    student, teacher = cell(cells, "student", 8), cell(cells, "teacher", 8)
    (line,) = paired_lines([student, replace(student, sampler="apart"), teacher], "teacher")
    assert "at 8 of ancestral, " in line and "at 8 of apart (" in line


def test_one_of_two_paired_sets_is_called_better(cells: list[Cell]) -> None:
    student, teacher = cell(cells, "student", 8), cell(cells, "teacher", 8)
    for pair in ((student, teacher), (teacher, student)):
        line = which_is_better(*pair)
        assert line.startswith("student, ancestral, 8 steps is better than teacher, ancestral, 8")
        assert "64 pairs" in line and "0.20 nats a residue lower" in line and "0.18 to 0.22" in line
        (said,) = highlights([], list(pair))
        assert said == line, "and the row of the best mean is not named beside it"


def test_neither_of_two_equal_sets_is_called_better(cells: list[Cell]) -> None:
    line = which_is_better(cell(cells, "student", 16), cell(cells, "teacher", 16))
    assert line.startswith("Neither student, ancestral, 16 steps nor teacher")


@pytest.mark.parametrize("column", ["seed", "length", "id"])
def test_sets_of_other_seeds_or_lengths_are_not_called_better(
    cells: list[Cell], column: str
) -> None:
    student, teacher = cell(cells, "student", 8), cell(cells, "teacher", 8)
    other = student.designs.assign(**{column: student.designs[column] * 2})
    assert which_is_better(replace(student, designs=other), teacher) == ""


def test_plddt_decides_where_both_were_folded(cells: list[Cell]) -> None:
    """pLDDT by hand: one set 2 above the other in every pair, while its judge NLL is worse."""
    student, teacher = cell(cells, "student", 8), cell(cells, "teacher", 8)
    plddt = np.linspace(60, 90, len(teacher.designs))
    low = replace(student, designs=student.designs.assign(mean_plddt=plddt))
    high = replace(teacher, designs=teacher.designs.assign(mean_plddt=plddt + 2))
    line = which_is_better(low, high)
    assert line.startswith("teacher") and "pLDDT is 2.00 higher" in line
    partly = replace(low, designs=low.designs.assign(mean_plddt=[np.nan, *plddt[1:]]))
    assert which_is_better(partly, high).startswith("student"), "half folded: the judge decides"
