"""`didi-text pretrain`: both kinds end in a folder that opens, settings act, and are checked."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from text_fixtures import DOCUMENTS, tiny_tokenizer, write_jsonl
from text_models import sample, weights_differ
from transformers import AutoModelForCausalLM, AutoTokenizer

from didi_core.cli.hydra_app import compose_settings, run_hydra
from didi_core.commands.training.domain import alone
from didi_core.distill.optimizers import OptimizerSettings, build_optimizer
from didi_core.errors import UserError
from didi_core.models.bundled import BundledModels
from didi_core.models.dit import DitDenoiser
from didi_text.domain import TextPretraining, pretraining
from didi_text.generate import generate
from didi_text.models.load import open_model, tokenizer_of
from didi_text.pretrain import pretrain
from didi_text.samples.files import read_samples
from didi_text.samples.options import GenerateOptions
from didi_text.settings import ModelSettings, PretrainSettings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    tiny_tokenizer().save(folder)
    return write_jsonl(folder / "some.jsonl.gz", DOCUMENTS * 4)


def settings_for(data: Path, out: Path, **changes: Any) -> PretrainSettings:
    shape = {"kind": changes.pop("kind", "masked"), "num_heads": changes.pop("num_heads", 2)}
    model = ModelSettings(num_layers=1, hidden_size=8, conditioning_size=4, **shape)
    values = {"steps": 2, "tokens_per_batch": 128, "block_length": 16, "device": "cpu"}
    return PretrainSettings(
        data=str(data),
        out=str(out),
        tokenizer=str(data.parent),
        model=model,
        **{**values, **changes},
    )


def test_a_masked_model_and_its_card(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pretrain(settings_for(data, tmp_path / "m", valid=str(data)))
    loaded = open_model(folder)
    assert isinstance(loaded.denoiser, DitDenoiser)
    assert loaded.denoiser.settings.max_tokens == 16
    assert loaded.vocabulary == tiny_tokenizer().vocabulary
    assert tokenizer_of(loaded).digest == tiny_tokenizer().digest
    card = (folder / "README.md").read_text()
    assert "blocks; 2 updates; seed 0" in card and "| validation_bound |" in card
    assert "didi-text pretrain data=" in card and "model.num_layers=1" in card
    assert "nats a token" in capsys.readouterr().err
    assert json.loads((folder / "run.json").read_text())["verb"] == "pretrain"


@pytest.mark.parametrize(
    ("process", "called", "samplers"),
    [
        ("uniform", "uniform text model", {"ancestral": 3, "greedy-tail": 3, "psi": 5}),
        ("sedd", "score-entropy", {"analytic": 3}),
    ],
)
def test_a_model_of_another_process_writes_text_by_its_samplers(
    data: Path, tmp_path: Path, process: str, called: str, samplers: dict[str, int]
) -> None:
    folder = pretrain(settings_for(data, tmp_path / "m", process=process, valid=str(data)))
    loaded = open_model(folder)
    assert loaded.process == process and loaded.denoiser.settings.time_conditioned
    card = (folder / "README.md").read_text()
    assert called in card and "| validation_bound |" in card
    for sampler, steps in samplers.items():
        made = sample(folder, tmp_path / f"{sampler}.jsonl", num=2, length="12", steps=steps)
        if process == "uniform":
            chosen = {"sampler": sampler, "overwrite": True}
            made = sample(folder, made.out, num=2, length="12", steps=steps, **chosen)
            assert made.mean_nfe == steps
        assert made.mean_nfe <= steps
        assert [row["sampler"] for row in read_samples(made.out)] == [sampler] * 2


def test_an_autoregressive_model_opens_with_transformers(data: Path, tmp_path: Path) -> None:
    folder = pretrain(settings_for(data, tmp_path / "a", kind="autoregressive", valid=str(data)))
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("The cat", return_tensors="pt").input_ids
    assert ids[0].tolist() == tiny_tokenizer().encode("The cat")
    assert model(input_ids=ids).logits.isfinite().all()
    assert model.config.vocab_size == tiny_tokenizer().size, "it has no mask"
    noisy = settings_for(data, tmp_path / "b", kind="autoregressive", input_noise=0.5)
    assert weights_differ(model, AutoModelForCausalLM.from_pretrained(pretrain(noisy)))


def test_a_bundled_name_is_a_tokenizer(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    tiny_tokenizer().save(tmp_path / "tiny")
    monkeypatch.setattr(BundledModels, "folder", lambda _, name: tmp_path / name)
    named = replace(settings_for(data, tmp_path / "m"), tokenizer="tiny")
    with pytest.raises(UserError, match="tiny is a bundled model, and this installation lacks"):
        pretrain(named)
    (tmp_path / "tiny" / "model.safetensors").touch()
    assert pretraining(named).tokenizer.digest == tiny_tokenizer().digest


def test_muon_takes_the_matrices_of_both_layouts(data: Path, tmp_path: Path) -> None:
    for kind in ("masked", "autoregressive"):
        task, masked = pretraining(settings_for(data, tmp_path, kind=kind)), kind == "masked"
        network = task.build_denoiser(time_conditioned=False) if masked else task.build_causal()
        muon, adamw = build_optimizer(network, OptimizerSettings(name="muon"))
        matrices = {p for group in muon.param_groups for p in group["params"]}
        embeddings = {p for group in adamw.param_groups for p in group["params"] if p.ndim == 2}
        assert matrices and all(tiny_tokenizer().size not in p.shape for p in matrices)
        assert any(p.shape[0] in (300, 301) for p in embeddings)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"steps": 3},
        {"ema": 0.1},
        {"tokens_per_batch": 64},
        {"block_length": 15},
        {"remainder": "drop"},
        {"licenses": "public domain"},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_every_setting_changes_the_model(
    data: Path, tmp_path: Path, usual: DitDenoiser, change: dict[str, Any]
) -> None:
    changed = pretrain(settings_for(data, tmp_path / "c", **change))
    assert weights_differ(usual, open_model(changed).denoiser)


@pytest.fixture(scope="module")
def usual(data: Path, tmp_path_factory: pytest.TempPathFactory) -> DitDenoiser:
    return open_model(pretrain(settings_for(data, tmp_path_factory.mktemp("u")))).denoiser


def test_a_resumed_run_equals_an_unbroken_one(data: Path, tmp_path: Path) -> None:
    # Time shortens the warm-up of the runs that it ends: here there is none to shorten.
    rates = OptimizerSettings(warmup_steps=1, decay_fraction=0.0)
    usual = open_model(pretrain(settings_for(data, tmp_path / "m", optimizer=rates))).denoiser
    out = tmp_path / "broken"
    pretrain(settings_for(data, out, max_seconds=1e-9, optimizer=rates))
    assert len(list((out / "checkpoints").iterdir())) == 1
    with pytest.raises(UserError, match=r"out=.* exists"):
        pretrain(settings_for(data, out, optimizer=rates))
    again = settings_for(data, out, resume=True, optimizer=rates)
    resumed = open_model(pretrain(again)).denoiser
    assert not weights_differ(usual, resumed)


def test_the_unigram_baseline_is_that_of_counting(data: Path, tmp_path: Path) -> None:
    task = pretraining(settings_for(data, tmp_path, valid=str(data), valid_blocks=3))
    corpora = task.load_corpora(tmp_path, alone)
    corpus, held_out = corpora.training, corpora.held_out
    assert held_out is not None and len(held_out) == 3 < len(corpus)
    counts = np.ones(tiny_tokenizer().size)
    for token in corpus.flat:
        counts[token] += 1
    held = held_out.flat[: held_out.starts[3]]
    by_hand = -np.mean(np.log(counts[held] / counts.sum()))
    nats = task.baselines(corpus, held_out)["unigram"]
    assert nats.shape == (3,) and nats.sum() / len(held) == pytest.approx(by_hand)


def test_no_more_of_the_data_is_encoded_than_asked_for(tmp_path: Path) -> None:
    tiny_tokenizer().save(tmp_path)
    many = write_jsonl(tmp_path / "many.jsonl", DOCUMENTS * 300)  # encoded by the thousand

    def blocks(**changes: Any) -> int:
        task = pretraining(settings_for(many, tmp_path, **changes))
        return len(task.load_corpora(tmp_path, alone).training)

    assert blocks(data_tokens=30) < blocks()


def test_what_is_wrong_is_said_at_once(data: Path, tmp_path: Path) -> None:
    wrong = {"steps": 0, "num_heads": 3, "block_length": 2, "remainder": "x", "valid_blocks": -1}
    with pytest.raises(UserError) as error:
        pretrain(settings_for(data, tmp_path / "w", **wrong, data_tokens=0, input_noise=0.1))
    for name in (*wrong, "data_tokens=0", "input_noise=0.1"):
        assert name in str(error.value)
    assert not (tmp_path / "w").exists()
    flat = settings_for(data, tmp_path / "w")
    flat.model.conditioning_size = 0
    with pytest.raises(UserError, match=r"model\.conditioning_size=0 must be at least 1"):
        pretrain(flat)
    with pytest.raises(UserError, match=r"stream: .* is a file here"):
        pretrain(settings_for(data, tmp_path / "w", stream=True))
    offline = settings_for(data, tmp_path / "w", offline=True)
    offline.tokenizer = "nobody/nothing"
    with pytest.raises(UserError, match="nobody/nothing"):
        pretrain(offline)


@pytest.mark.parametrize(
    ("name", "parameters"), [("tiny", 3.7e6), ("small", 169e6), ("medium", 424e6)]
)
def test_presets_have_their_sizes(name: str, parameters: float) -> None:
    chosen = [f"text_model@model={name}", "data=x", "out=y"]
    settings = compose_settings("text_pretrain", PretrainSettings, chosen)
    words = [str(number) for number in range(2047 if name == "tiny" else 50256)]
    task = TextPretraining(settings, _tokenizer_of_size(len(words) + 1))
    with torch.device("meta"):
        network = task.build_denoiser(time_conditioned=False)
    found = sum(each.numel() for each in network.parameters())
    assert found == pytest.approx(parameters, rel=0.02)


def _tokenizer_of_size(size: int) -> Any:
    """The tiny tokenizer with unused tokens up to `size`."""
    from tokenizers import Tokenizer

    from didi_text.tokenizers.tokenizer import TextTokenizer

    backend = Tokenizer.from_str(tiny_tokenizer().backend.to_str())
    backend.add_tokens([f"<unused{number}>" for number in range(size - tiny_tokenizer().size)])
    return TextTokenizer(backend)


def test_users_call_the_group_model() -> None:
    seen: list[PretrainSettings] = []
    arguments = ["data=x", "out=y", "model=judge", "model.num_layers=3"]
    groups = {"model": "text_model@model"}
    run_hydra("text_pretrain", PretrainSettings, seen.append, arguments, "didi-text", groups=groups)
    assert (seen[0].model.kind, seen[0].model.num_layers) == ("autoregressive", 3)
    with pytest.raises(UserError, match="150m"):
        run_hydra(
            "text_pretrain", PretrainSettings, seen.append, ["model=150m"], "d", groups=groups
        )


@pytest.mark.parametrize("kind", ["masked", "autoregressive"])
def test_a_run_that_has_not_ended_writes_with_any_of_its_checkpoints(
    data: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    optimizer = OptimizerSettings(lr=0.05, warmup_steps=1)
    few = {"steps": 4, "checkpoint_every": 1, "checkpoints_kept": 3, "kind": kind}
    run = pretrain(settings_for(data, tmp_path / "run", optimizer=optimizer, **few))
    kept = sorted((run / "checkpoints").glob("*"))
    assert [int(path.stem.removeprefix("step_")) for path in kept] == [2, 3, 4]

    def text_of(model: Path) -> list[list[int]]:
        out, steps = tmp_path / "s.jsonl", {} if kind == "autoregressive" else {"steps": 3}
        asked = {"num": 3, "length": "12", "out": out, "overwrite": True, "device": "cpu"}
        generate(GenerateOptions(model=str(model), **asked, **steps))
        return [json.loads(line)["ids"] for line in out.read_text().splitlines()]

    finished = text_of(run)
    (run / "config.json").unlink()  # as it is before the run ends
    capsys.readouterr()
    assert text_of(run) == text_of(kept[2]) == finished
    assert text_of(kept[0]) != finished
    said = capsys.readouterr().err
    assert f"{run}: the model after 4 updates of at most 4." in said
    assert f"{kept[0]}: the model after 2 updates" in said
    for path in kept:
        path.unlink()
    with pytest.raises(UserError, match="is a run that is not finished"):
        text_of(run)


def test_how_many_checkpoints_stay_is_checked(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="checkpoints_kept=0"):
        pretrain(settings_for(data, tmp_path / "run", checkpoints_kept=0))
    run = pretrain(settings_for(data, tmp_path / "one", checkpoint_every=1, checkpoints_kept=1))
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step_00000002.safetensors"]
