"""`didi-protein pretrain`: both kinds end in a folder that opens, and settings are checked."""

import json
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from didi_core.errors import UserError
from didi_core.models.esm import EsmDenoiser
from didi_core.models.folder import load_denoiser
from didi_core.training.curricula import CurriculumSettings, GaussianSettings
from didi_protein.distill import distill
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions
from didi_protein.pretrain import pretrain
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.settings import DistillSettings, ModelSettings, PretrainSettings


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(0)
    rows = ["".join(generator.choice(list(CANONICAL_RESIDUES), size=n)) for n in range(10, 50)]
    path = tmp_path_factory.mktemp("data") / "some.fasta"
    path.write_text("".join(f">{number}\n{row}\n" for number, row in enumerate(rows)))
    return path


def settings_for(fasta: Path, out: Path, **changes: Any) -> PretrainSettings:
    shape = {"kind": changes.pop("kind", "masked"), "num_heads": changes.pop("num_heads", 2)}
    model = ModelSettings(num_layers=1, hidden_size=8, intermediate_size=16, **shape)
    values = {"steps": 2, "tokens_per_batch": 512, "max_length": 40, "device": "cpu"}
    return PretrainSettings(data=str(fasta), out=str(out), model=model, **{**values, **changes})


def test_a_masked_model_and_its_card(
    fasta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pretrain(settings_for(fasta, tmp_path / "m", valid=str(fasta), too_long="drop"))
    assert load_denoiser(folder).denoiser.settings.num_layers == 1
    card = (folder / "README.md").read_text()
    assert "Trained on: 31 sequences; 2 updates; seed 0" in card, "9 are longer than 40"
    assert "| validation_bound |" in card and "| bigram |" in card
    assert "didi-protein pretrain data=" in card and "model.num_layers=1" in card
    printed = capsys.readouterr().err
    assert re.search(r"validation_bound +\d\.\d{4} ± 0\.\d{4} nats a residue, perplexity", printed)
    assert "nats a residue ± error of the draws" in card and "The model is in " in printed
    headroom = rf"Headroom of {folder}: .* in 4, .* in 8, .* calls .*31 sequences of {fasta}"
    assert re.search(headroom, printed), "a short estimate on the held-out file"
    assert json.loads((folder / "run.json").read_text())["settings"]["model"]["hidden_size"] == 8


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="needs tensorboard (extra log)")
def test_both_verbs_log_to_tensorboard_and_go_on_there(fasta: Path, tmp_path: Path) -> None:
    logged = {"logger": "tensorboard", "log_every": 1}
    teacher = pretrain(settings_for(fasta, tmp_path / "teacher", **logged))
    settings = settings_for(fasta, tmp_path / "teacher", resume=True, **{**logged, "steps": 4})
    assert pretrain(settings) == teacher
    few = {"steps": 2, "tokens_per_batch": 512, "max_length": 40, "device": "cpu"}
    names = {"teacher": str(teacher), "data": str(fasta), "out": str(tmp_path / "student")}
    student = distill(DistillSettings(method={"name": "dmmd"}, **names, **few, **logged))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for folder, steps in ((teacher, 4), (student, 2)):
        read = EventAccumulator(str(folder / "tensorboard")).Reload()
        points = [each.step for each in read.Scalars("gradient_norm")]
        assert points == [*range(1, steps + 1)]


