"""Duo and MDLM side by side: the order of the jobs, one tiny study run through, and its table."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.side_by_side import jobs, plan
from benchmarks.side_by_side.corpus import exact_samples
from benchmarks.side_by_side.figures import write_figures
from benchmarks.side_by_side.plan import CELLS, MODELS, NUM_SAMPLES, Job, jobs_of
from benchmarks.side_by_side.proteins import PROTEINS
from benchmarks.side_by_side.tables import (
    Record,
    bound_difference,
    equal_lines,
    natural_equal_lines,
    shown,
)
from benchmarks.side_by_side.texts import TEXTS
from didi_core.evaluation.bootstrap import Interval
from didi_core.evaluation.frontier import FrontierPoint
from didi_core.evaluation.ratio import Ratio
from didi_core.models.causal import CausalNetwork
from didi_text.models.load import BUNDLED_MODELS

NAMES = ("tiny-judge", "tiny")
"""Bundled models of text."""


def test_every_job_finds_what_it_needs() -> None:
    done: set[str] = set()
    first = jobs_of("text", 0)[0]
    assert first.kind == "natural" and not jobs.needed(first), "what is natural is judged once"
    for job in jobs_of("text", 1):
        needed = CELLS[job.name].model if job.kind == "sweep" else MODELS[job.name].teacher
        needed = job.name if job.kind == "bound" else needed
        assert needed is None or needed in done
        if job.kind == "train":
            done.add(job.name)
    assert done == set(MODELS) == {cell.model for cell in CELLS.values()} | {"duo-gaussian"}
    assert len({job.key for job in jobs_of("text", 1)}) == len(jobs_of("text", 1))
    some = jobs_of("text", 1, ["mdlm", "dcd greedy-tail"])
    assert {job.name for job in some if job.kind == "train"} == {"mdlm", "duo", "dcd"}


def test_bounds_are_compared_sequence_by_sequence() -> None:
    tokens = [10, 30]
    duo = {"nats_of_each_sequence": [22.0, 64.0], "tokens_of_each_sequence": tokens}
    mdlm = {"nats_of_each_sequence": [20.0, 60.0], "tokens_of_each_sequence": tokens}
    found = bound_difference(duo, mdlm)
    assert found.mean == pytest.approx(6 / 40)
    assert found.low == pytest.approx(4 / 30) and found.high == pytest.approx(2 / 10)
    assert shown(Interval(0.15, 0.1, 0.2).as_dict()) == "0.150 [0.100, 0.200]" and shown(None) == ""


def test_the_likelihood_of_an_autoregressive_model_needs_no_draws() -> None:
    """A given first token is free; the others cost what the law says."""
    config = GPT2Config(vocab_size=5, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    network = CausalNetwork(GPT2LMHeadModel(config).eval(), start_id=0)
    ids = [[0, 2, 1], [3, 1]]
    found = exact_samples(network, ids)
    with torch.no_grad():
        first = network.network(input_ids=torch.tensor([[0, 2]])).logits.log_softmax(-1)
        second = network.network(input_ids=torch.tensor([[0, 3]])).logits.log_softmax(-1)
    expected = [-first[0, 0, 2] - first[0, 1, 1], -second[0, 0, 3] - second[0, 1, 1]]
    assert found.per_sequence() == pytest.approx([float(each) for each in expected], abs=1e-5)
    assert found.lengths.tolist() == [3, 2]
    assert found.estimate().nats_per_token == pytest.approx(float(sum(expected)) / 5, abs=1e-5)


def test_text_is_judged_shuffled_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIDI_CACHE", str(tmp_path / "cache"))
    data, out = tmp_path / "text.jsonl", tmp_path / "natural.jsonl"
    lines = [f"The {word} ran over the hill, and then it slept. " * 8 for word in ("fox", "ox")]
    data.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    found = {}
    for shuffled in (False, True):
        assert TEXTS.write_natural(data, out, 1, shuffled) == 1
        found[shuffled] = TEXTS.judge(out, 1.0)
    plain, mixed = found[False], found[True]
    assert mixed.nll.value > plain.nll.value + 1, "words without order read worse"
    assert mixed.diversity.value == pytest.approx(plain.diversity.value), "and are as varied"
    bounds = {name: TEXTS.bound(BUNDLED_MODELS.path_of(name), data) for name in NAMES}
    assert 0 < bounds["tiny-judge"]["nats_per_token"] < bounds["tiny"]["nats_per_token"] < 12
    assert len({tuple(each["tokens_of_each_sequence"]) for each in bounds.values()}) == 1


def test_bold_is_what_leaves_no_difference_out() -> None:
    def record(seed: int, low: float, high: float) -> Record:
        less = {"mean": (low + high) / 2, "low": low, "high": high}
        return {"kind": "sweep", "name": "duo", "steps": 8, "seed": seed, "minus_baseline": less}

    rows = equal_lines("text", [record(0, -0.3, -0.1), record(1, -0.1, 0.3), record(2, 0.1, 0.2)])
    assert rows[2] == "| duo | **-0.20**, 0.10, **0.15** | -, -, - | -, -, - |"


def test_at_natural_diversity_the_stored_curves_are_read_by_hand() -> None:
    def sweep(name: str, seed: int, nlls: list[float], first: float = 1.0) -> Record:
        points = [
            {"temperature": t, "diversity": {"mean": first + k}, "nll": {"mean": nll}}
            for k, (t, nll) in enumerate(zip((0.9, 1.0), nlls, strict=True))
        ]
        return {"kind": "sweep", "name": name, "steps": 8, "seed": seed, "points": points}

    at = {"n": NUM_SAMPLES, "diversity": {"mean": 1.5}}
    natural = {"kind": "natural", "sequences": {"held out": {**at, "n": 3}, "trained on": at}}
    records = [natural, sweep("mdlm", 0, [2.0, 4.0]), sweep("mdlm", 1, [2.0, 3.0])]
    records += [sweep("duo", 0, [1.0, 3.0]), sweep("duo", 1, [1.0, 3.0], first=2.0)]
    lines = natural_equal_lines("text", records)
    assert lines[0].startswith("| less mdlm at 1.500 nats, natural, trained on |")
    assert lines[2:] == ["| duo | -1.00, not reached, - | -, -, - | -, -, - |"]
    far = [natural, sweep("mdlm", 0, [2.0, 4.0], first=3.0), records[3]]
    assert "mdlm does not reach it" in natural_equal_lines("text", far)[0]


@pytest.mark.parametrize(
    ("through", "tried"),
    [(None, "0.9 1 1.1"), (0.75, "0.7 0.8 0.9 1 1.1"), (1.15, "0.9 1 1.1 1.2")],
)
def test_a_curve_is_followed_until_it_reaches_both_sides(
    through: float | None, tried: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a cell whose diversity is its temperature."""
    made = []

    def point(*request: Any) -> FrontierPoint:
        made.append(request[-1])
        value = Ratio.mean_of([np.full(4, request[-1])])
        return FrontierPoint(request[-1], value, value)

    monkeypatch.setattr(jobs, "point", point)
    found = jobs.trace(Job("text", 0, "sweep", "duo", 8), "duo", Path(), 4, through)
    assert [f"{each.temperature:g}" for each in found.points] == tried.split()
    assert len(made) == len(found.points)


