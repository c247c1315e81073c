"""`evaluate`: every task on tiny random models, against figures computed another way."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from text_fixtures import (
    DOCUMENTS,
    autoregressive_ids,
    save_causal,
    tiny_causal_model,
    tiny_masked_model,
    tiny_tokenizer,
    write_jsonl,
)
from text_models import sample, write_tiny_model

from didi_core.cli.run import run_program
from didi_core.errors import UserError
from didi_core.evaluation.bounds import bound_samples
from didi_core.sampling import run_request
from didi_text.corpora.packing import Packing, pack
from didi_text.evaluate import evaluate
from didi_text.evaluating import run as evaluate_run
from didi_text.evaluating.choice import encode_for, encode_pairs, join, read_questions
from didi_text.evaluating.likelihood import BoundSettings, continuation_nats
from didi_text.evaluating.mauve import features
from didi_text.evaluating.options import EvaluateOptions
from didi_text.evaluating.show import lines_of
from didi_text.models.judges import judge_texts, open_judge, scored_tokens
from didi_text.models.load import DiffusionLanguageModel, describe_model, is_causal
from didi_text.models.writers import open_language_model
from didi_text.samples.measures import read_samples
from didi_text.samples.reference import reference_samples

QUIET = {"device": "cpu", "quiet": True}


def options(tmp_path: Path, task: str, **given) -> EvaluateOptions:
    return EvaluateOptions(task=task, out=tmp_path / "out.json", **{**QUIET, "model": "m", **given})


# Samples and their judge


def test_judge_by_hand_counts_every_sample_and_only_the_first_end() -> None:
    judge, end = tiny_causal_model(), tiny_tokenizer().end_id
    texts = [*DOCUMENTS, "", "a<|endoftext|>b<|endoftext|><|endoftext|>", "<|endoftext|>The cat"]
    found = judge_texts(judge, texts, max_tokens=20)
    for text, nats, count in zip(texts, found.nats, found.counts, strict=True):
        ids = tiny_tokenizer().encode(text)[:20]
        expected, scored, ends = 0.0, 0, ids[:1].count(end)
        for place in range(1, len(ids)):
            ends += ids[place] == end
            if ids[place] == end and ends > 1:
                continue
            logits = judge.network(torch.tensor([ids[:place]])).logits[0, -1].double()
            expected -= logits.log_softmax(-1)[ids[place]].item()
            scored += 1
        assert (nats, count) == (pytest.approx(expected, rel=1e-5), scored)
    assert found.counts[len(DOCUMENTS)] == 0
    assert scored_tokens([end, end, 1], end).tolist() == [True, False, True]


def test_no_remainder_is_dropped_and_batches_do_not_matter() -> None:
    judge, texts = tiny_causal_model(), DOCUMENTS * 3 + DOCUMENTS[:1]
    found = [judge_texts(judge, texts, max_tokens=30, batch_tokens=n) for n in (1, 100, 10**6)]
    assert all(len(each.nats) == 13 for each in found)
    for each in found[1:]:
        assert each.nats == pytest.approx(found[0].nats, rel=1e-5)


def test_genppl_of_a_file(tmp_path: Path) -> None:
    judge, data = tiny_causal_model(), write_jsonl(tmp_path / "samples.jsonl", [*DOCUMENTS, "x"])
    given = options(tmp_path, "genppl", data=str(data), judge_tokens=64, model=None)
    result = evaluate(given, judge=judge).figures
    judged = judge_texts(judge, [*DOCUMENTS, "x"], max_tokens=64)
    figures = result["figures"]
    expected = math.exp(judged.nats.sum() / judged.counts.sum())
    assert figures["perplexity"]["mean"] == pytest.approx(expected)
    assert figures["perplexity"]["low"] < expected < figures["perplexity"]["high"]
    assert (figures["num_samples"], figures["num_unscored"]) == (5, 1)
    assert figures["entropy_tokens"] == "judge" and result["model"] is None
    assert json.loads(given.out.read_text())["judge"]["name"] == "tiny-gpt2"
    assert "5 samples" in lines_of(result)[0]
    assert lines_of(result)[1].startswith("Only 5 samples: intervals from fewer than 30")


def test_entropy_is_over_the_ids_of_a_file_that_has_them(tmp_path: Path) -> None:
    judge, data = tiny_causal_model(), tmp_path / "samples.jsonl"
    given = options(tmp_path, "genppl", judge_tokens=64, model=None, overwrite=True)
    ids = [tiny_tokenizer().encode(letter)[0] for letter in "cats sat"]
    spelled = [ids * 2, ids[::-1]]  # byte by byte, where the judge's own encoding merges
    records = [{"text": tiny_tokenizer().decode(each), "ids": each} for each in spelled]

    def entropy(lines: list[dict]) -> tuple[float, str]:
        data.write_text("".join(json.dumps(line) + "\n" for line in lines))
        figures = evaluate(replace(given, data=str(data)), judge=judge).figures["figures"]
        return figures["entropy"]["mean"], figures["entropy_tokens"]

    # Of eight letters a, t and s stand twice, c and the space once.
    by_hand = -(3 * (2 / 8) * math.log(2 / 8) + 2 * (1 / 8) * math.log(1 / 8))
    assert entropy(records) == (pytest.approx(by_hand), "model")
    # A line of an older file has no ids: all samples are then measured by the judge's.
    older = entropy([records[0], {"text": records[1]["text"]}])
    assert older[0] != pytest.approx(by_hand) and older[1] == "judge"


def test_genppl_of_a_masked_model_resumes_with_the_same_samples(tmp_path: Path) -> None:
    model, judge = tiny_masked_model(), tiny_causal_model()
    given = options(
        tmp_path, "genppl", num=5, length=16, steps=3, judge_tokens=64, batch_tokens=32, seed=3
    )
    figures = evaluate(given, model, judge).figures["figures"]
    assert figures["samples"]["mean_calls"] <= 3 and figures["num_samples"] == 5
    assert figures["entropy_tokens"] == "model"
    other = replace(given, batch_tokens=10**4, out=tmp_path / "other.json")
    again = evaluate(other, model, judge).figures["figures"]
    assert again["per_sample_nats"] == pytest.approx(figures["per_sample_nats"], rel=1e-4)
    reseeded = evaluate(replace(given, seed=4, overwrite=True), model, judge).figures["figures"]
    assert reseeded["perplexity"] != figures["perplexity"]
    with pytest.raises(UserError, match="--steps is missing"):
        evaluate(replace(given, steps=None, overwrite=True), model, judge)
    with pytest.raises(UserError, match="--length 65: the model reads 64"):
        evaluate(replace(given, length=65, overwrite=True), model, judge)


def test_genppl_gives_a_sampler_its_options_and_top_p(tmp_path: Path) -> None:
    model, judge = tiny_masked_model(), tiny_causal_model()
    given = options(tmp_path, "genppl", num=4, length=16, steps=6, sampler="remdm", overwrite=True)

    def texts_of(**changes: object) -> list[float]:
        made = evaluate(replace(given, **changes), model, judge).figures["figures"]
        return made["per_sample_nats"]

    plain = texts_of()
    assert texts_of(sampler_option=["schedule=rescale", "eta=0.9"]) != plain
    assert texts_of(top_p=0.2) != plain and texts_of() == plain
    settings = json.loads(given.out.read_text())["settings"]
    assert settings["sampler_option"] is None and settings["top_p"] == 1
    for change, told in (
        ({"sampler_option": ["eta"]}, "--sampler-option eta: it must be NAME=VALUE"),
        ({"sampler_option": ["eta=2"]}, "--sampler-option eta=2.0 must be from 0 to 1"),
        ({"top_p": 1.5}, "--top-p 1.5 must be above 0"),
        ({"data": "x.jsonl", "steps": None, "sampler": None, "top_p": 0.9}, "--top-p 0.9: the sam"),
    ):
        with pytest.raises(UserError, match=told):
            texts_of(**change)
    of_causal = replace(given, steps=None, sampler=None)
    made = [
        evaluate(replace(of_causal, top_p=top_p), judge, judge).figures["figures"]
        for top_p in (1.0, 0.2)
    ]
    assert made[0]["nats_per_token"]["mean"] > made[1]["nats_per_token"]["mean"]
    with pytest.raises(UserError, match="--sampler-option eta: sampler autoregressive has no opt"):
        evaluate(replace(of_causal, sampler_option=["eta=1"]), judge, judge)


def test_genppl_follows_the_grid_that_a_student_was_distilled_for(tmp_path: Path) -> None:
    even, judge = tiny_masked_model(), tiny_causal_model()
    bent = replace(even, loaded=replace(even.loaded, config={"didi": {"reveal_exponent": 3.0}}))
    given = options(tmp_path, "genppl", num=4, length=16, steps=4)

    def made(model: DiffusionLanguageModel, **changes) -> tuple[float, list[float]]:
        figures = evaluate(replace(given, overwrite=True, **changes), model, judge).figures
        assert figures["judge_tokens"] == 64  # as many as the judge has positions for
        return figures["figures"]["samples"]["reveal_exponent"], figures["figures"]["perplexity"]

    (plain, of_even), (cubic, of_bent) = made(even), made(bent)
    assert (plain, cubic) == (1.0, 3.0) and of_even != of_bent
    published = {"grid": "published"}  # the papers' grid is even
    assert made(bent, **published) == made(even, **published)
    assert made(bent, sampler="first-hitting", steps=None)[0] == 1.0
    # The samples are those that generate writes.
    write_tiny_model(tmp_path / "student")
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    config.setdefault("didi", {})["reveal_exponent"] = 3.0
    (tmp_path / "student" / "config.json").write_text(json.dumps(config))
    written = sample(tmp_path / "student", tmp_path / "s.jsonl", num=4, length="16", steps=4)
    of_file = options(tmp_path, "genppl", model=None, data=str(written.out), overwrite=True)
    judged = evaluate(of_file, None, judge).figures["figures"]
    own = open_language_model(str(tmp_path / "student"))
    assert made(own)[1]["mean"] == pytest.approx(judged["perplexity"]["mean"])


@pytest.mark.parametrize("suffix", [".jsonl", ".txt"])
def test_every_figure_says_how_its_samples_were_drawn(tmp_path: Path, suffix: str) -> None:
    judge, folder = tiny_causal_model(), write_tiny_model(tmp_path / "student")
    config = json.loads((folder / "config.json").read_text())
    config["didi"] = {**config.get("didi", {}), "sampler": "apart", "reveal_exponent": 3.0}
    (folder / "config.json").write_text(json.dumps(config))
    drawn = "apart, 4 steps, reveal exponent 3, top p 0.9"
    given = options(tmp_path, "genppl", num=4, length=16, steps=4, top_p=0.9, overwrite=True)
    made = evaluate(replace(given, model=str(folder)), None, judge).figures
    assert made["figures"]["drawn"] == drawn
    printed = lines_of(made)
    assert printed[0].endswith(f"4 samples: {drawn}") and f"model {folder}," in printed[-1]
    # The same of a file: its records and the summary beside it say so, and without them nothing.
    file = tmp_path / f"s{suffix}"
    sample(folder, file, num=4, length="16", steps=4, top_p=0.9)
    read = options(tmp_path, "genppl", model=None, data=str(file), overwrite=True)
    assert evaluate(read, None, judge).figures["figures"]["drawn"] == drawn
    file.with_suffix(".generate.json").unlink()
    left = {".jsonl": "apart, 4 steps", ".txt": "sampler and steps unknown"}[suffix]
    again = evaluate(read, None, judge).figures
    assert again["figures"]["drawn"].startswith(left) and left in lines_of(again)[0]


def test_genppl_continues_interrupted_sampling(tmp_path: Path, monkeypatch) -> None:
    model, judge = tiny_masked_model(), tiny_causal_model()
    given = options(tmp_path, "genppl", num=6, length=16, steps=2, judge_tokens=64, batch_tokens=32)
    whole = evaluate(given, model, judge).figures["figures"]
    given.out.unlink()
    real, drawn = run_request.draw_batch, []

    def draw_batch(*asked):
        drawn.append(asked[2])
        if len(drawn) == 3:  # of three batches
            raise KeyboardInterrupt
        return real(*asked)

    monkeypatch.setattr(run_request, "draw_batch", draw_batch)
    with pytest.raises(KeyboardInterrupt):
        evaluate(given, model, judge)
    assert not given.out.exists()
    with pytest.raises(UserError, match="exists"):
        evaluate(given, model, judge)
    with pytest.raises(UserError, match="made with other settings: steps was 2"):
        evaluate(replace(given, steps=3, resume=True), model, judge)
    resumed = evaluate(replace(given, resume=True), model, judge).figures["figures"]
    assert len(drawn) == 4 and drawn[2] == drawn[3], "what was made is not made again"
    assert resumed["per_sample_nats"] == whole["per_sample_nats"]
    assert [each.name for each in tmp_path.glob("out*")] == ["out.json"]


def test_genppl_stopped_while_judging_keeps_its_samples(tmp_path: Path, monkeypatch) -> None:
    model, judge = tiny_masked_model(), tiny_causal_model()
    given = options(tmp_path, "genppl", num=6, length=16, steps=2, judge_tokens=64, batch_tokens=32)
    whole = evaluate(given, model, judge).figures["figures"]

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(evaluate_run, "measure_samples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluate(replace(given, overwrite=True), model, judge)
    with monkeypatch.context() as patched:
        patched.setattr(run_request, "draw_batch", interrupted)
        resumed = evaluate(replace(given, resume=True), model, judge).figures["figures"]
    assert resumed["per_sample_nats"] == whole["per_sample_nats"]
    # What another run left, an earlier version's file of samples too, goes with --overwrite.
    (tmp_path / "out.json.samples.partial").write_text('{"settings": {}}\n')
    (tmp_path / "out.json.partial").write_text('{"settings": {"options": {}, "model": null}}\n')
    with pytest.raises(UserError, match="no unfinished run of this command"):
        evaluate(replace(given, resume=True), model, judge)
    evaluate(replace(given, overwrite=True), model, judge)
    assert [each.name for each in tmp_path.glob("out*")] == ["out.json"]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(
    "drawn",
    [
        {"steps": 4},
        {"steps": 4, "sampler": "remdm", "sampler_option": ["eta=0.9", "schedule=rescale"]},
        {"sampler": "first-hitting", "top_p": 0.8, "draws": "float32"},
        {"causal": True, "steps": None, "top_p": 0.9},
    ],
    ids=["ancestral", "remdm", "first-hitting", "autoregressive"],
)
def test_the_samples_are_those_that_generate_writes(
    tmp_path: Path, monkeypatch, precision: str, drawn: dict
) -> None:
    causal = drawn.get("causal", False)
    folder = (save_causal if causal else write_tiny_model)(tmp_path / "model")
    flags = {name: value for name, value in drawn.items() if name != "causal"}
    flags |= {"num": 6, "seed": 7, "batch_tokens": 64, "precision": precision}
    written = sample(folder, tmp_path / "s.jsonl", length="16", **flags)
    expected = read_samples(written.out)
    judged, real = [], evaluate_run.measure_samples
    monkeypatch.setattr(
        evaluate_run,
        "measure_samples",
        lambda samples, *given, **named: judged.append(samples) or real(samples, *given, **named),
    )
    given = options(tmp_path, "genppl", length=16, overwrite=True, **flags)
    result = evaluate(replace(given, model=str(folder)), None, tiny_causal_model())
    opened = open_language_model(str(folder))
    evaluate(replace(given, model=str(folder)), opened, tiny_causal_model())
    assert all(each.dtype == torch.float32 for each in opened.network.parameters()), "as it was"
    for samples in judged:
        assert (samples.texts, samples.ids) == (expected.texts, expected.ids)
    made = result.figures["figures"]["samples"]
    assert made["mean_calls"] == written.mean_nfe and made["num"] == written.num_made == 6
    assert result.figures["model"]["weights"] == describe_model(opened)["weights"]


def test_bf16_samples_are_others_than_those_of_float32(tmp_path: Path) -> None:
    folder, judge = write_tiny_model(tmp_path / "model"), tiny_causal_model()
    given = options(
        tmp_path, "genppl", num=16, length=32, steps=16, model=str(folder), overwrite=True
    )
    plain, rounded = (
        evaluate(replace(given, precision=each), None, judge).figures["figures"]
        for each in ("float32", "bf16")
    )
    assert plain["per_sample_entropy"] != rounded["per_sample_entropy"]


@pytest.mark.parametrize(
    ("task", "given", "message"),
    [
        ("genppl", {"steps": 2, "length": 16, "num": 2, "judge": "no-judge"}, "--judge no-judge"),
        ("genppl", {"data": "absent.jsonl"}, "absent.jsonl"),
        ("zeroshot", {"data": "lambda"}, "--data lambda"),
    ],
)
def test_what_is_refused_leaves_nothing_that_bars_the_next_command(
    tmp_path: Path, task: str, given: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        evaluate(options(tmp_path, task, offline=True, **given), tiny_masked_model())
    assert not list(tmp_path.glob("out.json*"))


def test_autoregressive_samples_follow_the_models_own_law(tmp_path: Path) -> None:
    model = tiny_causal_model()
    drawn = autoregressive_ids(model, list(range(4_000)), 2, seed=1)
    end = torch.tensor([[model.tokenizer.end_id]])
    law = model.network(end).logits[0, -1].double().softmax(-1).detach().numpy()
    counts = np.bincount([ids[1] for ids in drawn], minlength=len(law))
    likely = law > 5 / 4_000
    deviation = (counts[likely] - 4_000 * law[likely]) ** 2 / (4_000 * law[likely])
    assert deviation.sum() / likely.sum() < 1.5  # chi-square over its freedom
    assert {ids[0] for ids in drawn} == {model.tokenizer.end_id}
    given = options(tmp_path, "genppl", num=4, length=12, judge_tokens=64, batch_tokens=32)
    figures = evaluate(given, model, model).figures["figures"]
    made = figures["samples"]
    assert (made["mean_calls"], made["sampler"], made["steps"]) == (11, "autoregressive", None)
    own = [model.tokenizer.decode(each) for each in autoregressive_ids(model, [0, 1, 2, 3], 12, 0)]
    judged = judge_texts(model, own, max_tokens=64)
    expected = judged.nats.sum() / judged.counts.sum()
    assert figures["nats_per_token"]["mean"] == pytest.approx(expected, rel=1e-5)
    for wrong, message in (
        ({"steps": 4}, "--steps 4: --sampler autoregressive, for autoregressive models, takes no"),
        ({"grid": "published"}, "--grid published: --sampler autoregressive has no such grid"),
        ({"sampler": "first-hitting"}, "--sampler first-hitting: .*; use autoregressive"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate(replace(given, overwrite=True, **wrong), model, model)


def test_mauve_says_what_to_install_or_how_many_it_needs(tmp_path: Path) -> None:
    judge, data = tiny_causal_model(), write_jsonl(tmp_path / "samples.jsonl")
    given = options(tmp_path, "genppl", data=str(data), mauve=data, model=None, judge_tokens=64)
    with pytest.raises(UserError, match=r"didi-protein\[mauve\]|MAUVE needs 20"):
        evaluate(given, judge=judge)


# Likelihood


@pytest.mark.parametrize("form", ["time", "order", None])
def test_bound_is_that_of_the_packed_blocks(tmp_path: Path, form: str) -> None:
    model, data = tiny_masked_model(), write_jsonl(tmp_path / "valid.jsonl.gz")
    given = options(
        tmp_path, "bound", data=str(data), form=form, mask_draws=3, block_length=16, seed=5
    )
    figures = evaluate(given, model).figures["figures"]
    packing = Packing(16)
    blocks = [
        block.tolist()
        for block in pack(tiny_tokenizer().encode_many(DOCUMENTS), packing, tiny_tokenizer().end_id)
    ]
    expected = bound_samples(
        model.network, model.loaded.vocabulary, blocks, form=form, draws=3, seed=5
    ).estimate()
    assert figures["nats_per_token"] == pytest.approx(expected.nats_per_token, rel=1e-9)
    assert figures["standard_error"] == pytest.approx(expected.standard_error, rel=1e-6)
    assert figures["form"] == (form or "order")
    assert figures["num_tokens"] == sum(map(len, blocks)) and figures["complete"]
    limited = evaluate(replace(given, limit=2, overwrite=True), model).figures
    assert limited["figures"]["num_blocks"] == 2 and not limited["figures"]["complete"]
    assert "first 2 of" in lines_of(limited)[0]


def test_bound_of_an_autoregressive_model_is_exact(tmp_path: Path) -> None:
    model, data = tiny_causal_model(), write_jsonl(tmp_path / "valid.jsonl")
    given = options(tmp_path, "bound", data=str(data))
    figures = evaluate(given, model).figures["figures"]
    stream = pack(tiny_tokenizer().encode_many(DOCUMENTS), Packing(64), tiny_tokenizer().end_id)
    total, count = 0.0, 0
    for block in stream:
        ids = torch.from_numpy(block)[None]
        nll = torch.nn.functional.cross_entropy(
            model.network(ids).logits[0, :-1].double(), ids[0, 1:], reduction="sum"
        )
        total, count = total + float(nll), count + len(block) - 1
    assert figures["nats_per_token"] == pytest.approx(total / count, rel=1e-5)
    assert (figures["num_tokens"], figures["standard_error"]) == (count, 0.0)


def test_precision_and_form_act(tmp_path: Path) -> None:
    model, data = tiny_causal_model(), write_jsonl(tmp_path / "valid.jsonl")
    given = options(tmp_path, "bound", data=str(data), overwrite=True)
    exact, rounded = (
        evaluate(replace(given, precision=each), model).figures["figures"]["nats_per_token"]
        for each in ("float32", "bf16")
    )
    assert exact != rounded and rounded == pytest.approx(exact, rel=0.05)


def test_zero_shot_joins_without_ends_and_marks_other_splits(tmp_path: Path) -> None:
    model = tiny_masked_model()
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "ptb_valid.txt").write_text(" the cat N \n the mat \n")
    (tmp_path / "sets" / "wikitext2_test.raw").write_text(" = Cat = \n The cat sat . \n")
    given = options(tmp_path, "zeroshot", data=str(tmp_path / "sets"), block_length=8)
    result = evaluate(given, model).figures
    assert list(result["sets"]) == ["ptb", "wikitext2_test"]
    ids = [i for text in ("the cat N", "the mat") for i in tiny_tokenizer().encode(text)]
    blocks = -(-len(ids) // 6)
    assert result["sets"]["ptb"]["num_tokens"] == len(ids) + 2 * blocks
    assert result["sets"]["ptb"]["published_split"]
    first, second = lines_of(result)
    assert "not the published split" in second and "not the published" not in first
    with pytest.raises(UserError, match="there is no block"):
        evaluate(replace(given, remainder="published", overwrite=True, block_length=64), model)


def test_zero_shot_resumes_after_the_sets_that_are_done(tmp_path: Path, monkeypatch) -> None:
    model = tiny_masked_model()
    files = {name: tmp_path / f"{name}.txt" for name in ("ptb", "lm1b")}
    for file in files.values():
        file.write_text("the cat sat on the mat\n" * 5)
    data = ",".join(f"{name}={file}" for name, file in files.items())
    given = options(tmp_path, "zeroshot", data=data)
    whole = evaluate(given, model).figures["sets"]
    given.out.unlink()
    real, seen = evaluate_run.texts_of, []

    def texts_of(chosen, **named):
        seen.append(chosen.chosen.name)
        if seen == ["ptb", "lm1b"]:
            raise KeyboardInterrupt
        return real(chosen, **named)

    monkeypatch.setattr(evaluate_run, "texts_of", texts_of)
    with pytest.raises(KeyboardInterrupt):
        evaluate(given, model)
    with pytest.raises(UserError, match="seed was 0, now 1"):
        evaluate(replace(given, resume=True, seed=1), model)
    assert evaluate(replace(given, resume=True), model).figures["sets"] == whole
    assert seen == ["ptb", "lm1b", "lm1b"]
    assert not Path(f"{given.out}.partial").exists()


def test_a_finished_run_is_kept_and_another_is_no_continuation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = tiny_causal_model(), write_jsonl(tmp_path / "valid.jsonl")
    given = options(tmp_path, "bound", data=str(data), resume=True)
    whole = evaluate(given, model).figures  # nothing is there yet
    written = given.out.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(evaluate_run, "run_task", None)
        assert evaluate(given, model).figures == json.loads(json.dumps(whole))
        with pytest.raises(UserError, match="made with other settings: seed was 0, now 1"):
            evaluate(replace(given, seed=1), model)
        with pytest.raises(UserError, match="made with other settings: model was"):
            evaluate(given, tiny_causal_model(seed=1))
        assert given.out.read_bytes() == written
        for other in ("[]", "{}", '{"settings": {}}', "no JSON"):
            given.out.write_text(other)
            with pytest.raises(UserError, match="is no result of this command; replace it with"):
                evaluate(given, model)
            assert given.out.read_text() == other
    assert [each.name for each in tmp_path.glob("out*")] == ["out.json"]


# Multiple choice


def write_questions(path: Path) -> Path:
    questions = [
        {"context": "The cat sat on the", "choices": ["mat", "dog by the door"], "answer": 0},
        {"context": "Dogs bark;", "choices": ["cats do not", "x", " mat"], "answer": 2},
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in questions))
    return path


@pytest.mark.parametrize("kind", ["masked", "autoregressive"])
def test_choice_takes_the_likeliest(tmp_path: Path, kind: str) -> None:
    model = tiny_masked_model() if kind == "masked" else tiny_causal_model()
    data = write_questions(tmp_path / "q.jsonl")
    figures = evaluate(options(tmp_path, "choice", data=str(data)), model).figures["figures"]
    questions = read_questions(data)
    settings = BoundSettings(draws=32, spread="draws")
    chosen = []
    for question in questions:
        pairs = [(question.context, join(question.context, each)) for each in question.choices]
        rows, firsts = encode_for(model, pairs)
        if kind == "autoregressive":
            nats = continuation_nats(model, rows, firsts, settings)
            for row, first, value in zip(rows, firsts, nats, strict=True):
                logits = model.network(torch.tensor([row])).logits[0].double().log_softmax(-1)
                places = torch.arange(first, len(row))
                direct = -logits[places - 1, torch.tensor(row)[places]].sum()
                assert value == pytest.approx(float(direct), rel=1e-5)
            chosen.append(int(nats.argmin()))
    if kind == "autoregressive":
        assert figures["chosen"] == chosen
    right = [one == q.answer for one, q in zip(figures["chosen"], questions, strict=True)]
    assert figures["accuracy"]["mean"] == pytest.approx(sum(right) / 2)
    assert figures["chance"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_pairs_are_encoded_as_one_text_and_cut_at_the_left() -> None:
    tokenizer = tiny_tokenizer()
    rows, firsts = encode_pairs(tokenizer, [("The cat", " sat on")], None)
    assert rows[0] == [tokenizer.end_id, *tokenizer.encode("The cat sat on")]
    assert tokenizer.decode(rows[0][firsts[0] :]) == " sat on"
    size = len(rows[0]) - firsts[0]
    cut, cut_first = encode_pairs(tokenizer, [("The cat", " sat on")], size + 1)
    assert cut[0] == rows[0][-size - 1 :] and cut_first == [1]
    with pytest.raises(UserError, match="tokens of its own"):
        encode_pairs(tokenizer, [("The cat", " sat on")], size)


def test_questions_without_sense_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    for bad in ({"choices": ["a"]}, {"choices": ["a", "b"], "answer": 2}, {"choices": "ab"}):
        path.write_text(json.dumps({"context": "c", "answer": 0, **bad}))
        with pytest.raises(UserError, match="question 1: it needs `choices`"):
            read_questions(path)


def test_harness_says_what_to_install(tmp_path: Path) -> None:
    given = options(tmp_path, "choice", data="harness:no_such_task_at_all")
    with pytest.raises(UserError, match=r"didi-protein\[harness\]|no_such_task"):
        evaluate(given, tiny_masked_model())


# Opening, options and the command line


def test_models_are_told_apart_and_opened(tmp_path: Path) -> None:
    folder = save_causal(tmp_path / "gpt2")
    assert is_causal(folder) and not is_causal(tmp_path)
    model = open_language_model(str(folder))
    assert model.kind == "autoregressive" and model.max_tokens == 64
    assert model.tokenizer.digest == tiny_tokenizer().digest
    assert open_judge(str(folder)).network.config.n_positions == 64
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"architectures": ["EsmForMaskedLM"]}')
    with pytest.raises(UserError, match=r"--judge .*other is no causal"):
        open_judge(str(tmp_path / "other"))
    with pytest.raises(UserError, match=r"judge-tokens 65: .* reads 64"):
        judge_texts(model, DOCUMENTS, max_tokens=65)


@pytest.mark.parametrize(
    ("process", "called"),
    [("absorbing", "masked"), ("uniform", "uniform-state"), ("sedd", "score-entropy")],
)
def test_results_say_what_a_model_of_its_process_is_called(
    tmp_path: Path, process: str, called: str
) -> None:
    model = str(write_tiny_model(tmp_path / "model", process=process))
    data = str(write_questions(tmp_path / "q.jsonl"))
    result = evaluate(options(tmp_path, "choice", model=model, data=data, mask_draws=2)).figures
    assert result["model"]["kind"] == called
    assert result["figures"]["mask_draws"] == 2


def test_a_tokenizer_too_large_for_the_model_is_refused(tmp_path: Path) -> None:
    from didi_text.tokenizers.train import train_tokenizer

    folder = save_causal(tmp_path / "gpt2")
    train_tokenizer(DOCUMENTS * 3, 320).save(folder)
    with pytest.raises(UserError, match="has 300 ids and its tokenizer 3"):
        open_language_model(str(folder))


def test_wrong_options_are_shown_together(tmp_path: Path) -> None:
    bad = EvaluateOptions(
        task="bound", out=tmp_path / "a.csv", form="x", limit=0, mauve=tmp_path, device="cpu"
    )
    with pytest.raises(UserError) as caught:
        evaluate(bad)
    message = str(caught.value)
    for part in (
        "--model is missing",
        "--data is missing",
        "a.csv",
        "--form x",
        "--limit 0",
        "--mauve",
    ):
        assert part in message
    with pytest.raises(UserError, match="--task all must be one of"):
        evaluate(options(tmp_path, "all"))


SAMPLING = {
    "num": 4, "length": 8, "steps": 2, "sampler": "remdm", "sampler_option": ["eta=1"],
    "top_p": 0.9, "draws": "float32", "grid": "published",
}  # fmt: skip
JUDGING = {"judge": "tiny-judge", "judge_tokens": 9, "mauve": Path("natural.jsonl")}
BLOCKS = {"block_length": 9, "remainder": "drop"}
LIKELIHOOD = {"form": "order", "mask_draws": 2, "limit": 3}


@pytest.mark.parametrize(
    ("task", "idle", "why"),
    [
        ("genppl", LIKELIHOOD, "needs --task zeroshot or bound or choice"),
        ("genppl", BLOCKS, "needs --task zeroshot or bound"),
        ("bound", SAMPLING | JUDGING, "needs --task genppl"),
        ("zeroshot", SAMPLING | JUDGING, "needs --task genppl"),
        ("choice", SAMPLING | JUDGING, "needs --task genppl"),
        ("choice", BLOCKS, "needs --task zeroshot or bound"),
    ],
)
def test_flags_of_another_task_are_refused(tmp_path: Path, task: str, idle: dict, why: str) -> None:
    given = options(tmp_path, task, data=None if task == "genppl" else "data")
    with pytest.raises(UserError) as caught:
        evaluate(replace(given, **idle))
    told = {f"--{name.replace('_', '-')}" for name in idle}
    parts = str(caught.value).removesuffix(".").split("; ")
    assert {part.split()[0] for part in parts} == told and all(part.endswith(why) for part in parts)
    for name, value in idle.items():
        with pytest.raises(UserError, match=rf"^--{name.replace('_', '-')} .* needs --task"):
            evaluate(replace(given, **{name: value}))


def test_flags_of_sampling_are_refused_where_samples_are_given(tmp_path: Path) -> None:
    given = options(tmp_path, "genppl", data="samples.jsonl", model=None)
    for name, value in SAMPLING.items():
        flag = f"--{name.replace('_', '-')}"
        with pytest.raises(UserError, match=f"^{flag} .*: the samples of --data are made already"):
            evaluate(replace(given, **{name: value}))
    with pytest.raises(UserError, match=r"^--num 4, --draws float32: the samples of --data"):
        evaluate(replace(given, num=4, draws="float32"))


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused_first(tmp_path: Path, seed: int) -> None:
    with pytest.raises(UserError, match=rf"^--seed {seed} must be from 0 to 2\^63 - 1\.$"):
        evaluate(options(tmp_path, "bound", data="nowhere.txt", model="nowhere", seed=seed))


def test_command_line(tmp_path: Path, capsys) -> None:
    from didi_text.app import app

    folder, data = save_causal(tmp_path / "gpt2"), write_jsonl(tmp_path / "valid.jsonl")
    out = tmp_path / "bound.json"
    command = [
        "evaluate", "--model", str(folder), "--task", "bound", "--data", str(data), "--out",
        str(out), "--device", "cpu", "--offline",
    ]  # fmt: skip

    def run(*more: str) -> int:
        return run_program(lambda: app([*command, *more], standalone_mode=False))

    assert run() == 0
    assert "bound: perplexity" in capsys.readouterr().out
    assert run() == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run("--overwrite", "--json", "--limit", "1") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text()) and printed["figures"]["num_blocks"] == 1


# Optional packages


def test_mauve_of_natural_blocks_is_one_and_of_turned_ones_less(tmp_path: Path) -> None:
    pytest.importorskip("mauve", reason="needs the extra mauve")
    natural = write_jsonl(tmp_path / "natural.jsonl", [DOCUMENTS[i % 4] for i in range(60)])
    judge = tiny_causal_model()
    blocks = reference_samples(natural, judge.tokenizer, num=40, length="12", limit=12).ids
    given = options(tmp_path, "genppl", model=None, judge_tokens=64, overwrite=True, mauve=natural)

    def mauve_of(name: str, ids: list[list[int]]) -> dict[str, float]:
        data = write_jsonl(tmp_path / name, [judge.tokenizer.decode(each) for each in ids])
        return evaluate(replace(given, data=str(data)), judge=judge).figures["figures"]["mauve"]

    same, turned = (
        mauve_of("same.jsonl", blocks),
        mauve_of("turned.jsonl", [each[::-1] for each in blocks]),
    )
    assert same["mauve"] == pytest.approx(1) and turned["mauve"] < 0.95
    assert same["num_natural"] == same["num_samples"] == 40 and same["block_length"] == 12


def test_mauve_reads_no_frame() -> None:
    judge = tiny_causal_model()
    end = judge.tokenizer.end_id
    bare, framed, empty = features(judge, [[5, end, 7], [end, 5, end, 7, end, end], []])
    assert np.array_equal(bare, framed)
    assert np.array_equal(empty, features(judge, [[end, end]])[0])


TASK = """
task: own_choice
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{context}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
"""


def test_harness_finds_what_we_find(tmp_path: Path) -> None:
    tasks = pytest.importorskip("lm_eval.tasks", reason="needs the extra harness")
    from didi_text.evaluating.choice import choose, run_harness

    data, folder = write_questions(tmp_path / "q.jsonl"), tmp_path / "tasks"
    data.write_text(data.read_text().replace('" mat"', '"mat"'))  # the harness adds the space
    folder.mkdir()
    (folder / "own.yaml").write_text(TASK.format(data=data))
    manager = tasks.TaskManager(include_path=str(folder), include_defaults=False)
    settings = BoundSettings(draws=32, spread="draws")
    for model in (tiny_masked_model(), tiny_causal_model()):
        theirs = run_harness(model, settings, ["own_choice"], task_manager=manager)["own_choice"]
        ours = choose(model, read_questions(data), settings)
        assert theirs["acc"] == ours["accuracy"]["mean"]
        assert theirs["acc_norm"] == ours["accuracy_per_character"]["mean"]