@pytest.fixture(scope="module")
def uniform_model(fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uniform") / "m"
    gaussian = GaussianSettings(steps=1)
    uniform = settings_for(fasta, out, process="uniform", valid=str(fasta), gaussian=gaussian)
    return pretrain(uniform)


def test_a_uniform_model_and_its_card(uniform_model: Path) -> None:
    model = load_denoiser(uniform_model)
    assert model.process == "uniform" and model.denoiser.settings.time_conditioned
    card = (uniform_model / "README.md").read_text()
    assert "uniform protein model" in card and "uniform-diffusion" in card
    assert "process=uniform" in card and "| validation_bound |" in card
    bound = float(card.split("| validation_bound | ")[1].split(" ")[0])
    assert 2.9 < bound < 3.3, "untrained: about log 20 a residue"


@pytest.mark.parametrize("sampler", ["ancestral", "greedy-tail", "psi"])
def test_designs_of_a_uniform_model(uniform_model: Path, tmp_path: Path, sampler: str) -> None:
    options = {"template": "_____MKT_____", "exclude": "CW", "top_p": 0.9}
    result = generate(
        GenerateOptions(
            model=str(uniform_model),
            num=20,
            steps=4,
            sampler=sampler,
            out=tmp_path / "d.fasta",
            **options,
        )
    )
    rows = [line for line in result.fasta.read_text().splitlines() if line[0] != ">"]
    assert len(rows) == 20 and result.mean_nfe == 4
    assert all(row[5:8] == "MKT" and set(row) <= set(CANONICAL_RESIDUES) for row in rows)
    assert len({row[:5] for row in rows}) > 10
    if sampler == "psi":
        assert "sampler=psi" in result.fasta.read_text()
    assert not set("".join(row[:5] + row[8:] for row in rows)) & set("CW")


def test_a_uniform_model_is_distilled_into_one_of_its_kind(
    uniform_model: Path, fasta: Path, tmp_path: Path
) -> None:
    settings = DistillSettings(
        method={"name": "dcd", "rounds": 2},
        teacher=str(uniform_model),
        data=str(fasta),
        out=str(tmp_path / "s"),
        steps=2,
        tokens_per_batch=256,
        device="cpu",
    )
    student = distill(settings)
    assert load_denoiser(student).process == "uniform"
    assert json.loads((student / "config.json").read_text())["didi"]["method"] == "dcd"
    card = (student / "README.md").read_text()  # transformers knows no uniform-state layout
    assert "uniform-state" in card and "tags: [protein, uniform-diffusion]" in card
    assert "masked" not in card and "AutoModel" not in card
    options = GenerateOptions(
        model=str(student), num=3, length="9", steps=2, sampler="psi", out=tmp_path / "d.fasta"
    )
    assert generate(options).num_designs == 3
    masked = replace(settings, teacher="tiny", out=str(tmp_path / "t"))
    with pytest.raises(UserError, match="method=dcd distils uniform-state models"):
        distill(masked)
    without_limit = replace(settings, out=str(tmp_path / "p"), reference="pool")
    with pytest.raises(UserError, match=r"as in pool_steps=256\.$"):
        distill(without_limit)
    with pytest.raises(UserError, match=r"max_seconds=-3 must be 0 or more"):
        distill(replace(settings, max_seconds=-3.0))
    with pytest.raises(UserError, match=r"steps=1 must be at least method\.rounds=2"):
        distill(replace(settings, steps=1))


def test_a_score_model_is_drawn_by_its_own_sampler(fasta: Path, tmp_path: Path) -> None:
    scores = settings_for(fasta, tmp_path / "m", process="sedd", valid=str(fasta))
    folder = pretrain(replace(scores, curriculum=CurriculumSettings(steps=1)))
    model = load_denoiser(folder)
    assert model.process == "sedd" and model.denoiser.settings.time_conditioned
    card = (folder / "README.md").read_text()
    assert "score-entropy" in card and "process=sedd" in card and "| validation_bound |" in card
    options = GenerateOptions(
        model=str(folder), num=20, template="_____MKT_____", steps=4, out=tmp_path / "d.fasta"
    )
    result = generate(options)
    rows = [line for line in result.fasta.read_text().splitlines() if line[0] != ">"]
    assert result.mean_nfe <= 4 and "sampler=analytic" in result.fasta.read_text()
    assert all(row[5:8] == "MKT" and set(row) <= set(CANONICAL_RESIDUES) for row in rows)
    with pytest.raises(UserError, match=r"a score-entropy model.* use analytic\.$"):
        generate(replace(options, sampler="ancestral", overwrite=True))
    out = str(tmp_path / "s")
    student = DistillSettings(
        method={"name": "dmmd"}, teacher=str(folder), data=str(fasta), out=out
    )
    with pytest.raises(
        UserError, match=r"teacher=.* is a score-entropy one: take another teacher\.$"
    ):
        distill(student)


def test_what_does_not_fit_a_uniform_model_is_refused(
    uniform_model: Path, fasta: Path, tmp_path: Path
) -> None:
    options = GenerateOptions(
        model=str(uniform_model), num=1, length="9", sampler="first-hitting", out=tmp_path / "d.fa"
    )
    with pytest.raises(UserError, match=r"first-hitting: .* uniform-state model.*use ancestral"):
        generate(options)
    teacher = DistillSettings(
        method={"name": "dmmd"},
        teacher=str(uniform_model),
        data=str(fasta),
        out=str(tmp_path / "s"),
        device="cpu",
    )
    told = r"method=dmmd distils masked models, .* uniform-state one: .*method=dcd"
    with pytest.raises(UserError, match=told):
        distill(teacher)
    for change, message in (
        ({"process": "gamma"}, r"process=gamma must be one of absorbing \(masked\), uniform"),
        ({"process": "uniform", "kind": "autoregressive"}, "process=uniform is for diffusion"),
        ({"gaussian": GaussianSettings(steps=3)}, r"gaussian\.steps=3 is for process=uniform"),
        ({"curriculum": CurriculumSettings(steps=9)}, r"curriculum\.steps=9 leaves none of steps="),
        ({"gaussian": GaussianSettings(top_k=-1)}, r"gaussian\.top_k=-1 must be 0 or more"),
    ):
        with pytest.raises(UserError, match=message):
            pretrain(settings_for(fasta, tmp_path / "w", **change))


def test_an_autoregressive_model_opens_with_transformers(fasta: Path, tmp_path: Path) -> None:
    noisy = settings_for(fasta, tmp_path / "a", kind="autoregressive", input_noise=0.5)
    folder = pretrain(noisy)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model(input_ids=torch.tensor([[0, 5, 6]])).logits.isfinite().all()
    assert (folder / "vocab.txt").read_text().splitlines()[0] == "<cls>"
    plain = pretrain(settings_for(fasta, tmp_path / "b", kind="autoregressive"))
    other = AutoModelForCausalLM.from_pretrained(plain).state_dict()
    assert any(not torch.equal(t, other[n]) for n, t in model.state_dict().items())


def test_what_is_wrong_is_said_at_once(fasta: Path, tmp_path: Path) -> None:
    wrong = settings_for(
        fasta,
        tmp_path / "w",
        steps=0,
        num_heads=3,
        too_long="cut",
        max_length=2000,
        input_noise=0.5,
        seed=-1,
    )
    with pytest.raises(UserError) as error:
        pretrain(wrong)
    told = ("steps=0", "num_heads", "too_long=cut", "max_length=2000", "input_noise=0.5", "seed=-1")
    for name in told:
        assert name in str(error.value)
    assert not (tmp_path / "w").exists()
    with pytest.raises(UserError, match=r"^valid= ?.*gone\.fasta"):
        pretrain(settings_for(fasta, tmp_path / "w", valid="gone.fasta"))
    with pytest.raises(UserError, match=r"^max_length=4: every sequence of data=.* is longer; the"):
        pretrain(settings_for(fasta, tmp_path / "w", too_long="drop", max_length=4))
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("model.num_heads", 0, r"^model\.num_heads=0 must be at least 1\.$"),
        ("model.num_layers", 0, r"model\.num_layers=0 must be at least 1"),
        ("model.hidden_size", -8, r"model\.hidden_size=-8 must be at least 1"),
        ("model.hidden_size", 6, r"model\.hidden_size=6 must be an even multiple of num_heads=2"),
        ("model.intermediate_size", 0, r"model\.intermediate_size=0 must be at least 1"),
        ("curriculum.steps", -5, r"curriculum\.steps=-5 must be 0 or more"),
        ("curriculum.mask_range", (2.0, -1.0), r"curriculum\.mask_range=\[2,-1\] must be two"),
        ("curriculum.mask_range", (0.5,), r"mask_range=\[0\.5\] must be two numbers from 0 to 1"),
    ],
)
def test_a_shape_or_curriculum_without_sense_is_refused(
    tmp_path: Path, place: str, value: Any, message: str
) -> None:
    settings = settings_for(tmp_path / "x.fasta", tmp_path / "a")
    group, name = place.split(".")
    setattr(getattr(settings, group), name, value)
    with pytest.raises(UserError, match=message):
        pretrain(settings)


