"""`didi-protein compare` of a uniform-state teacher to its end: it has no limit to compare with."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from scoring_fixtures import random_sequences, write_judge, write_uniform

from didi_core.commands.comparing import compare as comparing
from didi_core.errors import UserError
from didi_protein.compare import CompareResult, compare
from didi_protein.comparing.options import CompareOptions

LOOP = "psi(schedule=loop,eta=0.02)"


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> CompareOptions:
    """The greedy tail first, which once became the baseline, with no entropy of its own."""
    folder = tmp_path_factory.mktemp("uniform")
    natural = folder / "natural.fasta"
    natural.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(random_sequences(8))))
    return CompareOptions(
        teacher=str(write_uniform(folder / "teacher", seed=0)),
        out=folder / "study",
        methods="dcd",
        samplers=f"greedy-tail,{LOOP},ancestral",
        steps="2",
        teacher_steps="",
        temperatures="0.5",
        top_p=0.95,
        budget=0.2,
        data=str(natural),
        num=3,
        length="20-30",
        judge=str(write_judge(folder / "judge")),
        device="cpu",
    )


@pytest.fixture(scope="module")
def warmed() -> list[tuple[str, str]]:
    return []


@pytest.fixture(scope="module")
def finished(options: CompareOptions, warmed: list[tuple[str, str]]) -> CompareResult:
    whole = comparing.warm_up

    def noted(request: object, cell: object, model: object) -> None:
        warmed.append((cell.model, cell.label))
        whole(request, cell, model)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(comparing, "warm_up", noted)
        return compare(options)


def test_the_plain_row_is_the_baseline_and_every_other_row_a_pair(finished: CompareResult) -> None:
    table = finished.table
    samplers = ["ancestral", "greedy-tail", LOOP]
    assert table["sampler"].tolist() == [*samplers, "greedy-tail", LOOP, "ancestral"]
    assert table["model"].tolist() == ["teacher"] * 3 + ["dcd"] * 3
    assert table["nll_minus_teacher"].isna().tolist() == [True, *[False] * 5]
    assert "nll_minus_limit" not in table and (table["top_p"] == 0.95).all()
    record = json.loads((finished.out / "frontier.json").read_text())
    assert record["baseline"] == "teacher_2" and record["equal_diversity"] > 0
    plain = table.iloc[0]
    assert plain["difference_at_equal_diversity"] == 0
    curve = record["frontiers"]["teacher_psi-schedule=loop-eta=0.02_2"]
    assert curve["settings"] == {"model": "teacher", "sampler": LOOP, "steps": 2}
    assert [reason.split(",")[0] for reason in finished.left_out] == ["teacher with first-hitting"]


def test_each_model_and_sampler_is_called_once_before_it_is_timed(
    finished: CompareResult, warmed: list[tuple[str, str]]
) -> None:
    rows = finished.table[["model", "sampler"]].itertuples(index=False, name=None)
    assert sorted(warmed) == sorted(rows)


def test_options_reach_the_designs_the_scores_and_the_page(finished: CompareResult) -> None:
    name = "teacher_psi-schedule=loop-eta=0.02_2"
    made = json.loads((finished.out / "designs" / f"{name}.generate.json").read_text())["settings"]
    assert made["sampler_options"] == {"schedule": "loop", "eta": 0.02} and made["top_p"] == 0.95
    scores = pd.read_csv(finished.out / "designs" / f"{name}.csv")
    assert set(scores["header_sampler_options"]) == {"schedule=loop,eta=0.02"}
    page = finished.report.read_text()
    assert page.count(f"{LOOP}</td>") == 2 and "top-p 0.95" in page
    for drawn in ("quality", "quality-seconds", "quality-temperatures"):
        assert f'id="plot-{drawn}"' in page
    assert "NLL at equal entropy" in page and "Less teacher, equal entropy" in page


def test_it_goes_on_and_another_setting_is_refused(
    options: CompareOptions, finished: CompareResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "warm_up", None)  # nothing is made, so nothing is called
    again = compare(replace(options, resume=True)).table
    pd.testing.assert_frame_equal(again, finished.table)
    with pytest.raises(UserError, match="another samplers: give --samplers greedy-tai"):
        compare(replace(options, resume=True, samplers="greedy-tail,psi(eta=0.02),ancestral"))
