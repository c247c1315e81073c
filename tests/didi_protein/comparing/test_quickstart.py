"""`didi-protein quickstart` at a small scale: what it leaves, that it resumes, what it refuses."""

import numpy as np
import pandas as pd
import pytest
from quickstart_checks import (  # noqa: F401  its tests run here too
    Quickstarts,
    test_a_run_again_keeps_what_is_finished,
    test_an_interrupted_run_ends_as_an_unbroken_one,
    test_another_seed_gives_other_sequences,
    test_files_hold_the_table,
    test_other_work_and_other_plans_are_refused,
    test_what_is_missing_is_named_before_anything_is_written,
)
from scoring_fixtures import random_sequences, write_judge, write_masked

from didi_core.commands.comparing.quickstart import findings, gain_in_words
from didi_core.evaluation.bootstrap import Interval, bootstrap_mean
from didi_core.io.files import write_json
from didi_protein.comparing import quickstart as quickstart_run
from didi_protein.comparing.options import Plan, QuickstartOptions
from didi_protein.comparing.quickstart import WORDS, print_result
from didi_protein.models.judges import REFERENCE_ROWS, open_judge
from didi_protein.quickstart import QuickstartResult, quickstart
from didi_protein.scoring.set_measures import measure_reference_rows
from didi_protein.sequences.fasta import read_records

NAMES = {"teacher_16", "teacher_limit", "student_momentum_16", "earlier_16"}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Random models of one layer, a judge that knows reference rows, and little work."""
    models = tmp_path_factory.mktemp("models")
    judge = open_judge(str(write_judge(models / "judge")))
    natural = random_sequences(120, 20, 40)  # enough of every length that is scored
    write_json(models / "judge" / REFERENCE_ROWS, measure_reference_rows(judge, natural, natural))
    return Plan(
        teacher=str(write_masked(models / "teacher", seed=0)),
        student=str(write_masked(models / "earlier", seed=1)),
        judge=str(models / "judge"),
        distill_steps=3,
        tokens_per_batch=256,
        pool_size=8,
        pool_steps=4,
        num=6,
        length="20-40",
        family=None,
        data=None,
        teacher_steps=(16, None),
        student_steps=(16,),
    )


@pytest.fixture(scope="module")
def quickstarts() -> Quickstarts:
    made = "designs/*.fasta"
    return Quickstarts(quickstart, QuickstartOptions, quickstart_run, made, kept=made)


@pytest.fixture(scope="module")
def finished(
    quickstarts: Quickstarts, plan: Plan, tmp_path_factory: pytest.TempPathFactory
) -> QuickstartResult:
    return quickstarts(plan, tmp_path_factory.mktemp("run") / "quickstart")


def test_every_promised_file_is_there(finished: QuickstartResult) -> None:
    out = finished.out
    expected = {
        f"{name}.{kind}"
        for name in NAMES
        for kind in ("fasta", "csv", "summary.json", "generate.json")
    }
    assert {path.name for path in (out / "designs").iterdir()} == expected
    assert (out / "student" / "model.safetensors").is_file()
    assert {"report.html", "comparison.csv", "quickstart.json", "designs", "student"} == {
        path.name for path in out.iterdir()
    }


def test_sets_are_of_equal_lengths_and_state_their_cost(finished: QuickstartResult) -> None:
    sets = {path.stem: read_records([path]) for path in (finished.out / "designs").glob("*.fasta")}
    lengths = {name: [len(each.sequence) for each in records] for name, records in sets.items()}
    assert all(len(each) == 6 and each == lengths["teacher_16"] for each in lengths.values())
    assert all(20 <= length <= 40 for length in lengths["teacher_16"])
    row = finished.table.set_index(["model", "sampler"])
    assert row.loc[("teacher", "first-hitting"), "calls"] == np.mean(lengths["teacher_16"])
    assert (row["calls"].drop(("teacher", "first-hitting")) <= 16).all()


def test_gain_is_of_pairs(finished: QuickstartResult) -> None:
    folder = finished.out / "designs"
    one, two = (
        np.log(pd.read_csv(folder / f"{name}.csv")["judge_perplexity"])
        for name in ("student_momentum_16", "teacher_16")
    )
    assert finished.gain == bootstrap_mean(one - two, seed=0)
    student = finished.table.set_index("model").loc["student"]
    assert student["nll_minus_teacher"] == pytest.approx(finished.gain.mean)
    assert finished.table.set_index("model").loc["teacher", "nll_minus_teacher"].isna().all()


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (Interval(-0.2, -0.3, -0.1), "more naturally than"),
        (Interval(0.2, 0.1, 0.3), "less naturally than"),
        (Interval(-0.1, -0.3, 0.1), "includes zero"),
    ],
)
def test_gain_is_claimed_only_where_the_interval_excludes_zero(
    interval: Interval, words: str
) -> None:
    assert words in gain_in_words(interval, 30, WORDS)
    few = gain_in_words(interval, 2, WORDS)
    assert "of 2 pairs of designs: fewer than 30 show nothing" in few
    assert "naturally" not in few and f"{interval.low:+.3f}" not in few


def test_printed_result_names_every_set_and_place(
    finished: QuickstartResult, capsys: pytest.CaptureFixture[str]
) -> None:
    print_result(finished)
    printed = capsys.readouterr().out
    for row in ("teacher", "student", "earlier", "natural held out", "residue shuffled"):
        assert f" {row} " in printed
    assert "limit" in printed
    assert str(finished.report) in printed
    assert findings(finished, WORDS) in printed
    assert "Only 6 sequences a set: intervals from fewer than 30 are too narrow" in printed
    assert max(map(len, printed.split("Report  ")[0].splitlines())) <= 80