def test_a_curriculum_of_masks_is_refused_where_nothing_is_masked(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "x.fasta", tmp_path / "a", kind="autoregressive")
    settings.curriculum.steps = 5
    with pytest.raises(UserError, match=r"curriculum\.steps=5 is for model\.kind=masked"):
        pretrain(settings)


def test_runs_that_have_not_ended_write_with_their_checkpoints(fasta: Path, tmp_path: Path) -> None:
    def designs(model: Path) -> str:
        out = tmp_path / "d.fasta"
        asked = {"num": 3, "length": "20", "steps": 3, "out": out, "overwrite": True}
        generate(GenerateOptions(model=str(model), device="cpu", **asked))
        return "".join(line for line in out.read_text().splitlines() if line[0] != ">")

    few = {"checkpoint_every": 1, "checkpoints_kept": 3}
    teacher = pretrain(settings_for(fasta, tmp_path / "teacher", **few))
    student = distill(
        DistillSettings(
            teacher=str(teacher),
            out=str(tmp_path / "student"),
            method={"name": "dmmd", "noise": {"kind": "position", "size": 4, "scale": 0.5}},
            data=str(fasta),
            steps=2,
            tokens_per_batch=256,
            max_length=40,
            device="cpu",
            **few,
        )
    )
    for run in (student, teacher):
        finished = designs(run)
        assert designs(run / "checkpoints" / "step_00000002.safetensors") == finished
        config = (run / "config.json").read_text()
        (run / "config.json").unlink()
        assert designs(run) == finished
        (run / "config.json").write_text(config)


def test_a_lack_of_memory_is_recorded_and_a_resumed_run_begins_with_what_fits(
    fasta: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = load_denoiser(pretrain(settings_for(fasta, tmp_path / "whole", steps=4)))
    states = EsmDenoiser.states

    def limited(self: EsmDenoiser, tokens: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        if torch.is_grad_enabled() and tokens.numel() > 200:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return states(self, tokens, *rest, **named)

    monkeypatch.setattr(EsmDenoiser, "states", limited)
    told = []
    for steps in (2, 4):
        out = pretrain(settings_for(fasta, tmp_path / "m", steps=steps, resume=steps > 2))
        told.append(capsys.readouterr().err.count("the update begins again"))
        assert json.loads((out / "run.json").read_text())["passes"]["tokens"] <= 200
    assert told[0] >= 1 and told[1] == 0
    pairs = zip(whole.denoiser.parameters(), load_denoiser(out).denoiser.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)
    other = settings_for(fasta, tmp_path / "m", steps=5, resume=True, tokens_per_pass=100)
    assert pretrain(other) == out, "not a part of what makes a run"
    with pytest.raises(UserError, match="tokens_per_pass=0 must be at least 1"):
        pretrain(settings_for(fasta, tmp_path / "none", tokens_per_pass=0))