def test_a_tiny_study_runs_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for name in ("families_train", "families_valid"):
        rows = ["".join(random.choice(list("ACDEF"), int(n))) for n in random.integers(30, 34, 24)]
        path = tmp_path / "protein" / f"{name}.fasta"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(rows)))
    tiny = (*PROTEINS.told["pretrain"], "model.num_layers=1", "tokens_per_batch=512")
    small = replace(
        PROTEINS,
        train="protein/families_train.fasta",
        held_out="protein/families_valid.fasta",
        told={"pretrain": tiny},
        teacher_updates=2,
    )
    monkeypatch.setattr(jobs, "CORPORA", {"protein": small})
    monkeypatch.setattr(jobs, "TEMPERATURES", (0.8, 1.0, 1.3))
    monkeypatch.setattr(jobs, "HIGHER", (1.5,))
    monkeypatch.setattr(jobs, "LOWER", (0.5,))
    monkeypatch.setattr(plan, "RESULTS", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    todo = [Job("protein", 0, "natural", "sequences")]
    todo += [
        Job("protein", 0, kind, name)
        for name in ("mdlm", "duo", "ar")
        for kind in ("train", "bound")
    ]
    todo += [Job("protein", 0, "sweep", "ar", steps) for steps in (8, 16)]
    todo += [Job("protein", 0, "sweep", name, 8) for name in ("mdlm", "duo greedy-tail")]
    for job in todo:
        jobs.run_job(job, tmp_path, num=6)
    plain, greedy = (json.loads(job.result.read_text()) for job in todo[-2:])
    assert [each["temperature"] for each in plain["points"]] == [0.8, 1.0, 1.3]
    # It writes one residue: higher temperatures are tried, and do not reach either.
    assert [each["temperature"] for each in greedy["points"]] == [0.8, 1.0, 1.3, 1.5]
    assert greedy["points"][-1]["diversity"]["mean"] < greedy["equal_diversity"]
    of_any = {path.name for path in (tmp_path / plan.RUNS).rglob("ar_*.fasta")}
    assert {name.split("_")[1] for name in of_any} == {"any"}, "its sets are made once"
    found = json.loads(todo[0].result.read_text())["sequences"]
    assert [each["n"] for each in found.values()] == [6, 6, 6]
    assert found["shuffled"]["diversity"] != found["trained on"]["diversity"]
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.json")}
    assert len(written) == len(todo)
    assert not list((tmp_path / plan.RUNS).rglob("*.seconds")), "cost is told once"
    jobs.run_job(todo[0], tmp_path)
    assert all(path.stat().st_mtime_ns == time for path, time in written.items()), "done is done"
    write_figures(tmp_path / "results")
    table = (tmp_path / "results" / "table.md").read_text()
    assert "| ar | 0 |" in table and "| held out | 6 |" in table
    assert "| duo greedy-tail | not reached, -, - | -, -, - | -, -, - |" in table
    assert "| duo | 0 |" in table and "| duo greedy-tail | 8 | 0 |" in table
    assert (tmp_path / "results" / "protein.png").stat().st_size > 1000
