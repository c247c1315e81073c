"""`pretrain init=`, `valid=10%`, `family=` and the verdicts: from a folder to a folder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from esm_fixtures import reference_model, write_dplm_folder
from safetensors.torch import load_file
from small_families import families

from didi_core.cli.hydra_app import run_hydra
from didi_core.commands.training import distill as distilling
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.errors import UserError
from didi_core.models.folder import load_denoiser
from didi_protein import domain
from didi_protein.distill import distill
from didi_protein.families.likelihood import open_baseline, profile_nats
from didi_protein.models.initial import settled
from didi_protein.models.load import open_model
from didi_protein.models.trained_on import count_known, data_of
from didi_protein.pretrain import pretrain
from didi_protein.sequences.fasta import read_records
from didi_protein.settings import DistillSettings, ModelSettings, PretrainSettings

RECORDS = families(14, 8, length=30)
SLOW = OptimizerSettings(lr=1e-12, warmup_steps=0)
SHAPE = {"num_layers": 1, "hidden_size": 8, "intermediate_size": 16, "num_heads": 2}


def write(path: Path, records: list[tuple[str, str]]) -> Path:
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in records))
    return path


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "mine.fasta", RECORDS)


def settings_for(data: Path, out: Path, **changes: Any) -> PretrainSettings:
    model = changes.pop("model", None) or ModelSettings(**SHAPE, kind=changes.pop("kind", "masked"))
    values = {"steps": 3, "tokens_per_batch": 512, "max_length": 40, "device": "cpu"}
    return PretrainSettings(data=str(data), out=str(out), model=model, **{**values, **changes})


def tuned(init: str | Path, data: Path, out: Path, **changes: Any) -> PretrainSettings:
    """Settings of a training from `init`, whose folder says the shape."""
    return settings_for(data, out, model=ModelSettings(), init=str(init), **changes)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, trained for a moment on sequences of its own."""
    folder = tmp_path_factory.mktemp("teacher")
    others = write(folder / "others.fasta", families(3, 5, length=35))
    return pretrain(settings_for(others, folder / "teacher"))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory, fasta: Path) -> Path:
    return pretrain(settings_for(fasta, tmp_path_factory.mktemp("j") / "j", kind="autoregressive"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def is_near(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(
        torch.allclose(first[name], second[name], atol=1e-6) for name in first
    )


def config(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


def test_training_starts_from_the_weights_and_says_so(
    teacher: Path, fasta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = tuned(teacher, fasta, tmp_path / "a", optimizer=SLOW, valid=str(fasta))
    assert is_near(pretrain(slow), teacher), "at no rate the weights are those of the start"
    told = capsys.readouterr().err
    assert "before the first update" in told
    folder = pretrain(tuned(teacher, fasta, tmp_path / "b"))
    assert not is_near(folder, teacher)
    begun = json.loads((folder / "run.json").read_text())
    assert begun["init"]["name"] == str(teacher) and len(begun["init"]["digest"]) == 16
    assert begun["settings"]["model"]["hidden_size"] == 8, "the shape is the folder's"
    assert config(folder)["didi"]["init_digest"] == begun["init"]["digest"]
    assert f"Started from: `{teacher}`" in (folder / "README.md").read_text()
    first = json.loads((tmp_path / "a" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["step"] == 0 and first["validation_bound"] > 0
    checkpoint = tmp_path / "b" / "checkpoints" / "step_00000003.safetensors"
    assert load_denoiser(folder).denoiser.settings.num_layers == 1 and checkpoint.exists()


def test_what_the_start_learnt_from_is_carried_on(
    teacher: Path, fasta: Path, tmp_path: Path
) -> None:
    folder = pretrain(tuned(teacher, fasta, tmp_path / "m"))
    others = [sequence for _, sequence in families(3, 5, length=35)]
    own = [sequence for _, sequence in RECORDS]
    assert count_known(folder, others) == len(others), "its start learnt from them"
    assert count_known(folder, own) == len(own)
    assert count_known(teacher, own) < 10, "sequences of 30 residues are alike by chance"
    assert [Path(each).name for each in data_of(folder)] == ["others.fasta", "mine.fasta"]


def test_a_resumed_run_goes_on_with_the_run_and_not_with_its_start(
    teacher: Path, fasta: Path, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    shutil.copytree(teacher, start)
    rates = OptimizerSettings(warmup_steps=0, decay_fraction=0.0)
    whole = pretrain(tuned(start, fasta, tmp_path / "whole", optimizer=rates))
    out = tmp_path / "broken"
    pretrain(tuned(start, fasta, out, steps=1, optimizer=rates))
    again = tuned(start, fasta, out, optimizer=rates, resume=True)
    assert all(
        torch.equal(each, weights(whole)[name]) for name, each in weights(pretrain(again)).items()
    )
    pretrain(settings_for(fasta, start, overwrite=True, seed=5))  # other weights, same shape
    with pytest.raises(UserError, match=r"^resume=true: init=.* other weights"):
        pretrain(replace(again, steps=4))


def test_others_folders_in_the_esm_layout(fasta: Path, tmp_path: Path) -> None:
    model = reference_model(token_dropout=True)
    dplm = write_dplm_folder(tmp_path / "dplm", model)
    esm2 = tmp_path / "esm2"
    model.save_pretrained(esm2)
    for start in (dplm, esm2):
        slow = tuned(start, fasta, tmp_path / f"{start.name}-tuned", optimizer=SLOW)
        folder = pretrain(slow)
        found = load_denoiser(folder).denoiser
        assert found.settings.token_dropout, "the folder's own rescaling is kept"
        ours = open_model(str(start)).denoiser.state_dict()
        for name, tensor in found.state_dict().items():
            assert torch.allclose(tensor, ours[name], atol=1e-6), name


def test_a_judge_is_tuned_as_a_judge(judge: Path, fasta: Path, tmp_path: Path) -> None:
    tuned_judge = tuned(judge, fasta, tmp_path / "m", optimizer=SLOW, valid=str(fasta), patience=1)
    folder = pretrain(tuned_judge)
    assert is_near(folder, judge) and config(folder)["model_type"] == "llama"


def test_of_a_student_the_network_alone_is_taken(
    teacher: Path, fasta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = distill(
        DistillSettings(
            method={"name": "dmmd"},
            teacher=str(teacher),
            data=str(fasta),
            out=str(tmp_path / "s"),
            steps=1,
            joint_head=True,
            tokens_per_batch=256,
            device="cpu",
        )
    )
    told = capsys.readouterr().err
    assert "Quick verdict: in 8 steps the student is " in told
    assert "its teacher in 8" in told and "its teacher's limit" in told
    commands = [each for each in told.splitlines() if each.startswith("Next: ")]
    assert [each.split()[2] for each in commands] == ["generate", "compare"]
    assert (student / "joint_head.safetensors").exists()
    folder = pretrain(tuned(student, fasta, tmp_path / "m", optimizer=SLOW))
    assert "joint_head.safetensors" in capsys.readouterr().err
    assert is_near(folder, student) and not (folder / "joint_head.safetensors").exists()
    assert "method" not in config(folder)["didi"] and "sampler" not in config(folder)["didi"]


def test_a_verdict_that_fails_costs_no_student(
    teacher: Path,
    fasta: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("no memory")

    monkeypatch.setattr(distilling, "student_verdict", broken)
    settings = DistillSettings(
        method={"name": "dmmd"},
        teacher=str(teacher),
        data=str(fasta),
        out=str(tmp_path / "s"),
        steps=1,
        tokens_per_batch=256,
        device="cpu",
    )
    assert load_denoiser(distill(settings)).denoiser.settings.num_layers == 1
    assert "No quick verdict: no memory" in capsys.readouterr().err
    distill(replace(settings, verdict=False, out=str(tmp_path / "quiet")))
    told = capsys.readouterr().err
    assert "uick verdict" not in told and "Next: " not in told


def test_clusters_are_held_out_and_the_run_ends_with_a_verdict(
    fasta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alignment = write(tmp_path / "family.fasta", RECORDS)  # of one length: an alignment
    out = tmp_path / "m"
    asked = settings_for(fasta, out, valid="20%", family=str(alignment), patience=2)
    folder = pretrain(replace(asked, validate_every=1))
    parts = {
        name: read_records([folder / "split" / f"{name}.fasta"]) for name in ("train", "valid")
    }
    assert len(parts["train"]) + len(parts["valid"]) == len(RECORDS)
    assert 11 <= len(parts["valid"]) <= 22
    told = capsys.readouterr().err
    assert "Not learnt: " in told and "the profile of" in told and "steps=12" in told
    assert "Next: didi-protein pretrain" in told and "resume=true" in told
    assert [Path(each).name for each in data_of(folder)] == ["train.fasta"]
    assert count_known(folder, [each.sequence for each in parts["train"]]) == len(parts["train"])
    assert "| bigram |" in (folder / "README.md").read_text()
    # The split is the run's own from then on: no other file is made of it.
    before = (folder / "split" / "valid.fasta").read_bytes()
    pretrain(replace(asked, steps=4, resume=True, validate_every=1))
    assert (folder / "split" / "valid.fasta").read_bytes() == before
    for changed in ({"valid": "10%"}, {"valid": None, "family": None, "patience": 0}):
        with pytest.raises(UserError, match="valid"):
            pretrain(replace(asked, resume=True, **changed))


def test_held_out_sequences_that_the_start_knows_are_told(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "d.fasta", RECORDS)
    known = teacher.parent / "others.fasta"
    pretrain(tuned(teacher, data, tmp_path / "m", valid=str(known)))
    assert "15 of the held-out sequences were training data of init=" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"valid": "0%"}, "valid=0%"),
        ({"valid": "50%"}, "valid=50%"),
        ({"valid": "10%", "data": "uniref50"}, "valid=10%"),
        ({"patience": 2}, "patience=2"),
        ({"patience": -1, "valid": "10%"}, "patience=-1"),
        ({"family": "PF00595"}, "family=PF00595"),
        ({"family": "gone.sto", "valid": "10%"}, "gone.sto"),
        ({"family": "families", "valid": "10%"}, "family=families"),
        ({"init": "tini"}, "did you mean the bundled tiny"),
        ({"init": "nowhere/near/it"}, "init=nowhere/near/it"),
        ({"init": "tiny"}, "model.num_layers=1"),
        ({"init": "tiny-judge"}, "model.num_layers=1"),
        ({"init": "tiny", "model": ModelSettings(), "process": "uniform"}, "process=uniform"),
        ({"init": "tiny", "model": ModelSettings(kind="autoregressive")}, "model.kind"),
    ],
)
def test_what_makes_no_sense_is_refused(
    fasta: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    settings = replace(settings_for(fasta, tmp_path / "w"), **changes)
    with pytest.raises(UserError) as refused:
        pretrain(settings)
    assert named in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "w").exists()


def test_a_shape_that_is_asked_for_contradicts_though_it_is_the_usual_one(
    teacher: Path, fasta: Path, tmp_path: Path
) -> None:
    own = [f"init={teacher}", f"data={fasta}", "steps=1", "max_length=40", "device=cpu"]

    def run(*more: str) -> None:
        run_hydra("pretrain", PretrainSettings, pretrain, [*own, *more], "didi-protein pretrain")

    for given in ("model=tiny", "model.num_layers=6"):
        with pytest.raises(UserError, match=r"init=.* model\.num_layers=6 \(it has 1\)"):
            run(given, f"out={tmp_path / 'refused'}")
    run(f"out={tmp_path / 'm'}")
    assert load_denoiser(tmp_path / "m").denoiser.settings.num_layers == 1


def test_a_length_that_nobody_asked_for_is_at_most_the_models_own(
    fasta: Path, tmp_path: Path
) -> None:
    narrow = ModelSettings(**SHAPE, max_residues=48)
    short = pretrain(settings_for(fasta, tmp_path / "short", model=narrow))
    usual = tuned(short, fasta, tmp_path / "m", max_length=PretrainSettings.max_length)
    assert settled(usual).max_length == 48
    assert config(pretrain(usual))["max_position_embeddings"] == 50
    with pytest.raises(UserError, match=r"^max_length=100 is past model.max_residues=48"):
        pretrain(replace(usual, max_length=100))


def test_without_mmseqs_a_share_is_refused_by_what_installs_it(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"valid=10%.*didi-protein\[metrics\].*valid=FILE"):
        pretrain(settings_for(fasta, tmp_path / "w", valid="10%"))


def test_another_vocabulary_is_refused(teacher: Path, fasta: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(teacher, start)
    tokens = (start / "vocab.txt").read_text().split("\n")
    tokens[4], tokens[5] = tokens[5], tokens[4]
    (start / "vocab.txt").write_text("\n".join(tokens))
    with pytest.raises(UserError, match="vocabulary"):
        pretrain(tuned(start, fasta, tmp_path / "m"))


def test_the_profile_never_saw_what_it_is_tested_on(tmp_path: Path) -> None:
    alignment = write(tmp_path / "a.fasta", RECORDS)
    left_out = [sequence for _, sequence in RECORDS[:8]]
    whole, without = open_baseline(str(alignment), ()), open_baseline(str(alignment), left_out)
    assert whole.members is not None and without.members is not None
    assert len(whole.members) - len(without.members) == 8
    assert not set(without.members) & set(left_out)
    nats = profile_nats(without, left_out)
    assert nats.shape == (8,) and np.all(nats > 0)
