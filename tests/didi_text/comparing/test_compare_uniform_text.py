"""`didi-text compare` of a uniform-state teacher to its end: it has no limit to compare with."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from text_fixtures import save_causal, write_jsonl
from text_models import write_tiny_model

from didi_core.commands.comparing import compare as comparing
from didi_text.compare import CompareResult, compare
from didi_text.comparing.options import CompareOptions

PSI = "psi(eta=0.02)"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DIDI_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> CompareOptions:
    """Neither sampler is the plain one, which the teacher has all the same."""
    folder = tmp_path_factory.mktemp("uniform")
    return CompareOptions(
        teacher=str(write_tiny_model(folder / "teacher", seed=0, process="uniform")),
        out=folder / "study",
        methods="dcd",
        samplers=f"greedy-tail,{PSI}",
        steps="2",
        teacher_steps="3",
        temperatures="0.5",
        top_p=0.9,
        budget=0.2,
        data=str(write_jsonl(folder / "train.jsonl")),
        num=3,
        length="16-20",
        judge=str(save_causal(folder / "judge")),
        device="cpu",
    )


@pytest.fixture(scope="module")
def finished(options: CompareOptions) -> CompareResult:
    return compare(options)


def test_the_plain_rows_are_there_and_all_others_are_paired(finished: CompareResult) -> None:
    rows = finished.table[["model", "sampler", "steps"]].itertuples(index=False, name=None)
    samplers = ("ancestral", "greedy-tail", PSI)
    teacher = [("teacher", sampler, steps) for sampler in samplers for steps in (2, 3)]
    assert list(rows) == [*teacher, *(("dcd", sampler, 2) for sampler in samplers[1:])]
    assert finished.table["nll_minus_teacher"].isna().tolist() == [True, True, *[False] * 6]
    record = json.loads((finished.out / "frontier.json").read_text())
    assert record["baseline"] == "teacher_3" and record["equal_diversity"] > 0
    assert finished.table["difference_at_equal_diversity"][1] == 0


def test_options_reach_the_samples(finished: CompareResult) -> None:
    path = finished.out / "samples" / "dcd_psi-eta=0.02_2.generate.json"
    settings = json.loads(path.read_text())["settings"]
    assert settings["sampler_options"] == {"eta": 0.02} and settings["top_p"] == 0.9
    assert finished.report.is_file()


def test_it_goes_on(
    options: CompareOptions, finished: CompareResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "warm_up", None)  # nothing is made, so nothing is called
    again = compare(replace(options, resume=True)).table
    pd.testing.assert_frame_equal(again, finished.table)
